-- The foreign keys that refer to one of the two tables, from any database, and those of the two tables, as far as the account
-- may see them; with their actions on delete and on update.
SELECT constraint_schema, table_name, constraint_name, referenced_table_name,
    unique_constraint_schema = DATABASE() AND referenced_table_name IN ({table_names}),
    delete_rule, update_rule
FROM information_schema.referential_constraints
WHERE unique_constraint_schema = DATABASE() AND referenced_table_name IN ({table_names})
    OR constraint_schema = DATABASE() AND table_name IN ({table_names})
ORDER BY constraint_schema, table_name, constraint_name
