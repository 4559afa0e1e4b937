-- Sent on every new connection, again before every transaction, and after each statement that writes, since a trigger may have
-- changed a variable: whatever the server's defaults are, and whatever its init_connect has done, the statements mean the same. An account without any special
-- privilege may set all of these variables. Each exists in MariaDB 10.5, or stands in a comment that only later versions
-- execute.
--
-- What the statements mean:
--
-- NAMES: statements and names of columns are sent in UTF-8, and answers are read as UTF-8. A server may be configured to ignore
--   the character set that a client names when it connects.
-- sql_mode: zero dates and partial dates are copied unchanged, and lead_id 0 keeps its number. A value that does not fit is
--   stored as well as the server can, so that the compare in delete_leads finds it, instead of failing the whole batch. Without
--   NO_ENGINE_SUBSTITUTION, a temporary table can be created even if enforce_storage_engine asks for another engine.
-- old_mode: no behaviour of older versions, such as that of IGNORE and of index hints.
-- time_zone: UTC has no repeated hour, so a TIMESTAMP is copied as the exact instant.
-- timestamp: the clock is that of the server. Conditions count days, ON UPDATE and system versioning note times, and the Admin
--   Change Log has dates. DEFAULT is allowed whatever secure_timestamp is.
-- insert_id: a row of the Admin Change Log gets the next number of its table.
-- system_versioning_asof: SELECT reads the current rows of a system-versioned table, which are the rows that DELETE deletes.
-- sql_select_limit: all rows are returned. Missing rows would also mean columns that are not compared.
-- group_concat_max_len: bytes. The largest batch has 10,000 ids of 11 bytes each.
-- sql_auto_is_null: IS NULL finds NULLs, and not the row that was inserted last.
-- sql_quote_show_create: SHOW CREATE TABLE quotes names. The service finds the definition of a column by its quoted name.
-- lc_messages: errors are in English, in the log and on /readyz.
--
-- How far they go:
--
-- tx_isolation: every read sees what was committed last, and ids that are in no table lock no gaps. InnoDB refuses READ
--   COMMITTED only if the binary log is kept by statement.
-- tx_read_only: transactions may write.
-- autocommit: 0 means that no statement is permanent by itself. On a node of a Galera cluster, a transaction may be rolled back
--   between two statements, and the next one begins another transaction.
-- completion_type: COMMIT neither begins another transaction nor closes the connection.
-- wsrep_sync_wait: on a node of a Galera cluster, a transaction begins only when the node has applied what the other nodes had
--   committed by then. Elsewhere it does nothing.
-- wsrep_trx_fragment_size: a batch is sent to the other nodes as a whole. Where a statement of a batch that is sent in parts is
--   rolled back, because of one lead that a trigger refuses, nodes stand still for ever (MariaDB 10.11). MariaDB 10.5 refuses to
--   set it where there is no cluster.
-- wsrep_dirty_reads: a node that has lost its cluster refuses, instead of showing old rows.
-- foreign_key_checks, unique_checks, check_constraint_checks: the constraints of the site are enforced. Without the checks, a
--   lead that other rows refer to could be deleted, and an id could be in a table twice.
-- sql_safe_updates: the server does not refuse a DELETE because it sees no key in it.
-- sql_big_selects, max_join_size: the server refuses no statement because it expects many rows. sql_big_selects comes last:
--   setting max_join_size may switch it off.
-- innodb_strict_mode, innodb_compression_default: a temporary table like vicidial_list can be created, whatever the ROW_FORMAT
--   of vicidial_list is, such as COMPRESSED.
-- sql_if_exists: CREATE OR REPLACE TEMPORARY TABLE ... LIKE works. If the server adds IF EXISTS, it fails with error 1113.
-- tmp_disk_table_size, max_tmp_session_space_usage (since 11.5), max_session_mem_used, sort_buffer_size,
-- bulk_insert_buffer_size, join_buffer_size, join_buffer_space_limit: enough room for a statement with 10,000 ids and for
--   reading the definitions. The values are MariaDB's defaults, or no limit.
-- sql_buffer_result: results are sent as they are found.
-- in_predicate_conversion_threshold: 0 means that MariaDB never turns a long IN (...) into a temporary table. With more than
--   1,000 ids it would do that, and read all rows of the other table.
-- optimizer_max_sel_arg_weight: IN (...) looks up its ids. Otherwise MariaDB might read the whole table and wait for the locks
--   of others.
--
-- How long they may take, in seconds:
--
-- lock_wait_timeout, innodb_lock_wait_timeout, max_statement_time: shorter than the time limit of a request, so that time is
--   left for the answer. wait_briefly sets shorter ones while leads are locked.
-- net_read_timeout, net_write_timeout: MariaDB's defaults, for a large batch on a slow network.
-- idle_transaction_timeout: the server ends a transaction that sends it nothing for so long, so that the dialler does not wait
--   for its locks: the service's machine may be gone, or the server has dropped a statement after a KILL QUERY and not said so,
--   and the service waits for its answer. A batch is silent while it rests, writes its audit record and waits for another
--   one, for less than four seconds. idle_readonly_transaction_timeout and idle_write_transaction_timeout would take precedence.
-- wait_timeout: the same between transactions: twice as long as the pool keeps an idle connection.
--
-- Not here, since nothing that the service sends depends on it: last_insert_id, identity (LAST_INSERT_ID), rand_seed1, rand_seed2
-- (RAND), auto_increment_increment and auto_increment_offset (each lead brings its lead_id), sql_log_off (the general log),
-- skip_parallel_replication (when a replica applies a change, not whether), pseudo_slave_mode (nothing without a BINLOG
-- statement). What decides whether a replica gets a change can be set neither in a transaction nor without a special privilege:
-- look_at_session checks it.
SET
    NAMES 'utf8mb4',
    SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO',
    old_mode = '',
    time_zone = '+00:00',
    timestamp = DEFAULT,
    insert_id = 0,
    system_versioning_asof = DEFAULT,
    sql_select_limit = 18446744073709551615,
    group_concat_max_len = 1048576,
    sql_auto_is_null = 0,
    sql_quote_show_create = 1,
    lc_messages = 'en_US',
    tx_isolation = IF(@@log_bin AND @@binlog_format = 'STATEMENT', 'REPEATABLE-READ', 'READ-COMMITTED'),
    tx_read_only = 0,
    autocommit = 0,
    completion_type = 0,
    wsrep_sync_wait = 1,
    /*M!101100 wsrep_trx_fragment_size = 0, */
    wsrep_dirty_reads = 0,
    foreign_key_checks = 1,
    unique_checks = 1,
    check_constraint_checks = 1,
    sql_safe_updates = 0,
    max_join_size = 18446744073709551615,
    sql_big_selects = 1,
    innodb_strict_mode = 0,
    innodb_compression_default = 0,
    tmp_disk_table_size = 18446744073709551615,
    /*M!110501 max_tmp_session_space_usage = 0, */
    max_session_mem_used = 9223372036854775807,
    sort_buffer_size = 2097152,
    bulk_insert_buffer_size = 8388608,
    join_buffer_size = 262144,
    join_buffer_space_limit = 2097152,
    sql_buffer_result = 0,
    sql_if_exists = 0,
    in_predicate_conversion_threshold = 0,
    optimizer_max_sel_arg_weight = 32000,
    lock_wait_timeout = {lock_wait_timeout},
    innodb_lock_wait_timeout = {lock_wait_timeout},
    max_statement_time = {max_statement_time},
    net_read_timeout = 30,
    net_write_timeout = 60,
    idle_transaction_timeout = 5,
    idle_readonly_transaction_timeout = 0,
    idle_write_transaction_timeout = 0,
    wait_timeout = 120
