"""A transaction: statements on one connection, and what is known about their outcome."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from asyncmy.errors import MySQLError, OperationalError

from service.database.pauses import Pauses
from service.database.results import QuietCursor, Results
from service.database.sessions import Session
from service.database.tls import explain
from service.errors import DatabaseError
from service.mariadb_errors import (
    DEADLOCK,
    HIDDEN_TABLES,
    LOCK_WAIT_TIMEOUT,
    NO_SUCH_SAVEPOINT,
    PACKET_TOO_LARGE,
    SERVER_IS_READ_ONLY,
    SUBQUERY_RETURNS_ROWS,
    UNUSABLE_SESSION,
)

DRIVER_ERRORS = (MySQLError, RuntimeError, IndexError, struct.error)
"""What the driver raises. The last three: a connection that uvloop has closed, and bytes that are not MariaDB's protocol."""

HIDES_TABLES = "the session has another database, or temporary tables that this service did not make"

LOST = "the server has rolled back the transaction and not said so: another node of the cluster has changed the same rows"

READ_WRITE = "START TRANSACTION READ WRITE"
"""READ WRITE is explicit: a read-only server refuses it before anything is changed, and tx_read_only has no effect."""

ALWAYS_FITS = 65_536
"""Characters of a text whose length is not checked before it is sent. /readyz refuses a server with a limit of that size."""

LARGEST_PACKET = "SELECT @@max_allowed_packet"

BEGUN, STILL_THE_SAME = "SAVEPOINT begun", "RELEASE SAVEPOINT begun"
"""The second one fails in another transaction than the first one."""

WARNINGS = "SHOW WARNINGS"

READ_ONLY = "START TRANSACTION READ ONLY"
"""For reading only. It works on a read-only server too."""

ROLLED_BACK = {SERVER_IS_READ_ONLY, DEADLOCK}
"""Errors with which COMMIT has rolled back. Somebody has set read_only meanwhile, which MariaDB checks before any commit; or
in a cluster, another node changed the same rows. An error such as 1317, query interrupted, is none of them: the server also
reports a KILL QUERY that came after the commit.
"""

BLOCKED = {LOCK_WAIT_TIMEOUT, DEADLOCK}
"""Errors that mean that a lock is in the way. Once the transaction has let go of everything, the same statement may work."""

PATIENCE = 0.2
"""Seconds for which a statement that does not wait for locks is run again before its transaction is. A write to a table
without row locks takes less."""


class Transaction:
    """Statements on one connection, from BEGIN to COMMIT. All methods raise DatabaseError."""

    def __init__(self, connection: Any, session: Session, variables: str, begin: str) -> None:
        """session: that of the connection. variables: sql/session.sql, filled in. begin: the statement that begins a
        transaction. Both are sent together with the first statement, which saves a round trip, and so is the check of the
        session. session.sql also resets what a trigger has set."""
        self.connection = connection
        self.session = session
        self._session_variables = variables
        self._begin = begin
        self._limits: list[str] = []
        """What limits the waits in all transactions of a batch."""
        self._next: list[str] = []
        """What is sent before the next statement, in whichever transaction it is."""
        self.keeps_changes = False
        """Whether no lead that was changed can be changed back. Then a rollback would only undo what the site's triggers have
        written to tables with rollback."""
        self._begin_again()
        self._is_checked = False
        """Whether the session was checked, and no statement has written since. Each one may run a trigger."""
        self.is_in_new_session = False
        """Whether no transaction has used the session before."""
        self._has_written = False
        self._writes = False
        self.deadline = math.inf
        """When no further statement is sent, by the clock of the event loop."""
        self.patience = 0.0
        """Seconds for which SELECTs are run again if a lock makes one fail. For sessions that do not wait for locks, and
        SELECTs that lock no row."""
        self._insists = False
        self.warnings: dict[str, list[tuple[int, str]]] = {}
        """The numbers and messages of the warnings that execute_each() was asked for, by statement. The messages contain lead
        data."""
        self.changes_may_persist = False
        """Whether a change may persist even if the transaction fails from now on: COMMIT was sent, and not answered
        with an error that means a rollback, or the statements wrote to a table without rollback."""

    def _begin_again(self) -> None:
        self.has_begun = False
        """Whether a statement was sent in this transaction."""
        self._began = 0.0
        self.knows_tables = False
        """Whether the definitions of both tables were read in this transaction. Nobody can alter the tables until it ends."""
        self._variables = [self._session_variables, *self._limits]
        """What sets the variables of the session. It is sent again after each statement that writes."""
        self._first = [self._session_variables, self._begin, BEGUN, *self._limits]

    def must_know_tables(self) -> None:
        """Raise DatabaseError unless knows_tables."""
        if not self.knows_tables:
            unchanged = not self.changes_may_persist
            raise DatabaseError("the tables may have been altered since the last look", outcome_known=unchanged, retry=True)

    @property
    def seconds(self) -> float:
        """How long nobody could alter or lock the tables, because of this transaction."""
        return asyncio.get_running_loop().time() - self._began if self.has_begun else 0.0

    def send_first(self, statement: str) -> None:
        """Send a statement together with the next one, before it, even if another transaction has begun until then: for user
        variables, which belong to the session."""
        self._next.append(statement)

    def set_limits(self, statement: str) -> None:
        """As set_variables(), for this and all further transactions."""
        if statement not in self._limits:
            self._limits.append(statement)
            self.set_variables(statement)

    def set_variables(self, statement: str) -> None:
        """Set variables of the session, from the next statement to the last one before COMMIT."""
        if statement not in self._variables:
            self._variables.append(statement)
            self._first.append(statement)

    async def commit(self) -> None:
        """Commit. The next statement begins a new transaction."""
        persisted_already = self.changes_may_persist
        try:
            if self.has_begun and self._variables != [self._session_variables]:
                await self._prepare_to_commit()
            self.changes_may_persist = persisted_already or self._writes
            await self.connection.commit()
        except DRIVER_ERRORS as error:
            if error.args and error.args[0] in ROLLED_BACK:
                self.changes_may_persist = persisted_already
            raise self._error(error) from error
        self._writes = False
        self._begin_again()

    async def _prepare_to_commit(self) -> None:
        """COMMIT waits as long as session.sql says: what makes it wait stops the commits of everybody else, too.

        On a Galera cluster, a transaction may be rolled back between two statements that were sent together, because of a
        commit on another node, and nobody is told: the second one then begins another transaction, and a COMMIT succeeds. So
        COMMIT is sent alone, and only if the transaction is still the same.
        """
        try:
            async with self.connection.cursor(QuietCursor) as cursor:
                await cursor.execute(f"{self._session_variables};\n{STILL_THE_SAME}")
                await cursor.nextset()
        except MySQLError as error:
            if error.args[:1] != (NO_SUCH_SAVEPOINT,):
                raise
            raise DatabaseError(LOST, outcome_known=not self.changes_may_persist, retry=True) from error

    async def roll_back(self) -> None:
        """Undo what can be undone, and let go of everything. The next statement begins a new transaction."""
        try:
            await self.connection.rollback()
        except DRIVER_ERRORS as error:
            raise self._error(error) from error
        self._writes = False
        self._begin_again()

    async def let_go(self) -> None:
        """End the transaction if it has begun, so that nobody waits for what it holds. What it has changed is undone, unless
        keeps_changes. The COMMIT waits as briefly as the other statements do."""
        if not self.has_begun:
            return
        if self.keeps_changes:
            with suppress(*DRIVER_ERRORS):
                await self.connection.commit()
                self._writes = False
                self._begin_again()
                return
        await self.roll_back()

    @contextmanager
    def insisting(self) -> Iterator[None]:
        """In this block, SELECTs that a lock makes fail are run again until they work. Between two attempts the transaction
        lets go of everything, so that nobody waits for what it has read: in this block it must not have changed leads that
        can be changed back."""
        insisted, self._insists = self._insists, True
        try:
            yield
        finally:
            self._insists = insisted

    async def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        (rows,) = await self.select_each(statement)
        return rows

    async def select_each(self, *statements: str, unlocked: Collection[str] = ()) -> list[list[tuple[Any, ...]]]:
        """Return the rows of several SELECTs. They are sent in one round trip and run one after the other.

        unlocked: statements before which nothing is locked. If a lock makes one of them fail, all are run again for PATIENCE
        seconds.
        """
        pauses: Pauses | None = None
        while True:
            try:
                return await self._select_each(statements)
            except DatabaseError as error:
                pauses = pauses or Pauses()
                patience = PATIENCE if error.statement in unlocked else self.patience
                waits = error.code == LOCK_WAIT_TIMEOUT and pauses.seconds < patience
                if not waits and not (self._insists and error.code in BLOCKED):
                    raise
            if self._insists:
                await self.let_go()
            await pauses.pause()

    async def _select_each(self, statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        async with self._send(statements) as results:
            rows = [await results.cursor.fetchall()]
            while await results.next():
                rows.append(await results.cursor.fetchall())
            return rows

    async def execute(self, statement: str) -> int:
        """Return how many rows an INSERT, UPDATE or DELETE changed."""
        (count,) = [count async for count in self.execute_each(statement)]
        return count

    async def execute_each(self, *statements: str, warning: Collection[str] = ()) -> AsyncIterator[int]:
        """Yield how many rows each statement changed. They are sent in one round trip. After one that fails, no further one is
        run. Between them, the variables of the session are set again, and it is checked. warning: those of them whose warnings
        are to be in `warnings`."""
        self._writes = True
        self.warnings = {}
        between = [*self._variables, self.session.check_again]
        sent: list[str] = []
        for statement in statements:
            sent += [*between, statement, *([WARNINGS] if statement in warning else [])]
        try:
            async with self._send(sent[len(between) :], unneeded=between) as results:
                self._has_written = True
                yield results.cursor.rowcount
                warned = results.statement
                while await results.next():
                    if results.statement == WARNINGS:
                        self.warnings[warned] = [(code, text) for _, code, text in await results.cursor.fetchall()]
                    else:
                        warned = results.statement
                        yield results.cursor.rowcount
        finally:
            self._has_written = True
            self._is_checked = False
            self._first += self._variables

    async def create_temporary_table(self, statement: str) -> None:
        """Run a CREATE TEMPORARY TABLE of this service's own. The server counts it even if it fails."""
        try:
            await self.execute(statement)
        finally:
            self.session.has_temporary_table()

    async def drop_temporary_table(self, statement: str) -> None:
        """Run a DROP TEMPORARY TABLE of this service's own table, which no other table can hide. The session is not checked:
        what a trigger did after the last statement of a batch does not matter to it."""
        try:
            async with self.connection.cursor(QuietCursor) as cursor:
                await cursor.execute(statement)
        except DRIVER_ERRORS as error:
            raise self._error(error) from error

    @asynccontextmanager
    async def _send(self, statements: Sequence[str], unneeded: Collection[str] = ()) -> AsyncIterator[Results]:
        """Return the results of the statements, at the first one. unneeded: those whose results nobody needs."""
        results: Results | None = None
        if asyncio.get_running_loop().time() >= self.deadline:  # also if a cancellation was lost: a loop must end
            raise TimeoutError
        try:
            async with self.connection.cursor(QuietCursor) as cursor:
                first, self._first, self._next = [*self._first, *self._next], [], []
                if not self.has_begun:
                    self.has_begun, self._began = True, asyncio.get_running_loop().time()
                if not self._is_checked:
                    first.append(self.session.check)
                results = Results(cursor, self.session, first, statements, unneeded)
                await self._refuse_long_packet(results.text)
                await results.send()
                self._is_checked = self._is_checked or results.is_checked
                yield results
        except DRIVER_ERRORS as error:
            if isinstance(error.__context__, asyncio.CancelledError):
                # A cursor that is closed may read the rest of the answer. An error in it must not hide that the time is over.
                self.connection.close()
                raise error.__context__ from None
            failure = self._error(error, at_check=results is not None and results.at_check)
            failure.statement = results.statement if results else None
            raise failure from error

    async def _refuse_long_packet(self, text: str) -> None:
        """Raise the error that the server has for a packet that is too long. The server closes the connection while the packet
        is being sent, so that its own error is often lost."""
        if len(text) < ALWAYS_FITS:
            return
        if self.session.max_packet is None:
            async with self.connection.cursor(QuietCursor) as cursor:
                await cursor.execute(f"{self._session_variables};\n{LARGEST_PACKET}")
                await cursor.nextset()
                ((self.session.max_packet,),) = await cursor.fetchall()
        if len(text.encode()) + 1 >= self.session.max_packet:
            self.connection.close()  # as the server does: this session would never learn that the limit was raised
            raise OperationalError(PACKET_TOO_LARGE, "Got a packet bigger than 'max_allowed_packet' bytes")

    def _error(self, error: Exception, *, at_check: bool = False) -> DatabaseError:
        if not isinstance(error, MySQLError):
            self.connection.close()  # nobody knows what the server says next
        if at_check and error.args[:1] == (SUBQUERY_RETURNS_ROWS,):
            code = HIDDEN_TABLES if self._has_written else UNUSABLE_SESSION
            return DatabaseError(HIDES_TABLES, code, outcome_known=not self.changes_may_persist)
        return database_error(error, outcome_known=not self.changes_may_persist, accounts=self.session.accounts)


def database_error(error: Exception, outcome_known: bool, accounts: frozenset[str] = frozenset()) -> DatabaseError:
    """Return an error of the driver or the connection as a DatabaseError. accounts: the names of the account, as user@host."""
    is_numbered = isinstance(error, MySQLError) and len(error.args) == 2
    code, message = error.args if is_numbered else (None, str(error) or type(error).__name__)
    return DatabaseError(explain(error) or str(message), code, outcome_known, accounts=accounts)
