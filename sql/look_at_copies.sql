-- Which of the leads are in the target already, and which of these differ from the source or are not in it. Not locked: a lock
-- on ids that are not there would lock the gaps between them, and batches that have nothing in common would deadlock. What
-- changes from here on, delete_leads sees.
SELECT GROUP_CONCAT(target.lead_id), GROUP_CONCAT(IF({same_data}, NULL, target.lead_id))
FROM {target} AS target FORCE INDEX ({target_key})
LEFT JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
