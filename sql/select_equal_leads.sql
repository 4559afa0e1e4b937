-- On a node of a Galera cluster: the leads whose copy in the target has the same data already. The cluster does not detect
-- conflicts on rows that a transaction only reads. So touch_leads also writes the rows that delete_leads relies on, and
-- restore_leads restores them.
SELECT target.lead_id
FROM {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id + 0
WHERE target.lead_id IN ({lead_ids})
    AND {same_data}
ORDER BY target.lead_id
FOR UPDATE
