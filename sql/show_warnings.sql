-- What the statement before this one has warned of: whether it has left out a table (warning 1684).
SHOW WARNINGS
