-- Sent on every new connection, and again before every transaction, since a trigger may have set something else: whatever the
-- server's defaults are, and whatever its init_connect has done, the statements mean the same. All of it is what an account
-- without any privilege of its own may set. Each variable is in MariaDB 10.5 already, or in a comment that later versions
-- execute.
--
-- What the statements mean:
-- NAMES: the statements are sent in UTF-8, names of columns included, and the answers are read as that. A server may be told
-- to
--   take no notice of what a client says at its login.
-- sql_mode: zero and partial dates pass unharmed, lead_id 0 keeps its number, and a value that does not fit is stored as
--   the server can, for the compare in delete_leads to see, instead of failing the whole batch. Without
--   NO_ENGINE_SUBSTITUTION, a temporary table can be made where enforce_storage_engine asks for another engine.
-- old_mode: none of the ways of old versions, such as those of IGNORE and of index hints.
-- time_zone: UTC has no repeated hour, so a TIMESTAMP is copied as the instant that it is.
-- system_versioning_asof: of a system-versioned table, SELECT shows the rows as they are now, which are those that DELETE
-- deletes. sql_select_limit: all rows, none cut off in silence. Rows that are cut off are columns that are not compared, too.
-- group_concat_max_len: bytes; the largest batch has 10,000 ids of 11 bytes each. sql_auto_is_null: IS NULL finds NULLs, and
-- not the row that was inserted last. sql_quote_show_create: SHOW CREATE TABLE quotes names, by which the definition of a
-- column is found. lc_messages: errors in English, in the log and in what /readyz says.
--
-- How far they go:
-- tx_isolation: every read sees what was committed last, and ids that are in no table lock no gaps. InnoDB refuses READ
--   COMMITTED only where the binary log is kept by statement.
-- tx_read_only: transactions may write.
-- completion_type: COMMIT neither begins another transaction nor ends the connection.
-- wsrep_sync_wait: on a node of a Galera cluster, a transaction begins once the node has caught up with what the others had
--   committed by then. Elsewhere it does nothing.
-- wsrep_dirty_reads: a node that has lost its cluster refuses, instead of showing which leads there once were.
-- foreign_key_checks, unique_checks, check_constraint_checks: what a site forbids is forbidden here too. Without the checks a
--   lead that others refer to could go, and an id could be in a table twice.
-- sql_safe_updates: a DELETE is judged by sql/, not by whether the server sees a key in it.
-- sql_big_selects, max_join_size: no statement is refused for the number of rows that the server guesses. Setting the second
-- may
--   switch off the first.
-- innodb_strict_mode, innodb_compression_default: a temporary table like vicidial_list can be made whatever the ROW_FORMAT of
--   that, such as COMPRESSED.
-- sql_if_exists: CREATE OR REPLACE TEMPORARY TABLE ... LIKE works; with an IF EXISTS added to it, it fails with error 1113.
-- tmp_disk_table_size, max_tmp_session_space_usage (since 11.5), max_session_mem_used, sort_buffer_size,
-- bulk_insert_buffer_size, join_buffer_size, join_buffer_space_limit: room for what a statement of 10,000 ids and the reading
--   of the definitions need, and no more than there is. MariaDB's own defaults, or no limit.
-- sql_buffer_result: results are sent as they are found.
-- in_predicate_conversion_threshold: 0 keeps IN (...) what it is. Of more than 1,000 ids MariaDB would make a table to join,
--   and go through all rows of the other.
-- optimizer_max_sel_arg_weight: IN (...) looks up its ids, instead of going through the table and waiting for the locks of
-- others.
--
-- How long they may take, in seconds:
-- lock_wait_timeout, innodb_lock_wait_timeout, max_statement_time: what is left of a request's time is for the answer.
-- net_read_timeout, net_write_timeout: MariaDB's own defaults, for a large batch on a slow network.
-- idle_transaction_timeout: a transaction that nobody has gone on with for as long as the request may take was left behind by
-- a
--   machine that is gone. The server ends it, so that the dialler need not wait for its locks. The other two would take
--   precedence.
-- wait_timeout: the same for connections, twice as long as an idle one is kept by the pool.
SET
    NAMES 'utf8mb4',
    SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO',
    old_mode = '',
    time_zone = '+00:00',
    system_versioning_asof = DEFAULT,
    sql_select_limit = 18446744073709551615,
    group_concat_max_len = 1048576,
    sql_auto_is_null = 0,
    sql_quote_show_create = 1,
    lc_messages = 'en_US',
    tx_isolation = IF(@@log_bin AND @@binlog_format = 'STATEMENT', 'REPEATABLE-READ', 'READ-COMMITTED'),
    tx_read_only = 0,
    completion_type = 0,
    wsrep_sync_wait = 1,
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
    idle_transaction_timeout = CAST(CEILING({max_statement_time}) AS UNSIGNED),
    idle_readonly_transaction_timeout = 0,
    idle_write_transaction_timeout = 0,
    wait_timeout = 120
