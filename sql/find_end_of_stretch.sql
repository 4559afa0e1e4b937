-- The last of the next rows of a table, in the order of lead_id. No row if there are fewer. It reads the index only.
SELECT lead_id
FROM {source} FORCE INDEX ({source_key})
WHERE lead_id >= {first}
ORDER BY lead_id
LIMIT 1 OFFSET {offset}
