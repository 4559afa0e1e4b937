"""Find out whether leads can be archived and dearchived, what prevents it, and what an administrator should know: for /readyz
and check."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import structlog

from service.archive.admin_log import AdminLog
from service.archive.refusals import LOCKED, Refusals, waited
from service.archive.scope import unsafe_lists
from service.database.pool import Database
from service.database.sessions import StaleSessionError
from service.database.statements import Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError, MendableError, NotReadyError, Problem
from service.mariadb_errors import LOCK_WAIT_TIMEOUT
from service.observability.audit_log import Audit
from service.tables.definitions import ARCHIVE, LEADS, TablePair
from service.tables.list_table import read_list_columns
from service.tables.preconditions.server import server_problem
from service.tables.preconditions.tables import largest_lead_id
from service.tables.privileges import LISTS
from service.tables.table_reader import TableReader

MAX_AGE = 1.0
"""Seconds for which an answer is kept."""

SESSION_AGE = 10.0
"""Seconds for which a session is used again. It keeps the variables and the privileges that were in force when it began,
so it does not show what has been changed since and keeps batches in newer sessions from being processed."""

TRY = 2.0
"""Seconds to find out whether a table is locked. The statements wait for a second at most, so a server that takes longer does
not answer."""

AFTER_THE_LOOK = 0.8
"""Seconds for everything after a look that took all of its time."""

logger = structlog.get_logger()

OPERATIONS = ("archive", "dearchive")

OLD_KEYS = Problem(
    "API_KEYS_FILE could not be read, or its content is invalid: the old keys stay valid, also those that were revoked since; "
    "the log says why"
)
"""The note if KeysFile.are_old. Anybody may request /readyz, so it names no path."""


NO_ROOM = Problem(
    "the server has no room for a new connection: this service goes on with those that it has, which do not know what was "
    "changed since they began. The log has the error"
)


@dataclass(frozen=True)
class Obstacle(Problem):
    """A problem, and the operations that it prevents."""

    operations: tuple[str, ...] = OPERATIONS


LOCKED_OBSTACLE = Obstacle(LOCKED.message)


@dataclass(frozen=True)
class State:
    """What the last look at the database found."""

    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[Problem, ...] = ()
    """Problems that prevent nothing."""
    skipped_tables: tuple[str, ...] = ()
    pair: TablePair | None = None
    """The two tables, if the look has found no obstacle."""


class ObstaclesError(MendableError):
    """Carries a State with obstacles out of a transaction."""

    def __init__(self, state: State) -> None:
        super().__init__(*(obstacle.message for obstacle in state.obstacles))
        self.state = state


class Readiness:
    """Reads both tables in both directions, on a connection of its own, so that it never waits for a busy pool.

    The database is read at most once in MAX_AGE seconds, however many callers ask.
    """

    def __init__(
        self,
        database: Database,
        statements: Statements,
        archive_reader: TableReader,
        dearchive_reader: TableReader,
        audit: Audit,
        *,
        admin_log: AdminLog,
    ) -> None:
        """database: a pool of one connection that nobody else uses. audit: each batch must be able to write to it. admin_log:
        what keeps it from being written is a note."""
        self._audit = audit
        self._admin_log = admin_log
        self.database = database
        self._state = State()
        self._expires = 0.0
        self._session_expires = 0.0
        self._deadline = math.inf
        self._refusals = Refusals()
        self._looking = asyncio.Lock()
        self._statements = statements
        self._readers = dict(zip(OPERATIONS, (archive_reader, dearchive_reader), strict=True))

    async def state(self, seconds: float) -> State:
        """Return the state, at most MAX_AGE seconds old. seconds: the time limit for reading it from the database. If that is
        over, the reason is known AFTER_THE_LOOK seconds later."""
        async with self._looking:
            clock = asyncio.get_running_loop().time
            if clock() >= self._expires:
                if in_new_session := clock() >= self._session_expires:
                    self._session_expires = clock() + SESSION_AGE
                self._deadline = clock() + seconds + AFTER_THE_LOOK
                async with asyncio.TaskGroup() as tasks:
                    audit = tasks.create_task(self._audit.problem())
                    self._state = await self._look_or_say_why_not(seconds, in_new_session=in_new_session)
                if reason := audit.result():
                    unwritable = Obstacle(f"the audit log cannot be written: {reason}")
                    self._state = replace(self._state, obstacles=(*self._state.obstacles, unwritable))
                if self._state.obstacles or not self._state.pair:
                    self._refusals.explain()
                elif problem := await self._refusals.problem(self._stays_locked, self._state.pair):
                    self._state = replace(self._state, obstacles=(Obstacle(problem.message, problem.remedy),))
                self._expires = clock() + MAX_AGE
            return self._state

    def expire(self, refusal: DatabaseError | None = None, lead_ids: Collection[int] = (), began: float = 0.0) -> None:
        """Read the state again at the next call, in a new session, since a request was refused. refusal: the database error,
        if it was one. lead_ids, began: as Refusals.note()."""
        self._expires = self._session_expires = 0.0
        if refusal:
            self._refusals.note(refusal, lead_ids, began)

    def is_served(self, operation: str) -> None:
        """Forget what was in the way of an operation, such as a refusal by the database: another batch was processed."""
        self._refusals.forget()
        if any(operation in obstacle.operations for obstacle in self._state.obstacles):
            self.expire()

    async def _look_or_say_why_not(self, seconds: float, *, in_new_session: bool) -> State:
        try:
            return await self.look(seconds, in_new_session=in_new_session)
        except DatabaseError as error:
            logger.warning("database error", error=str(error), code=error.code, outcome_known=True)
            is_locked = await self._is_locked() if waited(error) else None
            if is_locked is not False:
                return State((LOCKED_OBSTACLE if is_locked else obstacle(error),))
        # The lock was released just when the time was over.
        try:
            return await self.look(self._seconds_left())
        except DatabaseError as error:
            return State((obstacle(error),))

    def _seconds_left(self) -> float:
        return min(TRY, max(0.0, self._deadline - asyncio.get_running_loop().time()))

    async def _is_locked(self) -> bool | None:
        """Return whether another session has locked a table that batches need, or the server. Locked leads do not count. None
        if the database does not answer."""
        sql = self._statements
        tries = {
            **dict.fromkeys((LEADS, ARCHIVE), sql.try_lock),
            **dict.fromkeys((*self._readers["archive"].in_use_tables, LISTS), sql.try_to_read),
        }
        server_answers = False
        for table, statement in tries.items():
            try:
                async with self.database.transaction(self._seconds_left()) as transaction:
                    await transaction.select(statement.fill({"table": identifier(table)}))
            except DatabaseError as error:
                if error.code == LOCK_WAIT_TIMEOUT:
                    return True
                if not error.from_server:  # the next table would wait as long
                    return True if server_answers and error.code is None else None
            server_answers = True
        return False

    async def _stays_locked(self) -> bool | None:
        """As _is_locked(). A batch that was refused may itself hold the lock for a moment."""
        is_locked = await self._is_locked()
        if is_locked and 0 < (rest := self._refusals.seconds_to_settle()) < self._seconds_left():
            await asyncio.sleep(rest)
            is_locked = await self._is_locked()
        return is_locked

    async def look(self, seconds: float, *, in_new_session: bool = False) -> State:
        """Read the whole state now. Raises DatabaseError, which obstacle() puts into words."""

        async def work(transaction: Transaction) -> State:
            state = await self.look_in(transaction)
            if state.obstacles:
                raise ObstaclesError(state)  # in a new session, they may be gone
            return state

        try:
            return await self.database.attempt(work, seconds, lambda _: None, in_new_session=in_new_session)
        except ObstaclesError as error:
            return error.state

    async def look_in(self, transaction: Transaction) -> State:
        """As look(), in a given transaction."""
        obstacles: dict[str, Obstacle] = {}
        pairs: list[TablePair] = []
        skipped: tuple[str, ...] = ()
        for operation, reader in self._readers.items():
            reader.invalidate()
            try:
                pair = await reader.read(transaction)
                pairs.append(pair)
                skipped += pair.skipped_tables
            except NotReadyError as error:
                skipped += error.skipped_tables
                for problem in error.problems:
                    known = obstacles.get(problem.message, Obstacle(problem.message, problem.remedy, ()))
                    obstacles[problem.message] = replace(known, operations=(*known.operations, operation))
        notes = [] if obstacles else [*await self._reused_note(transaction, pairs[0]), *order_note(pairs[0])]
        notes += [] if obstacles else keys_note(pairs[0])
        notes += await self._lists_note(transaction)
        notes += filter(None, [await self._admin_log.note(transaction)])
        notes += [NO_ROOM] if transaction.session.is_outdated else []
        return State(tuple(obstacles.values()), tuple(notes), skipped, None if obstacles else pairs[0])

    async def _lists_note(self, transaction: Transaction) -> list[Problem]:
        """Return a note if the account may not read vicidial_lists. A table that it cannot see at all is not reported."""
        lists = await read_list_columns(transaction, self._statements)
        unreadable = [
            column.grant for name in ("campaign_id", "active") if (column := lists.get(name)) and not column.readable
        ]
        message = f"the account may not read {LISTS}: the conditions campaign_ids and list_active cannot be used"
        return [Problem(message, unreadable[0])] if unreadable else []

    async def _reused_note(self, transaction: Transaction, pair: TablePair) -> list[Problem]:
        """Return a note if vicidial_list is about to give the lead_id of an archived lead to a new lead."""
        lead_id = next(column for name, column in pair.source.columns.items() if name.lower() == "lead_id")
        if not lead_id.auto_increment:
            return []
        values = {"table": identifier(ARCHIVE)}
        ((highest,),) = await transaction.select(self._statements.highest_lead_id.fill(values))
        following = self._readers["archive"].auto_increments[LEADS]
        if highest is None or following > highest:
            return []
        message = (
            f"the next new lead of {LEADS} gets the lead_id {following}, and the archive holds leads up to {highest}: "
            "two leads could share a lead_id"
        )
        if highest >= largest_lead_id(lead_id):
            return [Problem(message)]
        return [Problem(message, pair.source.alter(f"AUTO_INCREMENT = {highest + 1}"))]


def order_note(pair: TablePair) -> list[Problem]:
    """Return a note if the columns of the two tables are in a different order."""
    order = [copy.name for _, copy in pair.columns]
    if [name for name in pair.target.columns if name in order] == order:
        return []
    places = ["FIRST", *(f"AFTER {identifier(name)}" for name in order)]
    moves = ", ".join(
        f"MODIFY COLUMN {copy.definition} {place}" for (_, copy), place in zip(pair.columns, places, strict=False)
    )
    message = (
        f"the columns of {pair.target.name} stand in another order than those of {pair.source.name}: Vicidial's own "
        "lead_dearchive copies them by position, into the wrong columns"
    )
    return [Problem(message, pair.target.alter(moves))]


def keys_note(pair: TablePair) -> list[Problem]:
    """Return a note if no key can be limited to lists."""
    return [
        Problem(f"keys with list_ids cannot be used: {column} is {column_type}, no integer")
        for column, column_type in unsafe_lists(pair)
    ]


def obstacle(error: DatabaseError) -> Obstacle:
    """Return what everybody may know about an error. The log has the whole message."""
    if error.code == LOCK_WAIT_TIMEOUT:  # no look waits for a row
        return LOCKED_OBSTACLE
    if isinstance(error, StaleSessionError):  # each look has found something else
        return Obstacle("the tables are being altered")
    if problem := server_problem(error):
        return Obstacle(problem.message, problem.remedy)
    if error.from_server:
        return Obstacle("the database refuses; the log says why")
    return Obstacle("the database does not answer")
