-- Run delete_leads or insert_whole_leads if it need not wait for the lock of a row; otherwise it fails at once with error 1205. While
-- a DELETE waits, what it has checked becomes outdated: a lead could get into use. While an INSERT ... SELECT into vicidial_list
-- waits, nobody can insert a new lead. Both wait for tables before they check anything, but a MyISAM table that is locked already
-- shows no row that is inserted while the statement waits for the next table.
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
{statement}
