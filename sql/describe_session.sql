-- The server, the account, and the session variables that matter and that the account cannot set: max_allowed_packet and the
-- format of the binary log, if there is one. wsrep_forced_binlog_format has an effect on any server.
SELECT VERSION(), CURRENT_USER(), DATABASE(), @@wsrep_on, @@max_allowed_packet,
    @@log_bin AND @@binlog_format = 'STATEMENT', @@log_bin AND @@wsrep_forced_binlog_format = 'STATEMENT',
    IF(@@log_bin, @@max_binlog_cache_size, NULL), IF(@@log_bin, @@max_binlog_stmt_cache_size, NULL), @@innodb_read_only
