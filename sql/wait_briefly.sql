-- Sent before the leads of a batch are locked, and again after each statement that writes. Whoever wants one of these leads, such
-- as the dialler, waits as long as the batch waits for anything else: for a row of somebody else, or for a table that is locked
-- or that a long statement writes to. After a second, the batch lets its leads go, and is tried again. Seconds, as in session.sql.
SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1
