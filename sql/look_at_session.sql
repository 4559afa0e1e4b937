-- Whether the server is a node of a Galera cluster, and whether max_allowed_packet and binlog_format, which the account cannot
-- set, are sufficient in this session. This is a statement of its own, since MariaDB 10.11 returns 0 for wsrep_on beside a
-- GROUP_CONCAT.
SELECT @@wsrep_on, @@max_allowed_packet >= {least_packet} AND NOT (@@log_bin AND 'STATEMENT' IN (@@binlog_format, @@wsrep_forced_binlog_format))
