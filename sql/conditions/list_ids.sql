-- Leads of certain lists.
SELECT source.lead_id
FROM {source} AS source
WHERE source.list_id IN ({list_ids})
