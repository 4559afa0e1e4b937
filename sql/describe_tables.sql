-- Both tables: the type (BASE TABLE, SYSTEM VERSIONED, or VIEW, which has no engine), the engine, whether the engine can roll
-- back, and whether the server is a node of a Galera cluster on which the table has rows of its own. Only InnoDB tables have
-- the same rows on every node.
SELECT tables.table_name, tables.table_type, tables.engine, engines.transactions = 'YES',
    @@wsrep_on AND tables.engine <> 'InnoDB'
FROM information_schema.tables AS tables
LEFT JOIN information_schema.engines AS engines ON engines.engine = tables.engine
WHERE tables.table_schema = DATABASE()
    AND tables.table_name IN ({table_names})
