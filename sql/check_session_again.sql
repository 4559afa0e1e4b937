-- As check_session, between statements that write. It returns no rows: a trigger may have set a character set for results that
-- the driver cannot read.
SET @session_is_checked = (
    SELECT variable_value = {temporary_tables} AND DATABASE() = {database} OR (SELECT 1 UNION ALL SELECT variable_value)
    FROM information_schema.session_status
    WHERE variable_name = 'Com_create_temporary_table'
)
