-- The table's whole definition as one text. Read after the table itself was read in the same transaction, it holds until
-- the transaction ends: no ALTER TABLE gets in before.
SHOW CREATE TABLE {table}
