-- The definition of a table. If the transaction has read from the table before, the definition stays valid until the
-- transaction ends: ALTER TABLE has to wait.
SHOW CREATE TABLE {table}
