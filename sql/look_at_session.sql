-- Whether this is a node of a Galera cluster, and whether max_allowed_packet and binlog_format, which the account cannot set,
-- are what a batch needs in this session. In a statement of its own: beside a GROUP_CONCAT, MariaDB 10.11 says 0 for wsrep_on.
SELECT @@wsrep_on, @@max_allowed_packet >= {least_packet} AND NOT (@@log_bin AND 'STATEMENT' IN (@@binlog_format, @@wsrep_forced_binlog_format))
