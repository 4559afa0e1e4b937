-- Leads with certain statuses. The collation of the column decides what is equal. A text that the column's character set
-- cannot hold is NULL here, and equal to nothing.
SELECT source.lead_id
FROM {source} AS source
WHERE source.status IN ({texts})
