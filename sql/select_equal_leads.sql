-- On a node of a Galera cluster: the leads that the target holds already with the same data. Rows that a transaction only
-- reads take no part in the cluster's search for conflicts, so what delete_leads relies on has to be written as well: by
-- touch_leads, and put back by restore_leads.
SELECT target.lead_id
FROM {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
    AND {same_data}
ORDER BY target.lead_id
FOR UPDATE
