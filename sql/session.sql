-- Sent once on every new connection, before anything else.
-- sql_mode: zero and partial dates pass unharmed, lead_id 0 keeps its number, and a value that does not fit is stored as
--   the server can, for the compare in delete_leads to see, instead of failing the whole batch.
-- time_zone: UTC has no repeated hour, so a TIMESTAMP is copied as the instant that it is.
-- tx_isolation: every read sees what was committed last, and ids that are in no table lock no gaps. InnoDB refuses READ
--   COMMITTED only where the binary log is kept by statement.
-- group_concat_max_len: bytes; the largest batch has 10,000 ids of 11 bytes each.
-- wsrep_sync_wait: on a node of a Galera cluster, a transaction begins once the node has caught up with what the others had
--   committed by then. Elsewhere it does nothing.
-- in_predicate_conversion_threshold: 0 keeps IN (...) what it is. Of more than 1,000 ids MariaDB would make a table to join,
--   and go through all rows of the other.
SET SESSION
    sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO',
    time_zone = '+00:00',
    tx_isolation = IF(@@log_bin AND @@binlog_format = 'STATEMENT', 'REPEATABLE-READ', 'READ-COMMITTED'),
    wsrep_sync_wait = 1,
    group_concat_max_len = 1048576,
    in_predicate_conversion_threshold = 0,
    lock_wait_timeout = {lock_wait_timeout},
    innodb_lock_wait_timeout = {lock_wait_timeout},
    max_statement_time = {max_statement_time}
