"""Connections and transactions: the pool of the databases library, with transactions that this module owns.

databases.transaction() is not used: when the connection dies or the task is cancelled within it, its rollback raises
before the connection is given back, and the pool has one slot less for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import databases
import stamina
import structlog
from asyncmy.cursors import Cursor
from asyncmy.errors import MySQLError
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from service import metrics
from service.statements import Statements

CONNECT_TIMEOUT = 5
"""Seconds to wait for a connection to be accepted. The pool connects one at a time, so this bounds what one can hold up. What
the server says then, its greeting included, is waited for as long as the transaction may take."""

POOL_RECYCLE = 60
"""Seconds that an idle connection is kept: below any wait_timeout that a server is likely to have."""

ROLLBACK_TIMEOUT = 2
"""Seconds to wait for a rollback before the connection is closed instead, which rolls back too."""

ATTEMPTS = 10
"""How often a transaction is tried, at most, when it and others get in each other's way."""

T = TypeVar("T")

logger = structlog.get_logger()

NO_SUCH_COLUMN = 1054
NO_SUCH_TABLE = 1146
NO_SUCH_KEY = 1176
DEADLOCK = 1213

PASSING_ERRORS = {
    1020: "record has changed since last read",
    NO_SUCH_COLUMN: "unknown column: it was there when the tables were read",
    NO_SUCH_KEY: "unknown key: it was there when the tables were read",
    1205: "lock wait timeout",
    DEADLOCK: "deadlock, or a certification conflict in a cluster",
    1412: "table definition has changed",
    2006: "server has gone away",
    2013: "lost connection to server",
}
"""Error numbers after which the same transaction may succeed at once."""


class DatabaseError(Exception):
    """The database could not do it.

    code is MariaDB's error number, None where it gave none; outcome_known says whether it is certain that nothing was
    changed.
    """

    def __init__(self, message: str, code: int | None = None, outcome_known: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.outcome_known = outcome_known

    @property
    def from_server(self) -> bool:
        """Whether the server answered and refused. Its client libraries number what they could not send from 2000 to 2999."""
        return self.code is not None and not 2000 <= self.code < 3000

    @property
    def passing(self) -> bool:
        """Whether the same transaction may succeed at once."""
        return self.code in PASSING_ERRORS


def _on_retry(details: RetryDetails) -> None:
    error = details.caused_by
    assert isinstance(error, DatabaseError)
    metrics.RETRIES.labels(error.code).inc()
    logger.warning("transaction retried", error=str(error), code=error.code, retry=details.retry_num)


# In place of the library's own, which logs and counts whatever it is called with.
set_on_retry_hooks([_on_retry])


class QuietCursor(Cursor):
    """A cursor that does not ask for warnings. Asked, the server tells the values that did not fit, and they would be logged:
    lead data. Whether anything was lost on the way is for the compare to see."""

    async def _show_warnings(self, _: Any) -> None:
        pass


class Transaction:
    """Statements on one connection, between BEGIN and COMMIT."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._first: list[str] = []
        self.may_last = False
        """Whether something of it may last even if it fails from here on: COMMIT was sent, and not answered with a deadlock,
        or a table was written whose engine cannot roll back."""

    def begin(self) -> None:
        """Begin a transaction, along with the next statement: a round trip less."""
        self._first = ["START TRANSACTION"]

    async def commit(self) -> None:
        lasts_already = self.may_last
        self.may_last = True
        try:
            await self._connection.commit()
        except MySQLError as error:
            # In a cluster, COMMIT is where it comes out that another node has changed the same rows: this one was rolled back.
            if error.args[:1] == (DEADLOCK,):
                self.may_last = lasts_already
            raise

    async def select(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""
        (rows,) = await self.select_each(statement)
        return rows

    async def select_each(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """The rows of several SELECTs, in one round trip: they are sent together, and run one after the other."""
        async with self._send(statements) as cursor:
            rows = [await cursor.fetchall()]
            while await cursor.nextset():
                rows.append(await cursor.fetchall())
            return rows

    async def execute(self, statement: str) -> int:
        """How many rows an INSERT, UPDATE or DELETE changed."""
        (count,) = await self.execute_each(statement)
        return count

    async def execute_each(self, *statements: str) -> list[int]:
        """The same of several, in one round trip. If one fails, those after it are not run."""
        async with self._send(statements) as cursor:
            counts: list[int] = [cursor.rowcount]
            while await cursor.nextset():
                counts.append(cursor.rowcount)
            return counts

    @asynccontextmanager
    async def _send(self, statements: Sequence[str]) -> AsyncIterator[Any]:
        """A cursor at the first result of the statements."""
        async with self._connection.cursor(QuietCursor) as cursor:
            first, self._first = self._first, []
            await cursor.execute(";\n".join([*first, *statements]))
            for _ in first:
                await cursor.nextset()
            yield cursor


class Database:
    """A pool of connections, each set up by sql/session.sql. Connects when it is first used, never before."""

    def __init__(self, url: str, statements: Statements, pool_size: int, timeout: float) -> None:
        """timeout: seconds after which the server is to give up a statement; a wait for a lock gets a third of it."""
        self.session = statements.fill(
            "session",
            {"lock_wait_timeout": str(max(1, int(timeout / 3))), "max_statement_time": str(timeout)},
        )
        self._pool = databases.Database(
            url,
            min_size=0,
            max_size=pool_size,
            pool_recycle=POOL_RECYCLE,
            connect_timeout=CONNECT_TIMEOUT,
            init_command=self.session,
            charset="utf8mb4",
        )

    async def connect(self) -> None:
        await self._pool.connect()

    async def disconnect(self) -> None:
        await self._pool.disconnect()

    async def attempt(
        self, work: Callable[[Transaction], Awaitable[T]], seconds: float, notice: Callable[[DatabaseError], None]
    ) -> T:
        """Do some work in a transaction, and all of it anew if it and others got in each other's way.

        seconds: for all attempts together. notice: told of each error of the database. Raises what the work raises, and
        DatabaseError.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        attempts = stamina.retry_context(
            on=lambda error: isinstance(error, DatabaseError) and error.outcome_known and error.passing,
            attempts=ATTEMPTS,
            timeout=seconds,
            wait_initial=0.01,
            wait_max=0.5,
            wait_jitter=0.05,
        )
        async for attempt in attempts:
            with attempt:
                try:
                    async with self.transaction(deadline - asyncio.get_running_loop().time()) as transaction:
                        return await work(transaction)
                except DatabaseError as error:
                    notice(error)
                    raise
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def transaction(self, timeout: float) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end of the block and rolled back if the block raises.

        timeout: seconds for all of it, the wait for a free connection included.
        Raises DatabaseError for whatever the database, the way to it or the timeout did.
        """
        transaction: Transaction | None = None
        try:
            async with asyncio.timeout(timeout), self._wait_for_connection() as pooled:
                connection: Any = pooled.raw_connection
                transaction = Transaction(connection)
                try:
                    transaction.begin()
                    yield transaction
                    await transaction.commit()
                except Exception:
                    await _roll_back(connection)
                    raise
                except BaseException:
                    # Cancelled in the middle of an answer: what the connection would say next belongs to nobody.
                    connection.close()
                    raise
        except TimeoutError as error:
            raise DatabaseError(f"no answer within {timeout:.0f} seconds", None, _unchanged(transaction)) from error
        except (MySQLError, OSError) as error:
            code, message = error.args if len(error.args) == 2 else (None, str(error) or type(error).__name__)
            raise DatabaseError(str(message), code, _unchanged(transaction)) from error

    @asynccontextmanager
    async def _wait_for_connection(self) -> AsyncIterator[Any]:
        with metrics.Waiting() as waiting:
            async with self._pool.connection() as pooled:
                waiting.got_it()
                yield pooled


def _unchanged(transaction: Transaction | None) -> bool:
    return transaction is None or not transaction.may_last


async def _roll_back(connection: Any) -> None:
    try:
        async with asyncio.timeout(ROLLBACK_TIMEOUT):
            await connection.rollback()
    except BaseException as error:
        connection.close()
        if not isinstance(error, Exception):
            raise
