-- Engine of both tables, whether it can roll back, and whether this is a node of a Galera cluster on which the table has
-- rows of its own: only InnoDB's are on every node. A view has no engine.
SELECT tables.table_name, tables.engine, engines.transactions = 'YES', @@wsrep_on AND tables.engine <> 'InnoDB'
FROM information_schema.tables AS tables
LEFT JOIN information_schema.engines AS engines ON engines.engine = tables.engine
WHERE tables.table_schema = DATABASE()
    AND tables.table_name IN ({table_names})
