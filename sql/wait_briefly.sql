-- Sent before the first statement of a batch, and again after each one that writes. Whoever wants one of its leads, such as the
-- dialler, waits as long as the batch waits for anything else: for a row of somebody else, or for a table that is locked or that a
-- long statement writes to. So does whoever stands behind an ALTER TABLE of a table that the batch has read. After a second, the
-- batch lets everything go, and is tried again. Seconds, as in session.sql.
SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1
