"""The rules of archiving, and of the way back: what happens to a batch of leads, in which order, and when it is left alone.

No lead is ever lost: a lead leaves its table only in a statement that itself looks whether the other table holds the same
data in every column (sql/delete_leads.sql). All else here is order and bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.database import Database, Transaction
from service.lead_ids import LeadIDs
from service.statements import Statements, identifier, integers
from service.table_reader import TableReader
from service.tables import TablePair

NONE = LeadIDs(())


@dataclass(frozen=True)
class Batch:
    """What a caller asks for. lead_ids holds at least one id and none twice."""

    lead_ids: list[int]
    insert_leads: bool
    delete_leads: bool
    update_leads: bool = False
    list_ids: frozenset[int] | None = None
    """The lists whose leads the caller may see, all of them if None: any other lead is unknown to it."""


@dataclass(frozen=True)
class Result:
    """What was done: counts of leads, and the leads that were to be deleted and are still there."""

    select_count: int
    insert_count: int
    update_count: int
    delete_count: int
    remaining_lead_ids: list[int]


@dataclass(frozen=True)
class Seen:
    """What a look at both tables showed."""

    leads: LeadIDs
    """In the source."""
    copies: LeadIDs
    """In the target."""
    on_cluster: bool
    pair: TablePair


class UnknownLeadsError(Exception):
    """Some of the leads are in neither table. Nothing was changed."""

    def __init__(self, lead_ids: list[int]) -> None:
        super().__init__("lead_ids does not exist")
        self.lead_ids = lead_ids


class Mover:
    """Moves leads from a source table to a target table: into the archive, or back."""

    def __init__(self, database: Database, statements: Statements, tables: TableReader, whole_only: bool = False) -> None:
        """whole_only: whether a lead that the target cannot hold whole is not inserted at all."""
        self._database = database
        self._statements = statements
        self._tables = tables
        self._whole_only = whole_only

    async def process(self, batch: Batch, seconds: float) -> Result:
        """Process a batch in one transaction, and all of it anew if it and others got in each other's way.

        seconds: for all attempts together. Raises UnknownLeadsError for ids that are in neither table, TablesDoNotFitError
        where no lead can be copied whole, DatabaseError for what the database refuses. Whichever it is, no lead is lost and
        the batch can be repeated.
        """
        return await self._database.attempt(lambda transaction: self._move(transaction, batch), seconds, self._tables.notice)

    async def _move(self, transaction: Transaction, batch: Batch) -> Result:
        """Insert, update, delete, always in this order. The caller commits."""
        asked = LeadIDs(batch.lead_ids)
        seen = await self._look(transaction, asked)
        if asked.without(seen.leads).without(seen.copies):
            # A lead that somebody moved between the look at its table and the look at the other was in neither.
            seen = await self._look(transaction, asked)
        foreign = await foreign_leads(transaction, self._statements, seen.pair, asked, batch.list_ids)
        unknown = {*asked.without(seen.leads).without(seen.copies), *foreign}
        if unknown:
            raise UnknownLeadsError([lead_id for lead_id in batch.lead_ids if lead_id in unknown])

        leads, pair = seen.leads, seen.pair
        new = leads.without(seen.copies) if batch.insert_leads else NONE
        if new and self._whole_only and pair.differences:
            new = await self._whole(transaction, pair, new)
        # A lead that was not in the target before is copied by the insert, if at all: there is nothing to refresh.
        steps = {
            "insert_leads": new,
            "update_leads": leads.within(seen.copies) if batch.update_leads else NONE,
            "delete_leads": leads if batch.delete_leads else NONE,
        }
        if seen.on_cluster and steps["delete_leads"]:
            await self._claim(transaction, pair, leads)
        if pair.one_transaction:
            counts = await self._change(transaction, pair, steps)
        else:
            counts = dict.fromkeys(steps, 0)
            for number, statement in enumerate(statement for statement in steps if steps[statement]):
                if number:  # the commit has let others in
                    pair = (await self._look(transaction, asked)).pair
                counts |= await self._change(transaction, pair, {statement: steps[statement]})
                # The copies must last before the other table deletes for good.
                await transaction.commit()
                transaction.begin()
        remaining = NONE
        if counts["delete_leads"] < len(steps["delete_leads"]):
            remaining = await self._find(transaction, leads)
        return Result(len(leads), counts["insert_leads"], counts["update_leads"], counts["delete_leads"], list(remaining))

    async def check(self, transaction: Transaction) -> TablePair:
        """The tables as they are now, all of it read anew. Raises TablesDoNotFitError, DatabaseError."""
        self._tables.forget()
        return await self._tables.read(transaction)

    async def script(self, transaction: Transaction, lead_ids: list[int]) -> str:
        """What process() sends for these leads, all flags being true, as a script that can be read or run."""
        pair = await self.check(transaction)
        values = {**pair.values, "lead_ids": integers(lead_ids)}
        order = ["select_leads", "look_at_copies", "insert_leads", "update_leads", "delete_leads", "select_leads"]
        between = "" if pair.one_transaction else "COMMIT;\n\nSTART TRANSACTION;\n\n"
        statements = between.join(f"{self._statements.fill(name, values)};\n\n" for name in order)
        return f"START TRANSACTION;\n\n{statements}COMMIT;\n"

    async def _look(self, transaction: Transaction, asked: LeadIDs) -> Seen:
        """Look at both tables, which nobody can alter from here on.

        The leads in the source are locked, unless only one of the tables can roll back: a statement that holds a table as a
        whole may wait for a row, and if the row's holder waited for the table, MariaDB would not see the deadlock. The dialler
        would stand still with both.
        """
        known = self._tables.last
        if known is None or known.problems():
            known = await self._tables.read(transaction)
        values = {**known.values, "table": known.values["source"], "lead_ids": asked.sql}
        leads, ((copies,),), ((on_cluster,),), *definitions = await transaction.select_each(
            self._statements.fill("select_leads" if known.one_transaction else "find_leads", values),
            self._statements.fill("look_at_copies", values),
            self._statements.fill("on_cluster", values),
            *self._tables.questions,
        )
        pair = await self._tables.learn(transaction, definitions)
        if pair is not known and pair != known:
            # A table was altered since the last batch: what was asked went by what it was like before.
            await transaction.commit()
            transaction.begin()
            return await self._look(transaction, asked)
        return Seen(asked.these(leads), asked.found(copies), bool(on_cluster), pair)

    async def _find(self, transaction: Transaction, lead_ids: LeadIDs) -> LeadIDs:
        """Those of the leads that are in the source."""
        values = {"table": identifier(self._tables.source), "lead_ids": lead_ids.sql}
        return lead_ids.these(await transaction.select(self._statements.fill("find_leads", values)))

    async def _claim(self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs) -> None:
        """On a cluster, make sure that no other node changes older copies that the delete relies on."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        equal = lead_ids.these(await transaction.select(self._statements.fill("select_equal_leads", values)))
        await self._change(transaction, pair, {"touch_leads": equal, "restore_leads": equal})

    async def _whole(self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Those of the leads that the target can hold whole."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        await transaction.execute(self._statements.fill("stage_table", values))
        await transaction.execute(self._statements.fill("stage_leads", values))
        whole = lead_ids.these(await transaction.select(self._statements.fill("select_whole_leads", values)))
        await transaction.execute(self._statements.fill("drop_staged", values))
        return whole

    async def _change(self, transaction: Transaction, pair: TablePair, steps: Mapping[str, LeadIDs]) -> dict[str, int]:
        """Run the statements, each for its leads, one after the other in one round trip. How many rows each has changed."""
        counts = dict.fromkeys(steps, 0)
        todo = [statement for statement in steps if steps[statement]]
        for statement in todo:
            written = pair.source if statement == "delete_leads" else pair.target
            if not written.transactional:
                transaction.may_last = True
        sql = [self._statements.fill(statement, {**pair.values, "lead_ids": steps[statement].sql}) for statement in todo]
        if sql:
            counts.update(zip(todo, await transaction.execute_each(*sql), strict=True))
        return counts


async def foreign_leads(
    transaction: Transaction, statements: Statements, pair: TablePair, lead_ids: LeadIDs, list_ids: frozenset[int] | None
) -> LeadIDs:
    """Those of the leads that are in none of the lists whose leads the caller may see; list_ids is None: it may see all."""
    if list_ids is None:
        return NONE
    values = {**pair.values, "lead_ids": lead_ids.sql, "list_ids": integers(sorted(list_ids))}
    return lead_ids.these(await transaction.select(statements.fill("foreign_leads", values)))
