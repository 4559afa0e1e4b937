-- How many tables the statements of this session have opened so far. Sent before and after an INSERT without rows, it tells whether
-- INSERT opens other tables than its target: MariaDB opens all tables that triggers may use, directly or through views, functions
-- and triggers of other tables, before it looks for rows. information_schema shows triggers only to accounts with the privilege
-- TRIGGER. This statement itself, temporary tables and those of information_schema do not count.
SELECT CAST(COALESCE(SUM(variable_value), 0) AS UNSIGNED)
FROM information_schema.session_status
WHERE variable_name IN ('Table_open_cache_hits', 'Table_open_cache_misses')
