"""The smallest set of privileges that the service needs: `python -m service grants` prints it, `check` compares with it."""

from __future__ import annotations

from collections.abc import Iterable

from service.statements import identifier
from service.tables import ARCHIVE, LEADS

BOTH_WAYS = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""vicidial_list is updated on a node of a Galera cluster only, on the way back by sql/touch_leads.sql, put back at once."""

DATABASE_PRIVILEGE = "CREATE TEMPORARY TABLES"
"""For the way back where columns differ between the tables (sql/stage_table.sql)."""


def needed(leads_in_use_tables: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The privileges on each table."""
    return {LEADS: BOTH_WAYS, ARCHIVE: BOTH_WAYS, **dict.fromkeys(leads_in_use_tables, ("SELECT",))}


def statements(database: str, account: str, leads_in_use_tables: Iterable[str]) -> list[str]:
    """The GRANT statements for an account, which is written as SQL wants it: 'user'@'host'."""
    # In GRANT ... ON, _ and % in the name of a database are wildcards.
    pattern = identifier(database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
    return [
        f"GRANT {DATABASE_PRIVILEGE} ON {pattern}.* TO {account}",
        *(
            f"GRANT {', '.join(privileges)} ON {identifier(database)}.{identifier(table)} TO {account}"
            for table, privileges in needed(leads_in_use_tables).items()
        ),
    ]
