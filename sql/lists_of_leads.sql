-- The lists of leads that a batch has locked. unmatched_lists looks at them before COMMIT.
SELECT DISTINCT source.list_id
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id IN ({lead_ids})
