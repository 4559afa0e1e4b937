-- The leads that are in the target already, and those whose copy is a different lead that had the same lead_id before. They
-- are not locked: a lock on an id that does not exist locks the gap around it, and batches without a common lead would
-- deadlock. What changes after this, update_leads and delete_leads notice.
SELECT GROUP_CONCAT(target.lead_id), GROUP_CONCAT(IF({reused}, target.lead_id, NULL))
FROM {target} AS target FORCE INDEX ({target_key})
LEFT JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
