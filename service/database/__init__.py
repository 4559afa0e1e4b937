"""Connections, transactions, MariaDB's errors, and the SQL statements of sql/."""
