-- The unique keys of both tables, one row for each of their columns. A key on a prefix of a column does not count: it is not
-- unique for the whole value.
SELECT table_name, index_name, column_name
FROM information_schema.statistics
WHERE table_schema = DATABASE()
    AND table_name IN ({table_names})
    AND non_unique = 0
    AND sub_part IS NULL
ORDER BY table_name, index_name, seq_in_index
