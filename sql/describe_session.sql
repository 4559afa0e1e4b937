-- The server, the account, and what of the session matters and the account cannot set. Whoever sees the tables of the database
-- mysql sees those of all databases.
SELECT VERSION(), @@max_allowed_packet, @@log_bin AND @@binlog_format = 'STATEMENT', CURRENT_USER(), DATABASE(),
    EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = 'mysql' AND table_name = 'proc'), @@wsrep_on
