-- Leads that were entered a number of days ago, or earlier. The wall clock is that of the server: Vicidial writes local times,
-- and the session has UTC.
SELECT source.lead_id
FROM {source} AS source
WHERE source.entry_date <= CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone) - INTERVAL {number} DAY
