-- The leads that are in the source. Each is locked until the transaction ends, always in the order of lead_id, so that of two
-- overlapping batches the one that comes later lets the other one pass. FORCE INDEX, here and in the other statements, makes MariaDB
-- look up only these ids. Without it, MariaDB reads all rows of a small table, and locks other leads, or meets their locks.
SELECT lead_id
FROM {source} FORCE INDEX ({source_key})
WHERE lead_id IN ({lead_ids})
ORDER BY lead_id
FOR UPDATE
