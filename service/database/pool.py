"""Transactions on the connections of a pool, which are retried.

The transaction() of the databases library is not used: if the connection is lost or the task is cancelled, its rollback raises
before the connection is returned, and the pool loses a slot for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncmy
import stamina
import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from service.database.session_pool import CONNECT_TIMEOUT, SessionPool
from service.database.sessions import Session, StaleSessionError
from service.database.statements import Statements
from service.database.time_limit import time_limit
from service.database.transaction import PATIENCE, READ_WRITE, Transaction, database_error
from service.errors import DatabaseError, MendableError
from service.mariadb_errors import (
    HIDDEN_TABLES,
    LOCK_WAIT_TIMEOUT,
    NO_SUCH_TABLE,
    UNFIT_SERVER,
    UNUSABLE_SESSION,
)
from service.observability import metrics

ROLLBACK_TIMEOUT = 2
"""Seconds to wait for a rollback. After that the connection is closed, which rolls back too."""

ATTEMPTS = 10
"""Maximum number of attempts of a transaction that meets transient errors. Waits for a lock do not count."""

NO_PAUSE = 0.001
"""Seconds before another attempt if after_lock_wait has paused already."""

CONFIRM_PAUSE = 0.2
"""Seconds before another attempt finds the same, or not: a table that is being renamed or altered is missing for moments, and
what was read before and after contradicts itself."""

DOUBTFUL = {UNUSABLE_SESSION, HIDDEN_TABLES, NO_SUCH_TABLE, *UNFIT_SERVER}
"""Errors that may be gone in another session, or a moment later."""

SPOILT = {UNUSABLE_SESSION, HIDDEN_TABLES, *UNFIT_SERVER}
"""Errors after which a session is of no use, even if there is no other one."""

T = TypeVar("T")

logger = structlog.get_logger()


def _on_retry(details: RetryDetails) -> None:
    error = details.caused_by
    assert isinstance(error, DatabaseError)
    metrics.RETRIES.labels(error.code or 0).inc()
    if not (isinstance(error, StaleSessionError) and error.was_new):
        logger.warning("transaction retried", error=str(error), code=error.code or 0, retry=details.retry_num)


# Replace the hooks of the library, which log and count every function that is retried.
set_on_retry_hooks([_on_retry])


class Database:
    """A pool of connections, each set up by sql/session.sql. Connects when it is first used."""

    def __init__(
        self,
        url: str,
        statements: Statements,
        pool_size: int,
        timeout: float,
        *,
        waits: bool = True,
        tls: ssl.SSLContext | None = None,
        counted: bool = True,
    ) -> None:
        """timeout: seconds after which the server aborts a statement. waits: whether a statement waits for a lock, a third
        of that time; otherwise SELECTs are sent again for PATIENCE seconds. tls: None means that connections are not
        encrypted. counted: whether the metrics count the connections."""
        self._patience = 0.0 if waits else PATIENCE
        lock_wait = max(1, int(timeout / 3)) if waits else 0
        self._counted = counted
        self._tls = tls
        self.session = statements.session.fill(
            {"lock_wait_timeout": str(lock_wait), "max_statement_time": str(timeout)},
        )
        self._pool = SessionPool(url, statements, pool_size, self.session, tls)

    async def connect(self) -> None:
        await self._pool.connect()

    async def disconnect(self) -> None:
        """End the sessions. Wait for goodbyes, and for those that are in use."""
        await self._pool.disconnect()

    async def server_version(self, timeout: float) -> str:
        """Return the server's VERSION(). timeout: seconds. Raises DatabaseError. The connection is not set up by session.sql,
        since older servers do not know all of its variables."""
        url = self._pool.url
        try:
            async with time_limit(timeout):
                connection = await asyncmy.connect(
                    host=url.hostname,
                    port=url.port or 3306,
                    user=url.username or "",
                    password=url.password or "",
                    db=url.database,
                    unix_socket=url.options.get("unix_socket"),
                    connect_timeout=CONNECT_TIMEOUT,
                    ssl=self._tls,
                )
                try:
                    async with connection.cursor() as cursor:
                        await cursor.execute("SELECT VERSION()")
                        return str((await cursor.fetchone())[0])
                finally:
                    connection.close()
        except TimeoutError as error:
            raise DatabaseError(f"no answer within {round(timeout, 2):g} seconds") from error
        except Exception as error:
            raise database_error(error, outcome_known=True) from error

    async def attempt(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        seconds: float,
        on_error: Callable[[DatabaseError], None],
        begin: str = READ_WRITE,
        *,
        in_new_session: bool = False,
        after_lock_wait: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Run `work` in a transaction. Retry the whole transaction on transient errors, such as deadlocks.

        seconds: the time limit for all attempts together. on_error: called with each error of the database. in_new_session: as
        of transaction(). after_lock_wait: awaited if a lock was in the way of an attempt, to pause before the next one.
        Raises what `work` raises, what after_lock_wait raises, and DatabaseError.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds

        def rest() -> float:
            left = deadline - loop.time()
            if left <= 0:
                raise DatabaseError("no time was left for the database: the request has waited too long")
            return left

        doubted: StaleSessionError | None = None
        failures = 0

        def pause_after(error: Exception) -> bool | float:
            if not _can_be_retried(error) or failures >= ATTEMPTS:
                return False
            has_paused = after_lock_wait and isinstance(error, DatabaseError) and error.code == LOCK_WAIT_TIMEOUT
            return NO_PAUSE if has_paused else True

        attempts = stamina.retry_context(
            on=pause_after,
            attempts=None,
            timeout=rest(),
            wait_initial=0.01,
            wait_max=0.5,
            wait_jitter=0.05,
        )
        async for attempt in attempts:
            with attempt:
                try:
                    new = in_new_session or doubted is not None
                    async with self.transaction(rest(), begin, in_new_session=new) as transaction:
                        return await self._in_a_current_session(transaction, work, doubted)
                except DatabaseError as error:
                    on_error(error)
                    if isinstance(error, StaleSessionError):
                        doubted = error
                        await asyncio.sleep(min(CONFIRM_PAUSE, max(0, deadline - loop.time())))
                    elif doubted and error.code is None and error.outcome_known:
                        raise doubted from error  # the time is over: the tables are the reason, not the server
                    failures += error.code != LOCK_WAIT_TIMEOUT
                    if after_lock_wait and error.code == LOCK_WAIT_TIMEOUT and _can_be_retried(error):
                        await after_lock_wait()
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _in_a_current_session(
        self, transaction: Transaction, work: Callable[[Transaction], Awaitable[T]], doubted: StaleSessionError | None
    ) -> T:
        """Run `work`. Believe that an administrator must fix something only if the session is new, and if the attempt before
        has found the same.

        A session keeps the global variables and the privileges on databases that were in force when it began. And what was
        read while somebody altered the tables contradicts itself. doubted: what the attempt before raised, if that was this
        doubt.
        """
        is_new = transaction.is_in_new_session or transaction.session.is_outdated  # newer than that is none to be had
        try:
            return await work(transaction)
        except (MendableError, DatabaseError) as error:
            if isinstance(error, MendableError):
                error.outcome_known = not transaction.changes_may_persist
            if isinstance(error, DatabaseError) and not (error.is_denied or error.code in DOUBTFUL):
                raise
            transaction.session.is_outdated = True
            if isinstance(error, DatabaseError) and error.code in SPOILT:
                self._pool.sessions.end(transaction.connection)
            if transaction.changes_may_persist or (isinstance(error, DatabaseError) and error.code == HIDDEN_TABLES):
                raise
            if is_new and doubted is not None and doubted.finding == str(error):
                raise
            raise StaleSessionError(str(error), was_new=is_new) from error

    @asynccontextmanager
    async def transaction(
        self, timeout: float, begin: str = READ_WRITE, *, in_new_session: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end of the block, and rolled back if the block raises.

        timeout: seconds for everything, including the wait for a free connection. begin: READ_WRITE or READ_ONLY.
        in_new_session: end a session that was used before, instead of using it, if the server has room for a new one. Raises
        DatabaseError for any error of the database or the connection, and for the timeout.
        """
        transaction: Transaction | None = None
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with time_limit(timeout), self._wait_for_connection(in_new_session) as (connection, session):
                transaction = Transaction(connection, session, self.session, begin)
                transaction.patience, transaction.deadline = self._patience, deadline
                transaction.is_in_new_session, session.is_new = session.is_new, False
                try:
                    yield transaction
                    await transaction.commit()
                except Exception as error:
                    await _roll_back(connection)
                    if isinstance(error, DatabaseError) and error.code in UNFIT_SERVER:
                        self._pool.sessions.end(connection)
                    raise
                except BaseException:
                    # Cancelled while the server was answering: the rest of that answer must not reach the next user of the
                    # connection.
                    connection.close()
                    raise
        except TimeoutError as error:
            raise DatabaseError(f"no answer within {round(timeout, 2):g} seconds", None, _unchanged(transaction)) from error
        except OSError as error:
            raise database_error(error, _unchanged(transaction)) from error

    @asynccontextmanager
    async def _wait_for_connection(self, in_new_session: bool) -> AsyncIterator[tuple[Any, Session]]:
        with metrics.Waiting(self._counted) as waiting:
            async with self._pool.connection(in_new_session=in_new_session) as connected:
                waiting.got_it()
                yield connected


def _can_be_retried(error: Exception) -> bool:
    return isinstance(error, DatabaseError) and error.outcome_known and error.is_transient


def _unchanged(transaction: Transaction | None) -> bool:
    return transaction is None or not transaction.changes_may_persist


async def _roll_back(connection: Any) -> None:
    try:
        async with time_limit(ROLLBACK_TIMEOUT):
            await connection.rollback()
    except BaseException as error:
        connection.close()
        if not isinstance(error, Exception):
            raise
