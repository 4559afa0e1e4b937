-- The keys of a table that shows leads in use: their names, columns, and positions in the key.
SHOW KEYS FROM {table}
