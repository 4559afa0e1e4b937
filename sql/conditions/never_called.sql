-- Leads that were never called (TRUE), or that were called (FALSE).
SELECT source.lead_id
FROM {source} AS source
WHERE (source.last_local_call_time IS NULL) = {truth}
