-- Which of the leads are in the target already, and of which of them the copy is another lead's, whose lead_id was given out
-- again. Not locked: a lock on ids that are not there would lock the gaps between them, and batches that have nothing in
-- common would deadlock. What changes from here on, update_leads and delete_leads see.
SELECT GROUP_CONCAT(target.lead_id), GROUP_CONCAT(IF({reused}, target.lead_id, NULL))
FROM {target} AS target FORCE INDEX ({target_key})
LEFT JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
