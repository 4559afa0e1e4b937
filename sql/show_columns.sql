-- The columns of a table that shows leads in use: a number cannot be looked up in the key of a text.
SHOW COLUMNS FROM {table}
