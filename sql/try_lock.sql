-- Fails at once if another session has locked the whole table or the server for writing: LOCK TABLES, FLUSH TABLES WITH READ
-- LOCK, ALTER TABLE. It locks no row, and does not wait.
SET STATEMENT lock_wait_timeout = 0 FOR
SELECT lead_id FROM {table} WHERE FALSE FOR UPDATE
