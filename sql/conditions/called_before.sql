-- Leads that were last called before a time of the wall clock.
SELECT source.lead_id
FROM {source} AS source
WHERE source.last_local_call_time < {moment}
