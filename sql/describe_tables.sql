-- Both tables: its type, such as BASE TABLE, SYSTEM VERSIONED or VIEW, which has no engine; its engine, and whether that can
-- roll back; and whether this is a node of a Galera cluster on which the table has rows of its own: only InnoDB's are on every
-- node.
SELECT tables.table_name, tables.table_type, tables.engine, engines.transactions = 'YES',
    @@wsrep_on AND tables.engine <> 'InnoDB'
FROM information_schema.tables AS tables
LEFT JOIN information_schema.engines AS engines ON engines.engine = tables.engine
WHERE tables.table_schema = DATABASE()
    AND tables.table_name IN ({table_names})
