-- The foreign keys that refer to one of the two tables, from any database, and those of the two tables, as far as the account
-- may see them; with whether it sees the keys of all databases, and with their actions on delete and on update. An account sees
-- the keys of all databases if it has a global privilege other than SELECT, which shows tables but no keys. user_privileges
-- does not list what a role has. It lists a new privilege before the session has it: then the session sees no key of mysql.proc.
-- A user name may contain @, a host cannot: the last one separates them.
--
-- A table that is being made by CREATE TABLE ... SELECT, altered with LOCK=EXCLUSIVE, dropped or renamed is left out, with a warning:
-- show_warnings follows. lock_wait_timeout: at once. Tables and views that cannot be opened make warnings, too, so that there may be
-- many.
SET STATEMENT max_error_count = 65535, lock_wait_timeout = 0 FOR
SELECT constraint_schema, table_name, constraint_name, referenced_table_name,
    unique_constraint_schema = DATABASE() AND referenced_table_name IN ({table_names}),
    EXISTS (
        SELECT 1
        FROM information_schema.user_privileges
        WHERE grantee = CONCAT('''', REGEXP_REPLACE(CURRENT_USER(), '@(?=[^@]*$)', '''@'''), '''')
            AND privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'REFERENCES')
    ) AND EXISTS (
        SELECT 1 FROM information_schema.table_constraints WHERE table_schema = 'mysql' AND table_name = 'proc'
    ),
    delete_rule, update_rule
FROM information_schema.referential_constraints
WHERE unique_constraint_schema = DATABASE() AND referenced_table_name IN ({table_names})
    OR constraint_schema = DATABASE() AND table_name IN ({table_names})
ORDER BY constraint_schema, table_name, constraint_name
