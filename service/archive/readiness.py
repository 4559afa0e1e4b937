"""Whether leads can be archived and brought back, what keeps them from it, and what an administrator should know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from service.database.pool import Database
from service.database.statements import Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError, MendableError, NotReadyError, Problem
from service.observability.audit_log import Audit
from service.tables.definitions import ARCHIVE, LEADS, TablePair
from service.tables.preconditions.server import server_problem
from service.tables.preconditions.tables import largest_lead_id
from service.tables.table_reader import TableReader

REFUSAL_AGE = 10.0
"""Seconds for which it is told that the database refused a batch: a balancer may send none until then."""

MAX_AGE = 1.0
"""Seconds that an answer is kept."""

logger = structlog.get_logger()

OPERATIONS = ("archive", "dearchive")


@dataclass(frozen=True)
class Obstacle(Problem):
    """A problem, and the operations that it keeps from working."""

    operations: tuple[str, ...] = OPERATIONS


@dataclass(frozen=True)
class State:
    """What a look at the database showed."""

    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[Problem, ...] = ()
    """What keeps nothing from working."""
    skipped_tables: tuple[str, ...] = ()


class ObstaclesError(MendableError):
    """A state with obstacles, on its way out of a transaction."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class Readiness:
    """Looks at the two tables, both ways, on a connection of its own: batches that use all others do not keep it waiting.

    However many ask, the database is looked at once in MAX_AGE seconds.
    """

    def __init__(
        self,
        database: Database,
        statements: Statements,
        archive_reader: TableReader,
        dearchive_reader: TableReader,
        audit: Audit,
    ) -> None:
        """database: a pool of one connection, which nobody else uses. audit: where each batch must be able to write."""
        self._audit = audit
        self.database = database
        self._state = State()
        self._expires = 0.0
        self._refusal: tuple[int | None, float] | None = None
        """The error by which the database refused the last batch, and until when that is told."""
        self._looking = asyncio.Lock()
        self._statements = statements
        self._readers = dict(zip(OPERATIONS, (archive_reader, dearchive_reader), strict=True))

    async def state(self, seconds: float) -> State:
        """Return the state of a moment ago, at most MAX_AGE. seconds: for the look, after which the database does not
        answer."""
        async with self._looking:
            clock = asyncio.get_running_loop().time
            if clock() >= self._expires:
                try:
                    self._state = await self.look(seconds)
                except DatabaseError as error:
                    logger.warning("database error", error=str(error), code=error.code, outcome_known=True)
                    self._state = State((obstacle(error),))
                if reason := await self._audit.problem():
                    unwritable = Obstacle(f"the audit log cannot be written: {reason}")
                    self._state = replace(self._state, obstacles=(*self._state.obstacles, unwritable))
                if not self._state.obstacles:
                    self._state = replace(self._state, obstacles=tuple(self._refused()))
                self._expires = clock() + MAX_AGE
            return self._state

    def expire(self, refusal: DatabaseError | None = None) -> None:
        """Look anew the next time: a request was refused. refusal: by what, if it was the database."""
        self._expires = 0.0
        if refusal and refusal.from_server and not refusal.is_transient and server_problem(refusal) is None:
            self._refusal = (refusal.code, asyncio.get_running_loop().time() + REFUSAL_AGE)

    def is_served(self) -> None:
        """Forget that the database refused a batch: it has processed another."""
        self._refusal = None

    def _refused(self) -> list[Obstacle]:
        """Return that the database refused a batch lately, which no look tells. Its message may hold lead data: the log has
        it."""
        if self._refusal is None or asyncio.get_running_loop().time() >= self._refusal[1]:
            return []
        return [Obstacle(f"the database refused the last batch with error {self._refusal[0]}; the log says why")]

    async def look(self, seconds: float) -> State:
        """Return the state as it is now, all of it read anew. Raises DatabaseError for what obstacle() turns into words."""

        async def work(transaction: Transaction) -> State:
            state = await self.look_in(transaction)
            if state.obstacles:
                raise ObstaclesError(state)  # they may be mended for a session that begins now
            return state

        try:
            return await self.database.attempt(work, seconds, lambda _: None)
        except ObstaclesError as error:
            return error.state

    async def look_in(self, transaction: Transaction) -> State:
        """Return the same, given a transaction."""
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
        return State(tuple(obstacles.values()), tuple(notes), skipped)

    async def _reused_note(self, transaction: Transaction, pair: TablePair) -> list[Problem]:
        """Return a note if vicidial_list is about to give a new lead the lead_id of an archived one."""
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
    """Return a note if the columns of the two tables stand in another order."""
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


def obstacle(error: DatabaseError) -> Obstacle:
    """Return what may be said of an error to anybody who asks; the log has all of it."""
    if problem := server_problem(error):
        return Obstacle(problem.message, problem.remedy)
    if error.from_server:
        return Obstacle("the database refuses; the log says why")
    return Obstacle("the database does not answer")
