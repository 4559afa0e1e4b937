-- The leads whose copy update_leads would change. Used before it if the target cannot roll back, so that the number of changed
-- copies is known even if a row makes it fail.
SELECT target.lead_id
FROM {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id + 0
WHERE target.lead_id IN ({lead_ids})
    AND NOT (
    {same_data}
    )
    AND {not_reused}
ORDER BY target.lead_id
