-- The version of the server, those of its own settings that matter here, and how this connection is encrypted ('' if it is not).
SELECT VERSION(), @@global.sql_mode, @@global.time_zone, @@system_time_zone, @@innodb_flush_log_at_trx_commit, @@wsrep_on, CURRENT_USER(),
    (
        SELECT GROUP_CONCAT(variable_value ORDER BY variable_name DESC SEPARATOR ', ')
        FROM information_schema.session_status
        WHERE variable_name IN ('Ssl_version', 'Ssl_cipher')
            AND variable_value <> ''
    ), DATABASE()
