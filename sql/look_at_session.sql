-- Whether this is a node of a Galera cluster, and what of the session matters and the account cannot set: whether
-- max_allowed_packet and binlog_format are what a batch needs, in this session and in a new one.
-- In a statement of its own: beside a GROUP_CONCAT, MariaDB 10.11 says 0 for wsrep_on.
SELECT @@wsrep_on,
    @@session.max_allowed_packet >= {least_packet} AND NOT (@@log_bin AND @@session.binlog_format = 'STATEMENT'),
    @@global.max_allowed_packet >= {least_packet} AND NOT (@@log_bin AND @@global.binlog_format = 'STATEMENT')
