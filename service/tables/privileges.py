"""The privileges that the service needs: `python -m service grants` prints them, and remedies name those that are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from service.database.statements import identifier, literal
from service.tables.definitions import ARCHIVE, LEADS

BOTH_WAYS = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""vicidial_list is updated on a node of a Galera cluster only, on the way back by sql/touch_leads.sql, put back at once."""

DATABASE_PRIVILEGES = ("CREATE TEMPORARY TABLES", "REFERENCES")
"""The first is for the way back where columns differ between the tables (sql/stage_table.sql). The second allows nothing, but
lets the account see which tables there are: without it, a table that tells of leads in use could be there unseen, or a foreign
key."""


def needed(leads_in_use_tables: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the privileges on each table."""
    return {LEADS: BOTH_WAYS, ARCHIVE: BOTH_WAYS, **dict.fromkeys(leads_in_use_tables, ("SELECT",))}


@dataclass(frozen=True)
class Grants:
    """GRANT statements for an account, which CURRENT_USER() tells as user@host."""

    database: str
    current_user: str

    @property
    def account(self) -> str:
        """Return the account as SQL wants it: 'user'@'host'."""
        user, host = self.current_user.rsplit("@", 1)
        return f"{literal(user)}@{literal(host)}"

    def statement(self, privileges: str, table: str | None = None) -> str:
        """Return the statement that grants privileges on a table, or on the whole database."""
        return grant(privileges, self.database, table, self.account)

    def lacking(self, message: str) -> str | None:
        """Return the statement that grants what a server's error message says is denied, None if it does not say it."""
        if found := re.match(r"([A-Z ]+?) command denied to user .*[`'](\w+)[`']$", message):
            # A definition is shown to who may read the whole table.
            return self.statement("SELECT" if found[1] == "SHOW" else found[1], found[2])
        if "to database" in message:
            return self.statement(DATABASE_PRIVILEGES[0])
        return None


def grant(privileges: str, database: str, table: str | None, account: str) -> str:
    """Return a GRANT statement; without a table, for the whole database. The account is written as SQL wants it:
    'user'@'host'."""
    if table is None:
        # In GRANT ... ON database.*, _ and % are wildcards.
        pattern = identifier(database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
        return f"GRANT {privileges} ON {pattern}.* TO {account}"
    return f"GRANT {privileges} ON {identifier(database)}.{identifier(table)} TO {account}"


def statements(database: str, account: str, leads_in_use_tables: Iterable[str]) -> list[str]:
    """Return the GRANT statements for an account that needs no more than this."""
    return [
        grant(", ".join(DATABASE_PRIVILEGES), database, None, account),
        *(grant(", ".join(privileges), database, table, account) for table, privileges in needed(leads_in_use_tables).items()),
    ]
