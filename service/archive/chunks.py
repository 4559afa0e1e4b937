"""Change leads in tables without rollback: each write locks such a table as a whole, and the dialler waits for it.

So a DELETE is for a few leads. And the live table is not locked while the archive's indexes are written: a temporary table
without these indexes takes the leads first, where the account may create one. There is no transaction to keep: the order
insert, update, delete protects each lead, and the DELETE compares the copy with the lead as it is then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from service.archive.lead_ids import LeadIDs
from service.archive.pace import Turn
from service.archive.row_changes import Changes
from service.database.statements import Statement, Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.tables.chunk_table import ChunkTable
from service.tables.definitions import TablePair


@dataclass(frozen=True)
class Sizes:
    """How many leads a statement changes at most."""

    copy: int
    """Of INSERT and UPDATE, where a temporary table stands between the tables."""
    direct: int
    """Of INSERT and UPDATE, where both tables are locked while they run."""
    delete: int


GENTLE = Sizes(copy=250, direct=25, delete=50)
FULL = Sizes(copy=500, direct=100, delete=125)


class Chunks:
    """The chunks of one batch. They use one temporary table."""

    def __init__(self, statements: Statements, changes: Changes, transaction: Transaction, turn: Turn) -> None:
        self._statements = statements
        self._changes = changes
        self._transaction = transaction
        self._turn = turn
        self._sizes = GENTLE if turn.gentle else FULL
        self._table: ChunkTable | None = None

    async def size(self, pair: TablePair) -> int:
        """Return how many leads to change between two looks at the tables. Creates the temporary table if that is possible."""
        await self._create(pair)
        return self._sizes.copy if self._table else self._sizes.direct

    async def change(
        self,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        look_again: Callable[[], Awaitable[TablePair]],
        *,
        in_use_nearby: bool,
    ) -> Counter[Statement]:
        """Run and commit the statements for a chunk. Return the number of rows that each has changed.

        look_again: reads both tables again after a COMMIT. in_use_nearby: as Changes.run().
        """
        delete = self._statements.delete_leads
        copies = {statement: leads for statement, leads in steps.items() if statement != delete and leads}
        counts: Counter[Statement] = Counter()
        if copies:
            source = await self._stage(pair, LeadIDs(set().union(*copies.values())))
            counts.update(await self._changes.run(self._transaction, pair, copies, copy_source=source))
            if not pair.same_rollback:
                # The copies must be permanent before the DELETE if only one of the tables can roll back.
                await self._transaction.commit()
                pair = await look_again()
        for number, leads in enumerate(steps[delete].parts(self._sizes.delete)):
            if pair.same_rollback and (number or copies):
                await self._turn.rest()  # the transaction has no row locks, and keeps the definitions as they are
            deletes = {delete: leads}
            counts.update(await self._changes.run(self._transaction, pair, deletes, in_use_nearby=in_use_nearby))
        await self._transaction.commit()
        return counts

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
