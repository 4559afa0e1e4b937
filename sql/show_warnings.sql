-- What the statement before this one has warned of: whether it has left out a table (warnings 1684 and 1205).
SHOW WARNINGS
