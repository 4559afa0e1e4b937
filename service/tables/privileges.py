"""The privileges that the service needs. `python -m service grants` prints them; remedies name the missing ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from service.database.statements import identifier, literal
from service.tables.definitions import ARCHIVE, LEADS

BOTH_WAYS = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""UPDATE of vicidial_list is needed only on a Galera cluster: sql/touch_leads.sql changes a row and sql/restore_leads.sql
restores it."""

DATABASE_PRIVILEGES = ("CREATE TEMPORARY TABLES", "REFERENCES")
"""CREATE TEMPORARY TABLES is for dearchive if the columns of the tables differ (sql/stage_table.sql). REFERENCES only lets the
account see which tables exist: without it, a table that shows leads in use, or a foreign key, could exist unseen."""


LISTS = "vicidial_lists"
"""Says to which campaign a list belongs, and whether it is active: for the conditions campaign_ids and list_active."""


ADMIN_LOG = "vicidial_admin_log"
"""Vicidial's Admin Change Log, which is written to with the setting ADMIN_LOG."""


def needed(leads_in_use_tables: Iterable[str], admin_log: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the privileges that are needed, by table. admin_log: whether the Admin Change Log is written to."""
    return {
        LEADS: BOTH_WAYS,
        ARCHIVE: BOTH_WAYS,
        **dict.fromkeys([*leads_in_use_tables, LISTS], ("SELECT",)),
        **({ADMIN_LOG: ("INSERT",)} if admin_log else {}),
    }


@dataclass(frozen=True)
class Grants:
    """Makes GRANT statements for an account. current_user: as CURRENT_USER() returns it, user@host."""

    database: str
    current_user: str

    @property
    def account(self) -> str:
        """The account in SQL: 'user'@'host'."""
        user, host = self.current_user.rsplit("@", 1)
        return f"{literal(user)}@{literal(host)}"

    def statement(self, privileges: str, table: str | None = None) -> str:
        """Return the statement that grants privileges on a table; on the whole database if table is None."""
        return grant(privileges, self.database, table, self.account)

    def lacking(self, message: str) -> str | None:
        """Return the statement that grants what an error message of the server says is denied. None if the message does not
        say it."""
        if found := re.match(r"([A-Z, ]+?) command denied to user .* (?:[`'](\w+)[`']\.)?[`'](\w+)[`']$", message):
            # SHOW CREATE TABLE needs SELECT on the whole table. A sequence may be in another database.
            return grant("SELECT" if found[1] == "SHOW" else found[1], found[2] or self.database, found[3], self.account)
        if "to database" in message:
            return self.statement(DATABASE_PRIVILEGES[0])
        return None


def grant(privileges: str, database: str, table: str | None, account: str) -> str:
    """Return a GRANT statement; on the whole database if table is None. account: in SQL, 'user'@'host'."""
    if table is None:
        # In GRANT ... ON database.*, _ and % are wildcards.
        pattern = identifier(database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
        return f"GRANT {privileges} ON {pattern}.* TO {account}"
    return f"GRANT {privileges} ON {identifier(database)}.{identifier(table)} TO {account}"


def statements(database: str, account: str, leads_in_use_tables: Iterable[str], admin_log: bool = False) -> list[str]:
    """Return the GRANT statements for an account with the minimum of privileges. admin_log: as for needed()."""
    tables = needed(leads_in_use_tables, admin_log)
    return [
        grant(", ".join(DATABASE_PRIVILEGES), database, None, account),
        *(grant(", ".join(privileges), database, table, account) for table, privileges in tables.items()),
    ]
