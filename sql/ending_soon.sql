-- For a statement that keeps vicidial_list locked as a whole while it runs, so that the dialler waits for it: three seconds at most,
-- or REQUEST_TIMEOUT if that is shorter. It may wait one second for a table, and takes milliseconds. On a full disk, MariaDB waits in
-- the middle of a statement of MyISAM or Aria until somebody makes room.
max_statement_time = LEAST(@@max_statement_time, 3)
