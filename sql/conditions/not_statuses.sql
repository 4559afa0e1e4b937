-- Leads with a status other than these. NULL is no status. IS NOT TRUE: a text that the column's character set cannot hold is
-- NULL here, and excludes nothing.
SELECT source.lead_id
FROM {source} AS source
WHERE source.status IS NOT NULL AND (source.status IN ({texts})) IS NOT TRUE
