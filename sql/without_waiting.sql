-- Run delete_leads if it need not wait for the lock of a row; otherwise it fails at once with error 1205. While a statement
-- waits, what it has checked becomes outdated: a lead could get into use. It waits for tables before it checks anything,
-- but a MyISAM table that it has locked shows it no row that is inserted while it waits for the next table.
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
{statement}
