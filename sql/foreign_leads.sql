-- For a caller who may see the leads of some lists only: which of the leads are of other lists, or of none. What counts is the
-- list in the source, and in the target for a lead that is there only.
SELECT source.lead_id
FROM {source} AS source
WHERE source.lead_id IN ({lead_ids})
    AND (source.list_id IN ({list_ids})) IS NOT TRUE
UNION ALL
SELECT target.lead_id
FROM {target} AS target
LEFT JOIN {source} AS source ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
    AND source.lead_id IS NULL
    AND (target.list_id IN ({list_ids})) IS NOT TRUE
