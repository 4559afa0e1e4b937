-- As try_lock, of a table that batches only read. A write to a table without row locks, which takes a moment, is no lock that
-- stops batches. So it waits for a second.
SET STATEMENT lock_wait_timeout = 1 FOR
SELECT 1 FROM {table} WHERE FALSE
