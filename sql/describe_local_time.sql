-- The local time of the server's wall clock. NULL if the server does not know its own time zone: then its time zone tables have
-- been emptied.
SELECT CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone)
