"""A dialler: threads that write to vicidial_list as Vicidial does, and record what they committed.

Each lead belongs to one thread, which therefore knows what was committed last. Each write gives the lead a new token in
security_phrase. A write that matches no row means that the lead was archived before. With each call, the list of the lead is
written to as well, if vicidial_lists has it.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import Any

import pymysql
from mariadb import PrivateMariaDB

from support.background import BackgroundThreads
from support.tables import Tables

GONE = "deleted by the dialler"


class Dialler(BackgroundThreads):
    """Use as a context manager: it dials from entry to exit. state maps each lead to its last committed token, or to GONE."""

    def __init__(
        self, server: PrivateMariaDB, database: str, lead_ids: range, threads: int = 3, seed: int = 0, deletes: bool = True
    ) -> None:
        super().__init__(
            partial(self._dial, number, threads, random.Random(seed * 1000 + number)) for number in range(threads)
        )
        self.state: dict[int, str] = dict.fromkeys(lead_ids, "")
        self.unsure: dict[int, set[str]] = {}
        """Leads whose last write lost its connection: it may or may not have been committed."""
        self.slowest = 0.0
        """Seconds that the longest write took."""
        self._weights = [90, 8, 2] if deletes else [92, 8, 0]
        self._server = server
        self._database = database
        self._next_lead_id = lead_ids.stop

    def _dial(self, number: int, threads: int, rng: random.Random) -> None:
        mine = [lead_id for lead_id in self.state if lead_id % threads == number]
        connection: pymysql.connections.Connection[Any] | None = None
        while not self._stop.is_set():
            lead_id = rng.choice(mine)
            token = f"{rng.random():.12f}"
            action = rng.choices(["update", "insert", "delete"], self._weights)[0]
            if action == "insert":
                with self._lock:
                    # A lead of the same thread: the next free number with the same remainder.
                    lead_id = self._next_lead_id + (number - self._next_lead_id) % threads
                    self._next_lead_id = lead_id + 1
            try:
                if connection is None:
                    connection = self._server.connect(self._database, read_timeout=30, write_timeout=30)
                started = time.monotonic()
                self._write(connection, action, lead_id, token, mine)
                self.slowest = max(self.slowest, time.monotonic() - started)
            except pymysql.err.MySQLError as error:
                if error.args and error.args[0] in {1205, 1213, 1020, 1412}:
                    continue  # refused, so not committed; Vicidial continues too
                # The connection broke: a later read shows whether it was committed.
                with self._lock:
                    self.unsure.setdefault(lead_id, {self.state.get(lead_id, GONE)}).add(GONE if action == "delete" else token)
                    self.state.setdefault(lead_id, GONE)
                    if lead_id not in mine:
                        mine.append(lead_id)
                if connection is not None:
                    connection.close()
                connection = None
                self._stop.wait(0.05)
        if connection is not None:
            connection.close()

    def _write(self, connection: Any, action: str, lead_id: int, token: str, mine: list[int]) -> None:
        with connection.cursor() as cursor:
            if action == "insert":
                cursor.execute(
                    "INSERT INTO vicidial_list (lead_id, phone_number, security_phrase) VALUES (%s, '2125550101', %s)",
                    (lead_id, token),
                )
                mine.append(lead_id)
            elif action == "update":
                cursor.execute("UPDATE vicidial_lists SET list_lastcalldate = NOW() WHERE list_id = 998")
                cursor.execute(
                    "UPDATE vicidial_list SET security_phrase = %s, called_count = called_count + 1 WHERE lead_id = %s",
                    (token, lead_id),
                )
            else:
                cursor.execute("DELETE FROM vicidial_list WHERE lead_id = %s", (lead_id,))
                token = GONE
            if cursor.rowcount:
                with self._lock:
                    self.state[lead_id] = token
                    # This write overwrites what an earlier write with an unknown result may have done.
                    self.unsure.pop(lead_id, None)


def assert_no_lead_is_lost(tables: Tables, dialler: Dialler) -> tuple[int, int]:
    """Assert that the last committed data of every lead is in vicidial_list or, if the service deleted it, in the archive.

    Return how many leads the service deleted, at least and at most: where the connection broke during a DELETE of the dialler,
    either of the two may have deleted the lead.
    """
    columns = "lead_id, COALESCE(security_phrase, '')"
    live, archived = (
        {int(lead_id or b""): (token or b"").decode() for lead_id, token in tables.execute(f"SELECT {columns} FROM {table}")}
        for table in ("vicidial_list", "vicidial_list_archive")
    )
    at_least = at_most = 0
    for lead_id, last in dialler.state.items():
        possible = dialler.unsure.get(lead_id, {last})
        found = live.get(lead_id, archived.get(lead_id, GONE))
        if lead_id not in live:
            at_least += GONE not in possible
            at_most += possible != {GONE}
        if GONE in possible and lead_id not in live:
            continue  # deleted by the dialler; it may have been copied before
        assert found in possible, f"lead {lead_id}: {found!r} was found, and {possible} was committed last"
    return at_least, at_most
