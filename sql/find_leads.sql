-- The leads that are in a table, without a lock.
SELECT lead_id
FROM {table}
WHERE lead_id IN ({lead_ids})
