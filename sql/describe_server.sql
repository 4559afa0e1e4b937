-- The version of the server, and those of its own settings that matter here.
SELECT VERSION(), @@global.sql_mode, @@global.time_zone, @@system_time_zone, @@innodb_flush_log_at_trx_commit, @@wsrep_on, CURRENT_USER(),
    DATABASE()
