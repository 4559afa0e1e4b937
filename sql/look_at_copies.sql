-- Which of the leads are in the target already. Not locked: a lock on ids that are not there would lock the gaps between them,
-- and batches that have nothing in common would deadlock. What changes from here on, update_leads and delete_leads see.
SELECT GROUP_CONCAT(lead_id)
FROM {target} FORCE INDEX ({target_key})
WHERE lead_id IN ({lead_ids})
