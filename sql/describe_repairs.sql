-- When each of the two tables was last made or repaired: the microseconds since then, at least, since MariaDB notes only seconds.
-- REPAIR TABLE, and the repair of a table that is opened, note the time as that of a check.
SELECT table_name, TIMESTAMPDIFF(MICROSECOND, GREATEST(create_time, COALESCE(check_time, create_time)), NOW(6)) - 1000000
FROM information_schema.tables
WHERE table_schema = DATABASE()
    AND table_name IN ({table_names})
