-- Whether the server is a node of a Galera cluster, and whether max_allowed_packet and binlog_format, which the account cannot
-- set, are sufficient in this session, and replicas and other nodes get what it changes (describe_session). This is a statement of
-- its own, since MariaDB 10.11 returns 0 for wsrep_on beside a GROUP_CONCAT.
SELECT @@wsrep_on, @@max_allowed_packet >= {least_packet}
    AND NOT ((@@log_bin OR @@GLOBAL.wsrep_on) AND 'STATEMENT' IN (@@binlog_format, @@wsrep_forced_binlog_format))
    AND (
        NOT (@@log_bin OR @@GLOBAL.wsrep_on)
        OR @@sql_log_bin AND NOT @@skip_replication AND @@server_id = @@GLOBAL.server_id
        AND @@gtid_domain_id = @@GLOBAL.gtid_domain_id AND @@wsrep_on = @@GLOBAL.wsrep_on
    )
