-- The columns of both tables that the account may see, including those that a site has added, in the order of the tables; and
-- what the account may do with each.
SELECT table_name, column_name, data_type, column_type, character_set_name, collation_name, is_generated = 'ALWAYS',
    generation_expression, extra LIKE '%auto_increment%', privileges
FROM information_schema.columns
WHERE table_schema = DATABASE()
    AND table_name IN ({table_names})
ORDER BY table_name, ordinal_position
