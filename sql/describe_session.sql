-- The server, the account, and the session variables that matter and that the account cannot set: max_allowed_packet and the
-- format of the binary log, if there is one, or of what the other nodes of a cluster get. wsrep_forced_binlog_format has an effect
-- on any server. The last column names the variables that init_connect has set so that replicas, or the other nodes, would not get
-- what a batch changes, or not in the order of the other changes. Some of them cannot be set in a transaction.
SELECT VERSION(), CURRENT_USER(), DATABASE(), @@wsrep_on, @@max_allowed_packet,
    (@@log_bin OR @@GLOBAL.wsrep_on) AND @@binlog_format = 'STATEMENT',
    (@@log_bin OR @@GLOBAL.wsrep_on) AND @@wsrep_forced_binlog_format = 'STATEMENT',
    IF(@@log_bin, @@max_binlog_cache_size, NULL), IF(@@log_bin, @@max_binlog_stmt_cache_size, NULL), @@innodb_read_only,
    IF(
        @@log_bin OR @@GLOBAL.wsrep_on,
        CONCAT_WS(
            ', ',
            IF(@@sql_log_bin, NULL, 'sql_log_bin = 0'),
            IF(@@skip_replication, 'skip_replication = 1', NULL),
            IF(@@server_id = @@GLOBAL.server_id, NULL, CONCAT('server_id = ', @@server_id)),
            IF(@@gtid_domain_id = @@GLOBAL.gtid_domain_id, NULL, CONCAT('gtid_domain_id = ', @@gtid_domain_id)),
            IF(@@wsrep_on = @@GLOBAL.wsrep_on, NULL, CONCAT('wsrep_on = ', @@wsrep_on))
        ),
        ''
    )
