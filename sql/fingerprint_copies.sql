-- What the copies of leads hold, before and after delete_leads, where a foreign key of the target may change or delete them in the
-- same moment. They are locked, so that nobody else changes them in between.
SELECT {target}.lead_id, {fingerprint}
FROM {target} FORCE INDEX ({target_key})
WHERE {target}.lead_id IN ({lead_ids})
ORDER BY {target}.lead_id
FOR UPDATE
