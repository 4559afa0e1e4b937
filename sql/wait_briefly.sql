-- Sent before the first statement of a batch, and again after each one that writes. A batch waits for no row that others have
-- locked: whoever wants one of its leads, such as the dialler, would wait as long, and for several rows one after the other. A
-- statement fails at once with error 1205 then, the batch lets everything go, and is tried again after a pause. It waits a second
-- for a table that is locked or that a long statement writes to. Behind an ALTER TABLE of a table that the batch has read, the
-- dialler waits too. Seconds, as in session.sql.
SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 0
