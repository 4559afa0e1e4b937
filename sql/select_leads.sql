-- Which of the leads are in the source, each locked until the transaction ends, always in the order of lead_id, so that
-- two batches that overlap wait for each other instead of deadlocking. FORCE INDEX, here and in the other statements, has
-- MariaDB look up just these ids: left to itself it goes through all of a small table, and locks or waits for other leads.
SELECT lead_id
FROM {source} FORCE INDEX ({source_key})
WHERE lead_id IN ({lead_ids})
ORDER BY lead_id
FOR UPDATE
