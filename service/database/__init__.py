"""Connections, transactions, and the SQL statements of sql/."""
