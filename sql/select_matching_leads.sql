-- The leads of a batch that match its conditions. The batch leaves the others alone.
SELECT source.lead_id
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id IN ({lead_ids})
    AND {matches}
