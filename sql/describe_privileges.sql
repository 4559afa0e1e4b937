-- The privileges of the account: global ones (no table, no schema), those on this database, and those on its tables. Database
-- names are patterns here. A user name may contain @, a host cannot: the last one separates them.
SELECT '', '', privilege_type
FROM information_schema.user_privileges
WHERE grantee = CONCAT('''', REGEXP_REPLACE(CURRENT_USER(), '@(?=[^@]*$)', '''@'''), '''')
UNION ALL
SELECT table_schema, '', privilege_type
FROM information_schema.schema_privileges
WHERE grantee = CONCAT('''', REGEXP_REPLACE(CURRENT_USER(), '@(?=[^@]*$)', '''@'''), '''')
    AND DATABASE() LIKE table_schema
UNION ALL
SELECT table_schema, table_name, privilege_type
FROM information_schema.table_privileges
WHERE grantee = CONCAT('''', REGEXP_REPLACE(CURRENT_USER(), '@(?=[^@]*$)', '''@'''), '''')
    AND table_schema = DATABASE()
