-- Sent at the beginning of each transaction, and after each statement that writes, before the next one: fails with error 1242 if the session has
-- another database, or temporary tables that this service did not make. A temporary table hides the site's table of the same
-- name. init_connect, a trigger or a stored function can make one, and it lasts as long as the session. After a statement that
-- fails, the server runs none of those that were sent with it. The subquery refers to the row, so that it is evaluated only if
-- the conditions before it are false. CURRENT_USER() and USER() are the names by which an error calls the account.
SELECT variable_value = {temporary_tables} AND DATABASE() = {database} OR (SELECT 1 UNION ALL SELECT variable_value),
    CURRENT_USER(), USER()
FROM information_schema.session_status
WHERE variable_name = 'Com_create_temporary_table'
