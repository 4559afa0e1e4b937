-- Leads that were entered before a time of the wall clock.
SELECT source.lead_id
FROM {source} AS source
WHERE source.entry_date < {moment}
