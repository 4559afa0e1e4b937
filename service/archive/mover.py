"""The rules of archiving and dearchiving: what happens to a batch of leads, in which order, and which leads stay where they
are.

No lead is ever lost: only sql/delete_leads.sql removes a lead from a table, and this statement itself compares every column
with the copy in the other table. (sql/delete_damaged_copies.sql removes copies that the same batch has just made.) Everything
else in this module is order and bookkeeping.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from service.archive.batch import Batch, BeforeChange, MayChange, Result, always
from service.archive.chunks import Chunks, Plan
from service.archive.failures import BeginAgainError, Failures
from service.archive.kept_copies import KeptCopies
from service.archive.lead_ids import NONE, LeadIDs
from service.archive.look import Looker, Seen
from service.archive.pace import Pace, Turn
from service.archive.row_changes import Changes, Options
from service.archive.scope import refuse_unsafe_lists, visible_leads
from service.archive.whole_copies import WholeCopies
from service.database.pool import Database
from service.database.statements import Statement, Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError, ListsChangedError, UnknownLeadsError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT
from service.tables.definitions import TablePair
from service.tables.table_reader import TableReader

GENTLE_PART = 125
"""Leads that a statement of one transaction changes at most while the pace is gentle."""

LARGEST_DELETE = 1000
"""Leads that a DELETE of one transaction deletes at most. While it runs, it locks the tables of leads in use that have no row
locks, such as a hopper of MEMORY."""

HURRIED = 0.5
"""Seconds within which a database that is well may not be able to process a batch."""

LONGEST_LOCKED = 0.25
"""Seconds after which a batch rests no more before its transaction ends: its leads are locked, and a customer may call."""


NEW = 0.05
"""Seconds for which an answer counts as new."""

logger = structlog.get_logger()


class Mover:
    """Moves leads from a source table to a target table: into the archive, or back."""

    def __init__(self, database: Database, statements: Statements, tables: TableReader, pace: Pace) -> None:
        """pace: the same for all movers, since their batches take turns."""
        self._database = database
        self._pace = pace
        self._statements = statements
        self._tables = tables
        self._looker = Looker(statements, tables, pace)
        self._changes = WholeCopies(statements) if tables.whole_only else Changes(statements)
        self._kept_copies = KeptCopies(statements, self._changes)

    async def process(
        self, batch: Batch, seconds: float, before_change: BeforeChange, may_change: MayChange = always
    ) -> Result:
        """Process a batch in one transaction. Retry the whole transaction on transient errors, such as deadlocks.

        seconds: the time limit for all attempts together. before_change: awaited in each attempt before it changes anything,
        with the leads that it is going to delete; an exception that it raises ends the batch. may_change: the same, but it is
        also awaited after each wait for another batch, as long as nothing was changed, and at the end of a batch that is one
        transaction, before its COMMIT.

        Raises UnknownLeadsError for ids that are in neither table or that the caller may not see, NotReadyError if leads
        cannot be moved safely, DatabaseError for an error of the database, and CallerGoneError if the caller goes away before
        the turn of the batch comes. In each case, no lead is lost and the batch can be repeated.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        was_blocked = False
        lists_changed = 0
        failures = Failures()

        def on_error(error: DatabaseError) -> None:
            nonlocal was_blocked, lists_changed
            was_blocked = was_blocked or error.code == LOCK_WAIT_TIMEOUT
            lists_changed += isinstance(error, ListsChangedError)
            self._tables.invalidate_on(error)

        async def move(transaction: Transaction) -> Result:
            while True:
                failures.start_attempt()
                try:
                    return await self._move(
                        transaction,
                        batch,
                        before_change,
                        may_change,
                        turn,
                        failures=failures,
                        was_blocked=was_blocked,
                        # Perhaps a trigger changes the list, because of what the batch itself writes, each time.
                        locks_lists=lists_changed > 1,
                    )
                except BeginAgainError:
                    await transaction.let_go()

        try:
            async with self._pace.turn(batch.caller, seconds) as turn:
                return await self._database.attempt(
                    move,
                    deadline - asyncio.get_running_loop().time(),
                    on_error,
                    # Somebody may keep a lead locked for long. Batches of other leads need not wait for that.
                    after_lock_wait=turn.pass_on,
                )
        except DatabaseError as error:
            error.is_hurried = error.code is None and seconds < HURRIED
            raise

    async def _move(
        self,
        transaction: Transaction,
        batch: Batch,
        before_change: BeforeChange,
        may_change: MayChange,
        turn: Turn,
        *,
        failures: Failures,
        was_blocked: bool,
        locks_lists: bool,
    ) -> Result:
        """Insert, update and delete, always in this order. The caller commits.

        failures: of a batch that is one transaction, and of its attempts before. was_blocked: as Chunks. locks_lists: as
        Looker.look(). Raises BeginAgainError as Changes.run().
        """
        asked = LeadIDs(batch.lead_ids)
        transaction.set_limits(self._statements.wait_briefly.fill())
        # Before anything is locked: a caller neither locks a lead that it may not see, nor waits for it.
        if batch.is_limited:
            refuse_unsafe_lists(await self._tables.read(transaction), batch.list_ids)
        await self._refuse_invisible(transaction, asked, batch)
        seen = await self._looker.look(transaction, asked, batch, locks_lists=locks_lists)
        # Again: before it was locked, a lead may have been moved to a list that the caller may not see.
        await self._refuse_invisible(transaction, asked, batch)
        missing = asked.difference(seen.leads, seen.copies)
        if unknown := await self._looker.unknown(transaction, missing):
            raise UnknownLeadsError(batch.lead_ids, unknown)
        if missing:
            raise DatabaseError("leads were moved between the looks at the two tables", retry=True)

        turn.look(agents=seen.agents, table_locks=not seen.pair.one_transaction)
        leads = self._movable(seen, batch)
        leaving = leads if batch.delete_leads else NONE
        sql = self._statements
        if seen.pair.one_transaction:
            steps = await self._steps(transaction, seen, leads, batch)
            lists = await self._looker.lists_of(transaction, seen, leads)
            await may_change()
            await before_change(list(leaving))
            options = Options(
                failures=failures,
                most={sql.delete_leads: LARGEST_DELETE},
                archived=seen.copies.difference(seen.leads),
                on_cluster=seen.on_cluster,
            )
            counts = await self._change_in_one_transaction(transaction, turn, seen.pair, steps, options)
            if failures.at_the_end:
                raise failures.at_the_end
            if self._tables.whole_only and seen.pair.acting_keys:
                new, inserted = steps[sql.insert_leads], counts[sql.insert_leads]
                await self._refuse_damaged(transaction, seen.pair, new, inserted, failures)
            remaining = await self._remaining(transaction, seen, batch, counts)
            left, gone = steps[sql.delete_leads].difference(remaining), NONE
            await until_both_are_new(
                lambda: self._looker.refuse_changes(transaction, batch, seen, left, lists),
                may_change,  # the statements of the batch may have waited, and its audit record
            )
        else:
            await may_change()
            await before_change(list(leaving))
            chunks = Chunks(sql, self._changes, transaction, turn, may_change, was_blocked=was_blocked)
            seen = await self._change_in_chunks(chunks, seen, leads, batch)
            counts, left = chunks.counts, chunks.deleted
            with transaction.insisting():  # it cannot be run again as a whole
                # What somebody has brought back meanwhile does not remain from this batch.
                remaining = (await self._remaining(transaction, seen, batch, counts)).difference(left)
                gone = await self._looker.gone(transaction, batch, seen, remaining, left)
        return Result(
            select_count=len(seen.leads),
            insert_count=counts[sql.insert_leads],
            update_count=counts[sql.update_leads],
            delete_count=counts[sql.delete_leads],
            remaining_lead_ids=list(remaining),
            reused_lead_ids=list(seen.reused),
            unmatched_lead_ids=list(seen.unmatched),
            deleted_lead_ids=list(left),
            gone_lead_ids=list(gone),
            pace="gentle" if turn.gentle else "full",
        )

    async def _refuse_invisible(self, transaction: Transaction, asked: LeadIDs, batch: Batch) -> None:
        """Raise UnknownLeadsError for ids that the caller may not see, whether they exist or not."""
        visible = await visible_leads(transaction, self._statements, asked, batch.list_ids)
        if invisible := asked.difference(visible):
            raise UnknownLeadsError(batch.lead_ids, invisible)

    @staticmethod
    def _movable(seen: Seen, batch: Batch) -> LeadIDs:
        """Return the leads of the source that may be changed.

        A lead in use that is to be deleted is not even copied: the copy would be out of date when it is no longer in use.
        """
        return seen.leads.difference(seen.reused, seen.unmatched, *([seen.in_use] if batch.delete_leads else []))

    async def _steps(self, transaction: Transaction, seen: Seen, leads: LeadIDs, batch: Batch) -> dict[Statement, LeadIDs]:
        """Return the statements of a batch in their order, each with its leads."""
        sql = self._statements
        new = leads.difference(seen.copies) if batch.insert_leads else NONE
        if new and self._tables.whole_only and seen.pair.differences:
            new = await self._whole(transaction, seen.pair, new)
        # A lead that is not in the target yet is copied by the INSERT: the UPDATE has nothing to do for it.
        old = leads.intersection(seen.copies) if batch.update_leads else NONE
        if old and not seen.pair.one_transaction:
            old = await self._changes.select(transaction, sql.select_different_leads, seen.pair, old)
        return {sql.insert_leads: new, sql.update_leads: old, sql.delete_leads: leads if batch.delete_leads else NONE}

    async def _remaining(self, transaction: Transaction, seen: Seen, batch: Batch, counts: Mapping[Statement, int]) -> LeadIDs:
        """Return the leads of a batch to delete that are still in the source."""
        if not batch.delete_leads or counts[self._statements.delete_leads] == len(seen.leads):
            return NONE
        return await self._changes.find(transaction, seen.pair.source.name, seen.leads)

    async def _change_in_one_transaction(
        self,
        transaction: Transaction,
        turn: Turn,
        pair: TablePair,
        steps: dict[Statement, LeadIDs],
        options: Options,
    ) -> Mapping[Statement, int]:
        """Run the statements of a batch. On a cluster, reduce the leads to delete to those whose copy could be protected.

        Gently: for a few leads at a time, with rests in between, since the dialler waits for a processor while a long
        statement runs. All leads of the batch are locked during these rests.
        """
        last_rest = asyncio.get_running_loop().time() + LONGEST_LOCKED
        turn.begin_work()

        async def change(some: Mapping[Statement, LeadIDs]) -> Mapping[Statement, int]:
            if turn.gentle:
                return await self._change_gently(transaction, turn, pair, some, options, last_rest=last_rest)
            return await self._kept_copies.run(transaction, pair, some, options)

        delete = self._statements.delete_leads
        if not (options.on_cluster and steps[delete]):
            return await change(steps)
        counts = Counter(await change({statement: leads for statement, leads in steps.items() if statement != delete}))
        new = steps[self._statements.insert_leads]
        own = new if counts[self._statements.insert_leads] == len(new) else NONE
        steps[delete] = await self._claim(transaction, pair, steps[delete], own, options)
        counts.update(await change({delete: steps[delete]}))
        return counts

    async def _change_gently(
        self,
        transaction: Transaction,
        turn: Turn,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        options: Options,
        *,
        last_rest: float,
    ) -> Mapping[Statement, int]:
        """Run statements of a batch for a few leads at a time. last_rest: when it rests no more, by the clock of the event
        loop."""
        clock = asyncio.get_running_loop().time
        counts: Counter[Statement] = Counter()
        for statement, leads in steps.items():
            parts = leads.parts(GENTLE_PART)
            for number, part in enumerate(parts, start=1):
                if counts and clock() < last_rest:
                    await turn.rest(last_rest)
                options.failures.more_to_come = number < len(parts)
                counts.update(await self._kept_copies.run(transaction, pair, {statement: part}, options))
        return counts

    async def _change_in_chunks(self, chunks: Chunks, first: Seen, leads: LeadIDs, batch: Batch) -> Seen:
        """Change a few leads at a time, and commit them, with a rest after each time. Only leads that both the batch and its
        chunk have found movable are changed. Return the first look, with the unmatched and reused leads of the last look at
        each chunk.

        first: the look at the whole batch.
        """
        transaction, turn = chunks.transaction, chunks.turn
        looks = [first]
        # The last look at each chunk. Before that, a lock may have been in the way, and a lead may not have matched.
        last: dict[int, Seen] = {}
        parts = chunks.of(leads)
        for number, part in enumerate(parts, start=1):

            async def plan(number: int = number, part: LeadIDs = part) -> Plan:
                seen = looks.pop() if looks and transaction.knows_tables else await self._looker.look(transaction, part, batch)
                turn.look(agents=seen.agents, table_locks=True)
                last[number] = seen
                # A lead that an earlier attempt has deleted, and that is there again, was brought back by somebody.
                movable = part.intersection(self._movable(seen, batch)).difference(chunks.deleted)
                steps = await self._steps(transaction, seen, movable, batch)
                return Plan(seen.pair, steps)

            async def look_again(part: LeadIDs = part) -> TablePair:
                return (await self._looker.look(transaction, part, batch)).pair

            if number > 1:
                await turn.rest()
            await chunks.change(plan, look_again, is_last=number == len(parts))
        await chunks.end()
        seen = [first, *last.values()]
        unmatched = LeadIDs({lead_id for look in seen for lead_id in look.unmatched})
        reused = LeadIDs({lead_id for look in seen for lead_id in look.reused})
        # What somebody has brought back since is another lead.
        return replace(first, unmatched=unmatched.difference(chunks.deleted), reused=reused.difference(chunks.deleted))

    async def _claim(
        self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs, own: LeadIDs, options: Options
    ) -> LeadIDs:
        """On a Galera cluster, protect copies that the DELETE relies on, and that others have written, from changes by other
        nodes. own: those whose copies this batch has inserted.

        Return the leads whose copy could be protected: a trigger may refuse the write that protects it, or change the copy.
        Raises BeginAgainError if a copy was changed.
        """
        sql = self._statements
        failures = options.failures
        others = lead_ids.difference(own)
        equal = await self._changes.select(transaction, sql.select_equal_leads, pair, others) if others else NONE
        touched = equal.difference(failures.left_alone(sql.touch_leads, sql.restore_leads))
        await self._changes.run(transaction, pair, {sql.touch_leads: touched, sql.restore_leads: touched}, options=options)
        if touched:
            restored = await self._changes.select(transaction, sql.select_equal_leads, pair, touched)
            if changed := touched.difference(restored):  # by a trigger, which may also have refused to restore it
                failures.leave_out(sql.restore_leads, changed)
                raise BeginAgainError("copies that were touched cannot be restored", retry=True)
        return lead_ids.difference(failures.left_alone(sql.touch_leads, sql.restore_leads))

    async def _refuse_damaged(
        self, transaction: Transaction, pair: TablePair, new: LeadIDs, inserted: int, failures: Failures
    ) -> None:
        """Raise BeginAgainError if a foreign key has changed or deleted copies after they were inserted, since a trigger has
        changed what they refer to. They are not inserted then. If a lead is deleted, KeptCopies looks after its copy.

        new: the leads to insert. inserted: how many of them were.
        """
        insert = self._statements.insert_whole_leads
        there = await self._changes.find(transaction, pair.source.name, new) if inserted else NONE
        if not there:
            return
        equal = await self._changes.select(transaction, self._statements.select_equal_leads, pair, there)
        damaged = there.difference(equal, failures.left_alone(insert))
        if damaged and inserted > len(new) - len(there) + len(equal):
            logger.warning("damaged copies undone", lead_ids=list(damaged))
            failures.leave_out(insert, damaged)
            raise BeginAgainError("a foreign key has changed copies", retry=True)

    async def _whole(self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that the target can store without changing a value."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        await transaction.create_temporary_table(self._statements.stage_table.fill(values))
        await transaction.execute(self._statements.stage_leads.fill(values))
        whole = await self._changes.select(transaction, self._statements.select_whole_leads, pair, lead_ids)
        await transaction.execute(self._statements.drop_staged.fill(values))
        return whole


async def until_both_are_new(look: Callable[[], Awaitable[None]], may_change: MayChange) -> None:
    """Wait for both, one after the other. Each of them may wait, for a table or for a file. If the second one has waited, what
    the first one has found is out of date."""
    clock = asyncio.get_running_loop().time
    since = -math.inf
    while clock() - since > NEW:
        await look()
        since = clock()
        await may_change()
