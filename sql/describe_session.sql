-- The server, the account, and what of the session matters and the account cannot set: max_allowed_packet, and how the binary
-- log is kept, if it is. wsrep_forced_binlog_format counts on any server. Whoever sees the tables of the database mysql sees
-- those of all databases.
SELECT VERSION(), CURRENT_USER(), DATABASE(), @@wsrep_on, @@max_allowed_packet,
    @@log_bin AND @@binlog_format = 'STATEMENT', @@log_bin AND @@wsrep_forced_binlog_format = 'STATEMENT',
    IF(@@log_bin, @@max_binlog_cache_size, NULL),
    EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = 'mysql' AND table_name = 'proc')
