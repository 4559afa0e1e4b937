-- The leads between two ids that match conditions. It locks no rows, and looks at a few thousand rows, so that on MyISAM, where
-- it locks the table, no UPDATE of the dialler waits for long.
SELECT source.lead_id
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id BETWEEN {first} AND {last}
    AND {matches}
ORDER BY source.lead_id
LIMIT {limit}
