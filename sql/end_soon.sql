-- Where tables have no row locks, each statement keeps vicidial_list locked while it runs, and the dialler waits for it. On a full
-- disk, MariaDB waits in the middle of a statement of MyISAM or Aria until somebody frees space. So a statement is ended after
-- three seconds: it may wait one second for a table, and takes milliseconds. If REQUEST_TIMEOUT is shorter, that counts.
SET SESSION max_statement_time = LEAST(@@max_statement_time, 3)
