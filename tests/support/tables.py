"""Read and write the two tables through another driver and another connection than those of the service."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
from mariadb import PrivateMariaDB

from support.process import PATIENCE
from support.waiting import wait_until

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
"""An ordinary lead. The other columns have the defaults of the table."""


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
"""The tables that list leads in use."""


class Tables:
    """One database with vicidial_list and vicidial_list_archive in it."""

    def __init__(self, mariadb: PrivateMariaDB, database: str) -> None:
        self.mariadb = mariadb
        self.database = database
        self.url = mariadb.url(database)
        # Results are the stored bytes, in any charset. Statements are sent as UTF-8.
        self._connection = mariadb.connect(database, use_unicode=False, conv={})
        self.execute(
            "SET SESSION character_set_results = NULL, time_zone = '+00:00',"
            " sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
        )

    def close(self) -> None:
        self._connection.close()

    def drop(self) -> None:
        """Drop the database. Kills the connections to it that a failed test may have left open."""
        for (number,) in self.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ):
            with contextlib.suppress(pymysql.err.MySQLError):  # the connection has ended meanwhile
                self.execute(f"KILL {int(number or b'')}")
        self.execute(f"DROP DATABASE {self.database}")
        self.close()

    def execute(self, statement: str) -> list[Row]:
        """Run a statement, and return its rows, every value as bytes or None."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def insert(self, table: str, *lead_ids: int, **values: Any) -> None:
        """Insert copies of LEAD with these ids, and with these values replaced."""
        lead = {**LEAD, **values}
        columns = ", ".join("`" + column.replace("`", "``") + "`" for column in lead)
        rows = ", ".join(f"({lead_id}, {', '.join(map(literal, lead.values()))})" for lead_id in lead_ids)
        self.execute(f"INSERT INTO {table} (lead_id, {columns}) VALUES {rows}")

    def live(self, *lead_ids: int, **values: Any) -> None:
        self.insert("vicidial_list", *lead_ids, **values)

    def archived(self, *lead_ids: int, **values: Any) -> None:
        self.insert("vicidial_list_archive", *lead_ids, **values)

    def set_engines(self, live: str, archive: str) -> None:
        """Give vicidial_list and vicidial_list_archive their engines."""
        for table, engine in (("vicidial_list", live), ("vicidial_list_archive", archive)):
            self.execute(f"ALTER TABLE {table} ENGINE = {engine}")

    def wait_until_a_lock_is_in_the_way(self) -> None:
        """Wait until a batch is rolled back, since another transaction has locked one of its rows. It will be tried again."""
        before = self.rollbacks()
        wait_until(lambda: self.rollbacks() > before)

    def rollbacks(self) -> int:
        """Return how many transactions the server has rolled back."""
        ((_, number),) = self.execute("SHOW GLOBAL STATUS LIKE 'Com_rollback'")
        return int(number or b"")

    def run_elsewhere(self, statement: str) -> None:
        """Run a statement in another session."""
        with self.mariadb.connect(self.database) as other, other.cursor() as cursor:
            cursor.execute(statement)

    def wait_for_a_trigger(self) -> None:
        """Wait until a statement of the service sleeps in a trigger."""
        asleep = "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User sleep'"
        wait_until(lambda: bool(self.execute(f"{asleep} AND info NOT LIKE '%AND SLEEP(%'")))

    @contextlib.contextmanager
    def held_by_a_trigger(self, *, at_least: int) -> Iterator[Callable[[], bool]]:
        """Hold each batch in its DELETE of a live lead until the end of the block. Yields a function: whether at_least so many
        are held now."""
        self.execute("SELECT GET_LOCK('held', 0)")
        self.execute(
            "CREATE TRIGGER hold BEFORE DELETE ON vicidial_list FOR EACH ROW"
            f" BEGIN DO GET_LOCK('held', {PATIENCE}); DO RELEASE_LOCK('held'); END"
        )
        held = "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'"
        try:
            yield lambda: len(self.execute(held)) >= at_least
        finally:
            self.execute("SELECT RELEASE_LOCK('held')")
            self.execute("DROP TRIGGER hold")

    def rows(self, table: str) -> dict[int, Row]:
        """Return every row of a table by its lead_id."""
        return {int(row[0] or b""): row for row in self.execute(f"SELECT * FROM {table} ORDER BY lead_id")}

    def both(self) -> tuple[dict[int, Row], dict[int, Row]]:
        """Return the rows of vicidial_list and of vicidial_list_archive."""
        return self.rows("vicidial_list"), self.rows("vicidial_list_archive")

    def archived_count(self) -> int:
        """Return the number of rows in vicidial_list_archive."""
        ((count,),) = self.execute("SELECT count(*) FROM vicidial_list_archive")
        return int(count or b"")

    def ids(self) -> tuple[list[int], list[int]]:
        """Return the lead ids in vicidial_list and in vicidial_list_archive."""
        live, archived = self.both()
        return list(live), list(archived)


def literal(value: Any) -> str:
    """Return a value as SQL. Bytes have no charset. The number 0 is the empty value of an enum."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'"
    return str(value)
