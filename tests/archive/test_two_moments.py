"""On MyISAM, a statement sees each table as it was when it got the lock on that table. In between, leads are moved.

MariaDB locks the tables of a statement in an order of its own, which stays the same until the tables are opened again. So each
test moves leads in both directions: in one of them, the target is locked already when the statement waits for the source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.settings import key_entry
from support.tables import Tables
from support.waiting import wait_until

from service.database.transaction import Transaction
from service.errors import DatabaseError

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"
DIRECTIONS = [(1, LIST, ARCHIVE), (2, ARCHIVE, LIST)]
OTHER = 9
"""A lead in both tables. Another program writes to it."""

pytestmark = pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)


class Move:
    """Moves a lead while a statement of the service waits for the source, to which another program writes."""

    def __init__(self, tables: Tables, clients: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tables = tables
        self._clients = clients
        self._monkeypatch = monkeypatch
        self._watcher = tables.mariadb.connect(tables.database)
        self._send = Transaction._send
        self._was_refused = False
        """Whether the statement did not wait."""

    def when(self, part: str, lead_id: int, source: str, target: str) -> list[Future[None]]:
        """Move the lead when a statement with this part is sent for the first time. It comes into the source just before.
        Return what is done then."""
        done: list[Future[None]] = []
        self._was_refused = False

        @asynccontextmanager
        async def watched(
            transaction: Transaction, statements: Sequence[str], *others: Any, **named: Any
        ) -> AsyncIterator[Any]:
            if not done and any(part in statement for statement in statements):
                self._tables.insert(source, lead_id)
                done.append(self._write(source))
                done.append(self._clients.submit(self._move, lead_id, source, target))
            try:
                async with self._send(transaction, statements, *others, **named) as results:
                    yield results
            except DatabaseError:
                self._was_refused = True
                raise

        self._monkeypatch.setattr(Transaction, "_send", watched)
        return done

    def _write(self, table: str) -> Future[None]:
        """Write to a table until the lock is released. Return when the table is locked."""
        lock = f"'{self._tables.database}'"
        self._tables.execute(f"SELECT GET_LOCK({lock}, 10)")
        write = f"UPDATE {table} SET status = 'BUSY' WHERE lead_id = {OTHER} AND GET_LOCK({lock}, 20) AND RELEASE_LOCK({lock})"
        writing = self._clients.submit(self._execute, write)
        wait_until(lambda: self._in_state("User lock", "UPDATE"))
        return writing

    def _move(self, lead_id: int, source: str, target: str) -> None:
        wait_until(lambda: self._was_refused or self._in_state("Waiting for table level lock", "SELECT"))
        self._tables.insert(target, lead_id)
        deleting = self._clients.submit(self._execute, f"DELETE FROM {source} WHERE lead_id = {lead_id}")
        wait_until(lambda: self._in_state("Waiting for table level lock", "DELETE"))
        self._tables.execute(f"SELECT RELEASE_LOCK('{self._tables.database}')")
        deleting.result()

    def _execute(self, statement: str) -> None:
        with self._tables.mariadb.connect(self._tables.database) as other, other.cursor() as cursor:
            cursor.execute(statement)

    def _in_state(self, state: str, verb: str) -> bool:
        """Return whether a session runs such a statement in this state."""
        with self._watcher.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state = %s AND info REGEXP %s",
                [state, rf"\b{verb} "],
            )
            return bool(cursor.fetchall())


@pytest.fixture
def move(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    for table in (LIST, ARCHIVE):
        tables.insert(table, OTHER)
    tables.execute("SET GLOBAL concurrent_insert = ALWAYS")  # INSERT need not wait for readers, even after a DELETE
    with ThreadPoolExecutor(3) as clients:
        yield Move(tables, clients, monkeypatch)
    tables.execute("SET GLOBAL concurrent_insert = DEFAULT")


def test_a_comparison_finds_a_lead_that_is_being_moved(tables: Tables, api: Api, move: Move) -> None:
    for lead_id, source, target in DIRECTIONS:
        done = move.when("UNION ALL\nSELECT target.lead_id", lead_id, source, target)

        (lead,) = api.compare([lead_id]).json()["leads"]

        assert lead["in_list"] or lead["in_archive"]
        assert len(done) == 2
        for future in done:
            future.result()
        assert (lead_id in tables.rows(source), lead_id in tables.rows(target)) == (False, True)


def test_a_key_with_lists_finds_a_lead_that_is_being_moved(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, move: Move
) -> None:
    keys_file.write_text(key_entry([998]))
    is_archived(tables, new_api(), move, "live.list_id IN")


def test_a_lead_that_comes_and_is_moved_at_once_is_not_unknown(tables: Tables, api: Api, move: Move) -> None:
    """The look at both tables does not find it yet."""
    is_archived(tables, api, move, "UNION\nSELECT lead_id")


def is_archived(tables: Tables, api: Api, move: Move, part: str) -> None:
    for lead_id, source, target in DIRECTIONS:
        done = move.when(part, lead_id, source, target)

        response = api.archive_all([lead_id])

        assert response.status_code == 200
        assert len(done) == 2
        for future in done:
            future.result()
        live, archived = tables.ids()
        assert (lead_id in live, lead_id in archived) == (False, True)
