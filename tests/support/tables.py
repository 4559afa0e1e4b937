"""The two tables as the tests see them: through a driver and a connection that the service has no part in."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pymysql
from mariadb import PrivateMariaDB

from support.process import PATIENCE

Row = tuple[bytes | None, ...]

LEAD: dict[str, Any] = {
    "modify_date": "2024-03-01 10:20:30",
    "status": "SALE",
    "list_id": 998,
    "phone_number": "2125550101",
    "first_name": "José",
    "last_name": "Müller",
    "comments": None,
    "owner": "",
}
"""A lead like any other; the columns that are not named have the values that the table gives them."""


IN_USE_TABLES = (
    "quality_control_queue",
    "vicidial_auto_calls",
    "vicidial_callbacks",
    "vicidial_email_list",
    "vicidial_hopper",
    "vicidial_inbound_callback_queue",
    "vicidial_live_agents",
    "vicidial_live_chats",
)
"""The tables that tell of leads in use."""


class Tables:
    """One database with vicidial_list and vicidial_list_archive in it."""

    def __init__(self, mariadb: PrivateMariaDB, database: str) -> None:
        self.mariadb = mariadb
        self.database = database
        self.url = mariadb.url(database)
        # Results come as the bytes that are stored, whatever their charset; what is sent is UTF-8.
        self._connection = mariadb.connect(database, use_unicode=False, conv={})
        self.execute(
            "SET SESSION character_set_results = NULL, time_zone = '+00:00',"
            " sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
        )

    def close(self) -> None:
        self._connection.close()

    def drop(self) -> None:
        """Drop the database. Who still has a connection to it, as a test that failed may, loses it."""
        for (number,) in self.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ):
            with contextlib.suppress(pymysql.err.MySQLError):  # it has ended by itself
                self.execute(f"KILL {int(number or b'')}")
        self.execute(f"DROP DATABASE {self.database}")
        self.close()

    def execute(self, statement: str) -> list[Row]:
        """Run a statement as it stands; its rows, every value as bytes or None."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def insert(self, table: str, *lead_ids: int, **values: Any) -> None:
        """Insert leads: LEAD, with other values where they are given."""
        lead = {**LEAD, **values}
        columns = ", ".join("`" + column.replace("`", "``") + "`" for column in lead)
        rows = ", ".join(f"({lead_id}, {', '.join(map(literal, lead.values()))})" for lead_id in lead_ids)
        self.execute(f"INSERT INTO {table} (lead_id, {columns}) VALUES {rows}")

    def live(self, *lead_ids: int, **values: Any) -> None:
        self.insert("vicidial_list", *lead_ids, **values)

    def archived(self, *lead_ids: int, **values: Any) -> None:
        self.insert("vicidial_list_archive", *lead_ids, **values)

    def wait_for_a_lock_wait(self) -> None:
        """Wait until somebody waits for a row that another transaction has locked."""
        deadline = time.monotonic() + PATIENCE
        while not self.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"):
            assert time.monotonic() < deadline
            time.sleep(0.15)  # InnoDB renews what it tells only if nobody has asked for a tenth of a second

    def rows(self, table: str) -> dict[int, Row]:
        """Every row of a table by its lead_id."""
        return {int(row[0] or b""): row for row in self.execute(f"SELECT * FROM {table} ORDER BY lead_id")}

    def both(self) -> tuple[dict[int, Row], dict[int, Row]]:
        """The rows of vicidial_list and of vicidial_list_archive."""
        return self.rows("vicidial_list"), self.rows("vicidial_list_archive")

    def ids(self) -> tuple[list[int], list[int]]:
        """The lead ids in vicidial_list and in vicidial_list_archive."""
        live, archived = self.both()
        return list(live), list(archived)


def literal(value: Any) -> str:
    """A value in SQL. Bytes are what they are, in no charset; the number 0 is an enum's empty value."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'"
    return str(value)
