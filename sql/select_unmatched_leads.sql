-- The leads of a batch that do not match its conditions, and are left alone. Another session may have deleted some of the others from a
-- table without row locks since the batch has seen them: nobody knows whether those matched.
SELECT source.lead_id
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id IN ({lead_ids})
    AND ({matches}) IS NOT TRUE
