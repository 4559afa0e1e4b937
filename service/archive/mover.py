"""The rules of archiving and dearchiving: what happens to a batch of leads, in which order, and which leads stay where they
are.

No lead is ever lost: only sql/delete_leads.sql removes a lead from a table, and this statement itself compares every column
with the copy in the other table. Everything else in this module is order and bookkeeping.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.archive.chunks import Chunks
from service.archive.conditions import Conditions
from service.archive.lead_ids import NONE, LeadIDs
from service.archive.pace import Pace, Turn
from service.archive.row_changes import Changes, Options
from service.archive.scope import visible_leads, within
from service.archive.whole_copies import WholeCopies
from service.database.pool import Database
from service.database.statements import Statement, Statements, integers
from service.database.transaction import Transaction
from service.errors import DatabaseError, UnknownLeadsError
from service.tables.definitions import TablePair, names
from service.tables.in_use import MOST_NEARBY, by_id, nearby, none_nearby
from service.tables.table_reader import TableReader

BeforeChange = Callable[[Sequence[int]], Awaitable[None]]


@dataclass(frozen=True)
class Batch:
    """What a caller asks for. lead_ids holds at least one id, and each id once."""

    lead_ids: list[int]
    insert_leads: bool
    delete_leads: bool
    update_leads: bool = False
    list_ids: frozenset[int] | None = None
    """The lists whose leads the caller may see; None: all lists. Any other lead is unknown to the caller."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Conditions, by name. A lead whose row in the source does not match them all is left alone."""
    key: str = ""
    """The name of the caller's API key. The keys take turns."""


@dataclass(frozen=True)
class Result:
    """What a batch did: numbers of leads, and the ids of those that stayed or left."""

    select_count: int
    insert_count: int
    update_count: int
    delete_count: int
    remaining_lead_ids: list[int]
    """The leads that were to be deleted and are still in the source."""
    reused_lead_ids: list[int]
    """The leads that stay because the target holds another lead with the same lead_id."""
    unmatched_lead_ids: list[int]
    """The leads of the source that did not match the conditions, and were left alone."""
    deleted_lead_ids: list[int]
    """The leads that left the source."""
    pace: str
    """gentle or full."""


@dataclass(frozen=True)
class Seen:
    """What both tables held when the batch looked at them."""

    leads: LeadIDs
    """The leads of the batch that are in the source."""
    copies: LeadIDs
    """The leads of the batch that are in the target."""
    reused: LeadIDs
    """Leads that are in both tables and are two different leads: their lead_id was given out again."""
    in_use: LeadIDs
    in_use_nearby: bool
    """Whether a lead is in use that has an id among those of the batch."""
    agents: bool
    """Whether agents are logged in, or it cannot be known."""
    unmatched: LeadIDs
    """Leads of the source that do not match the conditions of the batch."""
    on_cluster: bool
    pair: TablePair


class Mover:
    """Moves leads from a source table to a target table: into the archive, or back."""

    def __init__(self, database: Database, statements: Statements, tables: TableReader, pace: Pace) -> None:
        """pace: the same for all movers, since their batches take turns."""
        self._database = database
        self._pace = pace
        self._statements = statements
        self._tables = tables
        self._conditions = Conditions(statements)
        self._changes = WholeCopies(statements) if tables.whole_only else Changes(statements)

    async def process(self, batch: Batch, seconds: float, before_change: BeforeChange) -> Result:
        """Process a batch in one transaction. Retry the whole transaction on transient errors, such as deadlocks.

        seconds: the time limit for all attempts together. before_change: awaited in each attempt before it changes anything,
        with the leads that it is going to delete; an exception that it raises ends the batch.

        Raises UnknownLeadsError for ids that are in neither table or that the caller may not see, NotReadyError if leads
        cannot be moved safely, and DatabaseError for an error of the database. In each case, no lead is lost and the batch can
        be repeated.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._pace.turn(batch.key, seconds) as turn:
            return await self._database.attempt(
                lambda transaction: self._move(transaction, batch, before_change, turn),
                deadline - asyncio.get_running_loop().time(),
                self._tables.invalidate_on,
                # Somebody may keep a lead locked for long. Batches of other leads need not wait for that.
                after_lock_wait=turn.pass_on,
            )

    async def _move(self, transaction: Transaction, batch: Batch, before_change: BeforeChange, turn: Turn) -> Result:
        """Insert, update and delete, always in this order. The caller commits."""
        asked = LeadIDs(batch.lead_ids)
        # Before anything is locked: a caller neither locks a lead that it may not see, nor waits for it.
        await self._refuse_invisible(transaction, asked, batch)
        seen = await self._look(transaction, asked, batch)
        # Again: before it was locked, a lead may have been moved to a list that the caller may not see.
        await self._refuse_invisible(transaction, asked, batch)
        missing = asked.difference(seen.leads, seen.copies)
        if unknown := await self._unknown(transaction, missing):
            raise UnknownLeadsError(batch.lead_ids, unknown)
        if missing:
            raise DatabaseError("leads were moved between the looks at the two tables", retry=True)

        turn.look(agents=seen.agents, table_locks=not seen.pair.one_transaction)
        leads = self._movable(seen, batch)
        leaving = leads if batch.delete_leads else NONE
        unmatched = seen.unmatched
        sql = self._statements
        if seen.pair.one_transaction:
            steps = await self._steps(transaction, seen, leads, batch)
            await before_change(list(leaving))
            if seen.on_cluster and leaving:
                leaving = steps[sql.delete_leads] = await self._claim(transaction, seen.pair, leaving)
            counts = await self._changes.run(transaction, seen.pair, steps, options=Options(in_use_nearby=seen.in_use_nearby))
        else:
            await before_change(list(leaving))
            counts, unmatched = await self._change_in_chunks(transaction, seen, leads, batch, turn)
        remaining = NONE
        if batch.delete_leads and counts[sql.delete_leads] < len(seen.leads):
            remaining = await self._changes.find(transaction, seen.pair.source.name, seen.leads)
        return Result(
            select_count=len(seen.leads),
            insert_count=counts[sql.insert_leads],
            update_count=counts[sql.update_leads],
            delete_count=counts[sql.delete_leads],
            remaining_lead_ids=list(remaining),
            reused_lead_ids=list(seen.reused),
            unmatched_lead_ids=list(unmatched),
            deleted_lead_ids=list(leaving.difference(remaining)),
            pace="gentle" if turn.gentle else "full",
        )

    async def _refuse_invisible(self, transaction: Transaction, asked: LeadIDs, batch: Batch) -> None:
        """Raise UnknownLeadsError for ids that the caller may not see, whether they exist or not."""
        visible = await visible_leads(transaction, self._statements, asked, batch.list_ids)
        if invisible := asked.difference(visible):
            raise UnknownLeadsError(batch.lead_ids, invisible)

    async def script(self, transaction: Transaction, lead_ids: list[int]) -> str:
        """Return the statements that process() sends for these leads with all flags true, as a script to read or to run."""
        self._tables.invalidate()
        pair = await self._tables.read(transaction)
        in_use_query = by_id(pair.leads_in_use, integers(lead_ids))
        uses = dict(await transaction.select(in_use_query)) if in_use_query else {}
        header = "".join(f"-- {lead_id} is in use ({uses[lead_id]}): left alone.\n" for lead_id in sorted(uses))
        moved = [lead_id for lead_id in lead_ids if lead_id not in uses]
        if not moved:
            return header
        none_in_use = none_nearby(pair.leads_in_use, min(moved), max(moved))
        values = {**pair.values, "lead_ids": integers(moved), "not_in_use": none_in_use}
        sql = self._statements
        order = [sql.select_leads, sql.look_at_copies, sql.insert_leads, sql.update_leads, sql.delete_leads, sql.select_leads]
        between = "" if pair.one_transaction else "COMMIT;\n\nSTART TRANSACTION;\n\n"
        statements = between.join(f"{statement.fill(values)};\n\n" for statement in order)
        checks = sql.set_foreign_key_checks.fill(values)
        return f"{header}{checks};\n\nSTART TRANSACTION;\n\n{statements}COMMIT;\n"

    async def _look(self, transaction: Transaction, asked: LeadIDs, batch: Batch) -> Seen:
        """Read both tables. From here on, nobody can alter them until the transaction ends.

        If both tables can roll back, the leads in the source are locked. Otherwise they are not. MyISAM has no row locks: the
        dialler would wait for the whole table. And if only one of the tables is MyISAM, a statement that locks it may wait for
        a row lock. If the owner of that row lock waits for the table, MariaDB does not detect the deadlock.
        """
        known = self._tables.cached
        if known is None or known.problems:
            known = await self._tables.read(transaction)
        values = {
            **known.values,
            "table": known.values["source"],
            "lead_ids": asked.sql,
            "matches": await self._conditions.sql(transaction, known.source, batch.where),
            "least_packet": str(self._tables.least_packet),
        }
        in_use_query = nearby(known.leads_in_use, asked.first, asked.last)
        sql = self._statements
        asks_for_agents = self._pace.asks_for_agents and known.sees_agents
        leads, ((copies, reused),), (session,), *answers = await transaction.select_each(
            (sql.select_leads if known.one_transaction else sql.find_leads).fill(values),
            sql.look_at_copies.fill(values),
            sql.look_at_session.fill(values),
            *self._tables.definition_queries,
            *([sql.select_matching_leads.fill(values)] if batch.where else []),
            *([sql.look_at_agents.fill()] if asks_for_agents else []),
            *([in_use_query] if in_use_query else []),
        )
        rest = iter(answers)
        definitions = [next(rest), next(rest)]
        matching = next(rest) if batch.where else None
        agents = bool(next(rest)[0][0]) if asks_for_agents else True
        in_use = next(rest) if in_use_query else []
        on_cluster, session_fits = session
        if not session_fits:
            self._tables.invalidate()  # reading everything again finds out what is wrong
        pair = await self._tables.refresh_from(transaction, definitions)
        if pair is not known and pair != known:
            # A table was altered since the last batch, so the queries above used an outdated definition.
            await transaction.commit()
            return await self._look(transaction, asked, batch)
        present = asked.from_rows(leads)
        return Seen(
            leads=present,
            copies=asked.from_concat(copies),
            reused=asked.from_concat(reused) if pair.keep_reused else NONE,
            in_use=await self._in_use(transaction, pair, asked, in_use),
            in_use_nearby=bool(in_use),
            agents=agents,
            unmatched=NONE if matching is None else present.difference(LeadIDs(int(lead_id) for (lead_id,) in matching)),
            on_cluster=bool(on_cluster),
            pair=replace(pair, matches=within(values["matches"], batch.list_ids)),
        )

    async def _in_use(
        self, transaction: Transaction, pair: TablePair, asked: LeadIDs, rows: Sequence[tuple[int, str]]
    ) -> LeadIDs:
        """Return the leads in use. rows: the answer to nearby(), which is incomplete if it is long."""
        if rows and max(Counter(name for _, name in rows).values()) > MOST_NEARBY:
            rows = await transaction.select(by_id(pair.leads_in_use, asked.sql) or "")
        return asked.intersection(LeadIDs({int(lead_id) for lead_id, _ in rows}))

    @staticmethod
    def _movable(seen: Seen, batch: Batch) -> LeadIDs:
        """Return the leads of the source that may be changed.

        A lead in use that is to be deleted is not even copied: the copy would be out of date when it is no longer in use.
        """
        return seen.leads.difference(seen.reused, seen.unmatched, *([seen.in_use] if batch.delete_leads else []))

    async def _unknown(self, transaction: Transaction, leads: LeadIDs) -> LeadIDs:
        """Return the leads that are in neither table."""
        if not leads:
            return NONE
        values = {**names(self._tables.source, self._tables.target), "lead_ids": leads.sql}
        rows = await transaction.select(self._statements.find_in_either_table.fill(values))
        return leads.difference(leads.from_rows(rows))

    async def _steps(self, transaction: Transaction, seen: Seen, leads: LeadIDs, batch: Batch) -> dict[Statement, LeadIDs]:
        """Return the statements of a batch in their order, each with its leads."""
        sql = self._statements
        new = leads.difference(seen.copies) if batch.insert_leads else NONE
        if new and self._tables.whole_only and seen.pair.differences:
            new = await self._whole(transaction, seen.pair, new)
        # A lead that is not in the target yet is copied by the INSERT: the UPDATE has nothing to do for it.
        old = leads.intersection(seen.copies) if batch.update_leads else NONE
        if old and not seen.pair.target.transactional:
            old = await self._changes.select(transaction, sql.select_different_leads, seen.pair, old)
        return {sql.insert_leads: new, sql.update_leads: old, sql.delete_leads: leads if batch.delete_leads else NONE}

    async def _change_in_chunks(
        self, transaction: Transaction, seen: Seen, leads: LeadIDs, batch: Batch, turn: Turn
    ) -> tuple[dict[Statement, int], LeadIDs]:
        """Change a few leads at a time, and commit them, with a rest after each time. Only leads that both the batch and its
        chunk have found movable are changed. Return the number of rows that each statement has changed, and the leads that do
        not match the conditions."""
        sql = self._statements
        counts = Counter({sql.insert_leads: 0, sql.update_leads: 0, sql.delete_leads: 0})
        chunks = Chunks(sql, self._changes, transaction, turn)
        parts = chunks.of(leads)
        unmatched = set(seen.unmatched)
        for number, part in enumerate(parts, start=1):
            if number > 1:
                await turn.rest()
                seen = await self._look(transaction, part, batch)
                turn.look(agents=seen.agents, table_locks=True)
                unmatched.update(seen.unmatched)
            steps = await self._steps(transaction, seen, part.intersection(self._movable(seen, batch)), batch)

            async def look_again(part: LeadIDs = part) -> TablePair:
                return (await self._look(transaction, part, batch)).pair

            counts.update(
                await chunks.change(
                    seen.pair, steps, look_again, in_use_nearby=seen.in_use_nearby, is_last=number == len(parts)
                )
            )
        await chunks.end()
        return dict(counts), LeadIDs(unmatched)

    async def _claim(self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """On a Galera cluster, protect older copies that the DELETE relies on from changes by other nodes.

        Return the leads whose copy could be protected: a trigger may refuse the write that protects it.
        """
        sql = self._statements
        equal = await self._changes.select(transaction, sql.select_equal_leads, pair, lead_ids)
        refused: set[int] = set()
        await self._changes.run(transaction, pair, {sql.touch_leads: equal, sql.restore_leads: equal}, refused)
        return lead_ids.difference(LeadIDs(refused))

    async def _whole(self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that the target can store without changing a value."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        await transaction.create_temporary_table(self._statements.stage_table.fill(values))
        await transaction.execute(self._statements.stage_leads.fill(values))
        whole = await self._changes.select(transaction, self._statements.select_whole_leads, pair, lead_ids)
        await transaction.execute(self._statements.drop_staged.fill(values))
        return whole
