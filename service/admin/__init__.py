"""The commands for administrators: check, grants, sql and keys."""
