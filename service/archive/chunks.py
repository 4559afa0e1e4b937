"""Change leads in tables without rollback: each write locks such a table as a whole, and the dialler waits for it.

So a statement changes a few leads at a time. And vicidial_list is not locked while the archive's indexes are written: a
temporary table without these indexes takes new leads first, where the account may create one. There is no transaction to keep:
the order insert, update, delete protects each lead, and the DELETE compares the copy with the lead as it is then.

Only INSERT IGNORE may read from the temporary table, since it overwrites nothing. If UPDATE did, it could replace the latest
data of a lead that another batch has archived in the meantime by older data.

INSERT reads vicidial_list itself if a trigger of the archive may use other tables. Then MariaDB refuses a trigger that changes
vicidial_list (error 1442). Otherwise the trigger could delete a lead that was changed after the temporary table was filled.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

import structlog

from service.archive.batch import MayChange
from service.archive.failures import BeginAgainError, Failures
from service.archive.lead_ids import LeadIDs
from service.archive.pace import Turn
from service.archive.row_changes import LONGEST_WAIT, Changes, Options
from service.database.pauses import Pauses
from service.database.pool import ATTEMPTS
from service.database.statements import Statement, Statements
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK, LOCK_WAIT_TIMEOUT
from service.observability import metrics
from service.tables.chunk_table import ChunkTable
from service.tables.definitions import TablePair
from service.tables.privileges import LISTS

LONGEST_PAUSE = 0.25
"""Seconds before a chunk in whose way the lock of a row was is tried again."""

LONGEST_KEPT = 0.25
"""Seconds after which a chunk lets go of the tables if only one of them has row locks. Each of its statements may wait for the
other one, for a second, and behind an ALTER TABLE that waits for the chunk, the dialler waits."""

T = TypeVar("T")

logger = structlog.get_logger()


@dataclass(frozen=True)
class Sizes:
    """How many leads a statement changes at most."""

    chunk: int
    """Between two looks at the tables. Also INSERT from the temporary table."""
    joined: int
    """INSERT and UPDATE from the source: both tables are locked while they run."""
    delete: int


GENTLE = Sizes(chunk=250, joined=25, delete=50)
FULL = Sizes(chunk=500, joined=100, delete=125)


@dataclass(frozen=True)
class Plan:
    """What is to be done with a chunk."""

    pair: TablePair
    steps: Mapping[Statement, LeadIDs]


class Chunks:
    """The chunks of one batch. They use one temporary table."""

    def __init__(
        self,
        statements: Statements,
        changes: Changes,
        transaction: Transaction,
        turn: Turn,
        may_change: MayChange,
        *,
        was_blocked: bool,
    ) -> None:
        """may_change: as Mover.process(). was_blocked: whether a lock was in the way of an earlier attempt."""
        self._statements = statements
        self._changes = changes
        self.transaction = transaction
        self.turn = turn
        self._may_change = may_change
        self._sizes = GENTLE if turn.gentle else FULL
        self._table: ChunkTable | None = None
        self._changed: dict[Statement, set[int]] = defaultdict(set)
        """The leads that each statement has changed for good."""
        self._unsure: dict[Statement, list[tuple[LeadIDs, int]]] = defaultdict(list)
        """Leads of which each statement has changed some for good, and how many."""
        self._failures = Failures()
        self._was_blocked = was_blocked
        self._said_so = False
        """Whether the log has a line about a lock in the way of this batch."""
        self._locks_tables = False
        """Whether nothing but whole tables can be locked."""
        self._refused = False
        """Whether there is no temporary table for this batch: the server did not create it, or INSERT may not read from it."""

    @property
    def deleted(self) -> LeadIDs:
        """The leads that were deleted for good, whether others have brought some back or not."""
        return LeadIDs(self._changed[self._statements.delete_leads])

    @property
    def counts(self) -> dict[Statement, int]:
        """The number of leads that each statement has changed for good. While a chunk waits, others may change a lead that it
        has copied, or delete the copy. The lead is copied once more then, and counts only once."""
        sql = self._statements
        inserted = self._changed[sql.insert_leads]
        copied = inserted | self._changed[sql.update_leads]
        return {
            sql.insert_leads: len(inserted) + self._others(sql.insert_leads, inserted),
            sql.update_leads: len(copied) - len(inserted) + self._others(sql.update_leads, copied),
            sql.delete_leads: len(self.deleted),
        }

    def _others(self, statement: Statement, counted: set[int]) -> int:
        """Return how many more leads a statement has changed at least: it may be those that are counted, and a chunk that
        begins again may change those of the time before."""
        more = 0
        seen: set[int] = set()
        for leads, number in sorted(self._unsure[statement], key=lambda some: some[1], reverse=True):
            if seen.isdisjoint(leads):
                more += max(0, number - len(counted.intersection(leads)))
                seen.update(leads)
        return more

    def of(self, leads: LeadIDs) -> list[LeadIDs]:
        """Return the leads in chunks. The tables are looked at before each of them."""
        return leads.parts(self._sizes.chunk)

    async def change(
        self, plan: Callable[[], Awaitable[Plan]], look_again: Callable[[], Awaitable[TablePair]], *, is_last: bool
    ) -> None:
        """Change a chunk and commit it, however often a lock is in the way, and in spite of some deadlocks: a batch that has
        read both tables and somebody who wants to lock them, such as OPTIMIZE TABLE, wait for each other. What was changed is
        in `counts` and `deleted`.

        plan: looks at the tables. look_again: reads their definitions again after a COMMIT. is_last: whether no chunk of the
        batch follows. Raises DatabaseError for a lock if nothing was changed yet, so that the whole transaction can be run
        again, if only one of the tables has row locks and somebody keeps a row locked, and after ATTEMPTS deadlocks.
        """
        pauses, deadlocks = Pauses(LONGEST_PAUSE), 0
        self._failures.start_chunk()
        while not await self._try(plan, look_again, is_last=is_last):
            error = self._failures.blocked
            assert error
            if isinstance(error, BeginAgainError):
                pauses, deadlocks = Pauses(LONGEST_PAUSE), 0  # it gets on: without the leads that it has found
                continue
            deadlocks += error.code == DEADLOCK
            is_over = not self._locks_tables and pauses.seconds > self.turn.seconds / 3
            if is_over or deadlocks >= ATTEMPTS or not self.transaction.changes_may_persist:
                error.outcome_known = not self.transaction.changes_may_persist
                raise error
            self._was_blocked = True
            metrics.RETRIES.labels(error.code).inc()
            if pauses.seconds > LONGEST_WAIT and not self._said_so:
                self._said_so = True
                logger.warning("batch does not get on", error=str(error), code=error.code)
            await pauses.pause()

    async def _try(
        self, plan: Callable[[], Awaitable[Plan]], look_again: Callable[[], Awaitable[TablePair]], *, is_last: bool
    ) -> bool:
        """As change(). Return False if a lock was in the way. Nothing is held any more then."""
        self._failures.start_attempt()
        async with AsyncExitStack() as stack:
            # One batch looks while another one writes; but only one waits for a table.
            if self._was_blocked:
                await self._may_write(stack)
            planned = await self._unless_blocked(plan())
            if planned and not self._was_blocked and not await self._may_write(stack):
                planned = await self._unless_blocked(plan())
            if planned:
                self._refuse_other_engines(planned.pair)
                await self._refuse_if_unchanged()
                self._locks_tables = planned.pair.same_rollback
                self.transaction.keeps_changes = not (planned.pair.source.transactional or planned.pair.target.transactional)
                self.transaction.send_first(self._statements.forget_changed.fill())
                await self._change(planned, look_again, is_last=is_last)
                if not self._failures.blocked:
                    await self._commit(planned.pair)
        if self._failures.blocked:
            if planned:
                self._note_changed(planned.pair, was_rolled_back=True)
            await self.end()  # what the temporary table holds may be out of date next time
        await self.transaction.let_go()  # the question what was done has opened the tables again
        return not self._failures.blocked

    async def _refuse_if_unchanged(self) -> None:
        """Raise what may_change raises: the batch may have waited. Not if it has changed anything."""
        if not self.transaction.changes_may_persist:
            await self._may_change()

    async def _may_write(self, stack: AsyncExitStack) -> bool:
        """Wait until no other batch writes. Return False if that took so long that the batch has let go of everything: the one
        that writes may be waiting for whoever waits for this one, such as an ALTER TABLE."""
        has_changed = self.transaction.changes_may_persist
        try:
            async with asyncio.timeout(LONGEST_WAIT if self.transaction.has_begun else None):
                await stack.enter_async_context(self.turn.writing(has_changed=has_changed))
        except TimeoutError:
            await self.transaction.let_go()
            await stack.enter_async_context(self.turn.writing(has_changed=has_changed))
            return False
        return True

    async def _change(self, plan: Plan, look_again: Callable[[], Awaitable[TablePair]], *, is_last: bool) -> None:
        """Run the statements."""
        sql = self._statements
        # Not before: while the batch waits for others, a program may erase a lead from both tables.
        new = plan.steps[sql.insert_leads]
        source = await self._unless_blocked(self._stage(plan.pair, new)) if new else None
        if self._failures.blocked:
            return
        most = {
            sql.insert_leads: self._sizes.chunk if source else self._sizes.joined,
            sql.insert_whole_leads: self._sizes.joined,
            sql.update_leads: self._sizes.joined,
            sql.delete_leads: self._sizes.delete,
        }
        options = Options(
            source or {},
            failures=self._failures,
            most=most,
            look_again=look_again,
        )
        if self.turn.gentle or not plan.pair.same_rollback or locks_lists(plan.pair):
            await self._change_one_by_one(plan, look_again, options, is_last=is_last)
        else:
            # In one round trip. The tables are free between two statements.
            self._failures.more_to_come = not is_last
            await self._run(plan.pair, plan.steps, options)

    async def _change_one_by_one(
        self, plan: Plan, look_again: Callable[[], Awaitable[TablePair]], options: Options, *, is_last: bool
    ) -> None:
        """As _change(), with a rest after each statement."""
        pair: TablePair | None = plan.pair
        has_changed = False
        for statement, leads in plan.steps.items():
            if self._failures.blocked:
                return
            if statement == self._statements.delete_leads and leads and has_changed and not plan.pair.same_rollback:
                # The copies must be permanent before the DELETE if only one of the tables can roll back.
                await self._commit(plan.pair)
                pair = None if self._failures.blocked else await self._unless_blocked(look_again())
                if pair:
                    self._refuse_other_engines(pair)
                    await self._refuse_if_unchanged()
            parts = leads.parts(options.most[statement])
            for number, part in enumerate(parts, start=1):
                if has_changed and pair:
                    pair = await self._rest(pair, look_again)
                if self._failures.blocked or not pair:
                    return
                self._failures.more_to_come = not is_last or number < len(parts)
                await self._run(pair, {statement: part}, options)
                has_changed = True

    async def _rest(self, pair: TablePair, look_again: Callable[[], Awaitable[TablePair]]) -> TablePair | None:
        """Rest in the middle of a chunk, if no row is locked. The transaction keeps the definitions as they are. If it has
        done so for long, because its statements had to wait, whoever wants the tables gets them before the rest. Return the
        pair, None if the chunk must be begun again."""
        if self.transaction.seconds < (LONGEST_WAIT if pair.same_rollback else LONGEST_KEPT) and not locks_lists(pair):
            if pair.same_rollback:
                await self.turn.rest()
            return pair
        await self._commit(pair)
        if not self._failures.blocked:
            await self.transaction.let_go()
        await self.turn.rest()
        now = None if self._failures.blocked else await self._unless_blocked(look_again())
        if now and now != pair:
            await self._let_go(DatabaseError("a table was altered meanwhile", LOCK_WAIT_TIMEOUT))
        await self._refuse_if_unchanged()
        return now

    def _refuse_other_engines(self, pair: TablePair) -> None:
        """Raise DatabaseError if somebody has given the tables engines with row locks since the batch began: what is a batch
        of chunks on tables without them is one transaction then."""
        if pair.one_transaction:
            unchanged = not self.transaction.changes_may_persist
            raise DatabaseError("the engine of a table was changed meanwhile", outcome_known=unchanged, retry=True)

    async def _unless_blocked(self, work: Awaitable[T]) -> T | None:
        """Return what `work` returns. If a lock is in the way, let go of everything, take note of it and return None."""
        try:
            return await work
        except DatabaseError as error:
            if error.code not in BLOCKED:
                raise
            await self._let_go(error)
            return None

    async def _let_go(self, error: DatabaseError) -> None:
        await self.transaction.let_go()
        self._failures.blocked = error

    async def _run(self, pair: TablePair, steps: Mapping[Statement, LeadIDs], options: Options) -> None:
        await self._unless_blocked(self._changes.run(self.transaction, pair, steps, options=options))

    async def _commit(self, pair: TablePair) -> None:
        """Commit. A deadlock at this moment has rolled back what was not permanent yet."""
        persisted_already = self.transaction.changes_may_persist
        try:
            await self.transaction.commit()
        except DatabaseError as error:
            if error.code != DEADLOCK:
                raise
            await self._let_go(error)
            return
        if not (any(self._failures.done.values()) or any(self._failures.unsure.values())):
            self.transaction.changes_may_persist = persisted_already  # the statements had nothing to change
        self._note_changed(pair)

    def _note_changed(self, pair: TablePair, *, was_rolled_back: bool = False) -> None:
        """Take note of the leads that each statement has changed for good. was_rolled_back: what was not permanent yet."""
        for statement, leads in self._failures.done.items():
            if not (was_rolled_back and self._changes.written(pair, statement).transactional):
                self._changed[statement].update(leads)
                self._unsure[statement] += self._failures.unsure.pop(statement, [])

    async def end(self) -> None:
        """Drop the temporary table."""
        if self._table:
            await self.transaction.drop_temporary_table(self._statements.drop_staged.fill(self._table.values))
            self._table = None

    async def _stage(self, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
        """Copy leads into the temporary table. Return the placeholders with which INSERT reads them from there, None if there
        is no such table or INSERT may not read from it."""
        table = pair.chunk_table
        if table is None or self._refused:
            return None
        if table != self._table:
            try:
                await self.transaction.create_temporary_table(self._statements.stage_table.fill(table.values))
            except DatabaseError as error:
                if not error.from_server or error.is_transient:
                    raise
                self._refused = True  # the account may not, or the server cannot
                return None
            self._table = table
        if await self._opens_other_tables(pair, table):
            self._refused = True
            return None
        values = {**table.values, "source": pair.values["source"], "lead_ids": leads.sql}
        await self.transaction.execute(self._statements.stage_leads.fill(values))
        return table.as_source

    async def _opens_other_tables(self, pair: TablePair, table: ChunkTable) -> bool:
        """Return whether INSERT opens other tables of the site than the target, since a trigger may use them.

        The answer holds until the transaction ends: it has read the target, so CREATE TRIGGER waits for it, and so does
        whoever replaces a function or a view that a trigger uses.
        """
        count = self._statements.count_opened_tables.fill()
        no_leads = {**pair.values, **table.as_source, "lead_ids": "NULL", "matches": "TRUE"}
        insert = self._statements.insert_leads.fill(no_leads)
        ((before,),), _, ((after,),) = await self.transaction.select_each(count, insert, count)
        return bool(after - before != 1)


def locks_lists(pair: TablePair) -> bool:
    """Return whether a statement may lock rows of vicidial_lists, which has row locks if it is InnoDB. The next statement must
    not wait for a table meanwhile: another service may have locked it, and wait for the same rows, behind the dialler."""
    return LISTS in pair.matches
