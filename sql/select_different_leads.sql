-- The leads whose copy update_leads would change. Used before it unless both tables can roll back, so that it is known which copies a
-- batch has changed, even if a row makes it fail or it is tried again.
SELECT target.lead_id
FROM {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id + 0
WHERE target.lead_id IN ({lead_ids})
    AND NOT (
    {same_data}
    )
    AND {not_reused}
ORDER BY target.lead_id
