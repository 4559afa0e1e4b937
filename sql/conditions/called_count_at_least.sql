-- Leads that were called a number of times, or more often.
SELECT source.lead_id
FROM {source} AS source
WHERE source.called_count >= {number}
