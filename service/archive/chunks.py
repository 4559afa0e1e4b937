"""Change leads in tables without rollback: each write locks such a table as a whole, and the dialler waits for it.

So a few leads are changed at a time. And the live table is not kept locked while the other table's indexes are written: a
temporary table without these indexes takes the leads first, where the account may create one. There is no transaction to keep.
The order insert, update, delete protects each lead, and the DELETE compares the copy with the lead as it is then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from service.archive.lead_ids import LeadIDs
from service.archive.row_changes import Changes
from service.database.statements import Statement, Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.tables.chunk_table import ChunkTable
from service.tables.definitions import TablePair

GENTLE, FULL = 50, 250
"""Leads at a time, with agents at work and without."""

WITHOUT_TABLE = 0.5
"""The factor where no temporary table can be made: then the live table is locked while the copies are written."""


class Chunks:
    """The chunks of one batch. They use one temporary table."""

    def __init__(self, statements: Statements, changes: Changes, transaction: Transaction) -> None:
        self._statements = statements
        self._changes = changes
        self._transaction = transaction
        self._table: ChunkTable | None = None

    async def size(self, pair: TablePair, *, gentle: bool) -> int:
        """Return how many leads to change at a time. Creates the temporary table if that is possible."""
        await self._create(pair)
        return int((GENTLE if gentle else FULL) * (1 if self._table else WITHOUT_TABLE))

    async def change(
        self,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        look_again: Callable[[], Awaitable[TablePair]],
        *,
        in_use_nearby: bool,
    ) -> dict[Statement, int]:
        """Run and commit the statements for a chunk. Return the number of rows that each has changed.

        look_again: reads both tables again after a COMMIT. in_use_nearby: as Changes.run().
        """
        delete = self._statements.delete_leads
        copies = {statement: leads for statement, leads in steps.items() if statement != delete}
        source = await self._stage(pair, LeadIDs(set().union(*copies.values())))
        if pair.same_rollback:
            counts = await self._changes.run(self._transaction, pair, steps, copy_source=source, in_use_nearby=in_use_nearby)
            await self._transaction.commit()
            return counts
        # The copies must be permanent before the DELETE if only one of the tables can roll back.
        counts = await self._changes.run(self._transaction, pair, copies, copy_source=source)
        if steps[delete]:
            if any(copies.values()):
                await self._transaction.commit()
                pair = await look_again()
            counts |= await self._changes.run(self._transaction, pair, {delete: steps[delete]}, in_use_nearby=in_use_nearby)
        await self._transaction.commit()
        return {delete: 0, **counts}

    async def end(self) -> None:
        """Drop the temporary table."""
        if self._table:
            await self._transaction.select(self._statements.drop_staged.fill(self._table.values))
            self._table = None

    async def _stage(self, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
        """Copy leads into the temporary table. Return the placeholders with which the statements read them from there, None if
        there is no such table."""
        if not leads:
            return None
        if self._table != ChunkTable.of(pair):  # a column was added
            await self._create(pair)
        if not self._table:
            return None
        values = {**self._table.values, "source": pair.values["source"], "lead_ids": leads.sql}
        await self._transaction.select(self._statements.stage_leads.fill(values))
        return self._table.as_source

    async def _create(self, pair: TablePair) -> None:
        self._table = ChunkTable.of(pair)
        if not self._table:
            return
        try:
            await self._transaction.select(self._statements.stage_table.fill(self._table.values))
        except DatabaseError as error:
            if not error.from_server or error.is_transient:
                raise
            self._table = None  # the account may not, or the server cannot
