"""A transaction: statements on one connection, and what is known about their outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asyncmy.cursors import Cursor
from asyncmy.errors import MySQLError

from service.database.tls import explain
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK

READ_WRITE = "START TRANSACTION READ WRITE"
"""READ WRITE is explicit: a read-only server refuses it before anything is changed, and tx_read_only has no effect."""

READ_ONLY = "START TRANSACTION READ ONLY"
"""For reading only. It works on a read-only server too."""


class QuietCursor(Cursor):
    """A cursor that never asks for warnings. Warnings contain values that did not fit, and the driver would log them: lead
    data. The comparison notices whether a value was damaged."""

    async def _show_warnings(self, _: Any) -> None:
        pass


class Transaction:
    """Statements on one connection, from BEGIN to COMMIT. All methods raise DatabaseError."""

    def __init__(self, connection: Any, session: str, begin: str) -> None:
        """session: sql/session.sql, filled in. begin: the statement that begins a transaction. Both are sent together with the
        first statement, which saves a round trip. session.sql also resets what a trigger has set."""
        self.connection = connection
        self._session = session
        self._begin = begin
        self._first = [session, begin]
        self._writes = False
        self.changes_may_persist = False
        """Whether a change may persist even if the transaction fails from now on: COMMIT was sent and not answered with a
        deadlock, or the statements wrote to a table without rollback."""

    def send_first(self, statement: str) -> None:
        """Send a statement together with the next one, before it."""
        self._first.append(statement)

    async def commit(self) -> None:
        """Commit. The next statement begins a new transaction."""
        persisted_already = self.changes_may_persist
        self.changes_may_persist = persisted_already or self._writes
        try:
            await self.connection.commit()
        except MySQLError as error:
            # In a cluster, COMMIT fails like this if another node changed the same rows: this transaction was rolled back.
            if error.args[:1] == (DEADLOCK,):
                self.changes_may_persist = persisted_already
            raise self._error(error) from error
        self._writes = False
        self._first = [self._session, self._begin]

    async def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        (rows,) = await self.select_each(statement)
        return rows

    async def select_each(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """Return the rows of several SELECTs. They are sent in one round trip and run one after the other."""
        async with self._send(statements) as cursor:
            rows = [await cursor.fetchall()]
            while await cursor.nextset():
                rows.append(await cursor.fetchall())
            return rows

    async def execute(self, statement: str) -> int:
        """Return how many rows an INSERT, UPDATE or DELETE changed."""
        (count,) = [count async for count in self.execute_each(statement)]
        return count

    async def execute_each(self, *statements: str) -> AsyncIterator[int]:
        """Yield how many rows each statement changed. They are sent in one round trip. After one that fails, no further one is
        run."""
        self._writes = True
        try:
            async with self._send(statements) as cursor:
                yield cursor.rowcount
                while await cursor.nextset():
                    yield cursor.rowcount
        finally:
            self._first.append(self._session)

    @asynccontextmanager
    async def _send(self, statements: Sequence[str]) -> AsyncIterator[Any]:
        """Return a cursor at the first result of the statements."""
        try:
            async with self.connection.cursor(QuietCursor) as cursor:
                first, self._first = self._first, []
                await cursor.execute(";\n".join([*first, *statements]))
                for _ in first:
                    await cursor.nextset()
                yield cursor
        except MySQLError as error:
            raise self._error(error) from error

    def _error(self, error: MySQLError) -> DatabaseError:
        return database_error(error, outcome_known=not self.changes_may_persist)


def database_error(error: Exception, outcome_known: bool) -> DatabaseError:
    """Return an error of the driver or the connection as a DatabaseError."""
    code, message = error.args if len(error.args) == 2 else (None, str(error) or type(error).__name__)
    return DatabaseError(explain(error) or str(message), code, outcome_known)
