-- Which of the leads are in the source, each locked until the transaction ends, always in the order of lead_id, so that
-- two batches that overlap wait for each other instead of deadlocking. A row for each: the order has MariaDB look up just these
-- ids, even in a small table. Asked for one row with all of them, it would go through the table, and lock or wait for others.
SELECT lead_id
FROM {source}
WHERE lead_id IN ({lead_ids})
ORDER BY lead_id
FOR UPDATE
