"""Change leads in tables without rollback: each write locks such a table as a whole, and the dialler waits for it.

So a statement changes a few leads at a time. And vicidial_list is not locked while the archive's indexes are written: a
temporary table without these indexes takes new leads first, where the account may create one. There is no transaction to keep:
the order insert, update, delete protects each lead, and the DELETE compares the copy with the lead as it is then.

Only INSERT IGNORE may read from the temporary table, since it overwrites nothing. If UPDATE did, it could replace the latest
data of a lead that another batch has archived in the meantime by older data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from service.archive.lead_ids import LeadIDs
from service.archive.pace import Turn
from service.archive.row_changes import Changes, Failures, Options
from service.database.statements import Statement, Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.tables.chunk_table import ChunkTable
from service.tables.definitions import TablePair


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


class Chunks:
    """The chunks of one batch. They use one temporary table."""

    def __init__(self, statements: Statements, changes: Changes, transaction: Transaction, turn: Turn) -> None:
        self._statements = statements
        self._changes = changes
        self._transaction = transaction
        self._turn = turn
        self._sizes = GENTLE if turn.gentle else FULL
        self._table: ChunkTable | None = None
        self._failures = Failures()
        self._refused = False
        """Whether the server did not create the temporary table."""

    def of(self, leads: LeadIDs) -> list[LeadIDs]:
        """Return the leads in chunks. The tables are looked at before each of them."""
        return leads.parts(self._sizes.chunk)

    async def change(
        self,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        look_again: Callable[[], Awaitable[TablePair]],
        *,
        in_use_nearby: bool,
        is_last: bool,
    ) -> Counter[Statement]:
        """Run and commit the statements for a chunk. Return the number of rows that each has changed.

        look_again: reads both tables again after a COMMIT. in_use_nearby: as Options. is_last: whether no chunk of the
        batch follows.
        """
        sql = self._statements
        async with self._turn.writing():
            # Not before: while the batch waits for others, a program may erase a lead from both tables.
            source = await self._stage(pair, steps[sql.insert_leads]) if steps[sql.insert_leads] else None
            most = {
                sql.insert_leads: self._sizes.chunk if source else self._sizes.joined,
                sql.insert_whole_leads: self._sizes.joined,
                sql.update_leads: self._sizes.joined,
                sql.delete_leads: self._sizes.delete,
            }
            options = Options(source or {}, in_use_nearby, failures=self._failures, most=most)
            if self._turn.gentle or not pair.same_rollback:
                counts = await self._change_one_by_one(pair, steps, look_again, options, is_last=is_last)
            else:
                # In one round trip. The tables are free between two statements.
                self._failures.more_to_come = not is_last
                counts = Counter(await self._changes.run(self._transaction, pair, steps, options=options))
            await self._transaction.commit()
            return counts

    async def _change_one_by_one(
        self,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        look_again: Callable[[], Awaitable[TablePair]],
        options: Options,
        *,
        is_last: bool,
    ) -> Counter[Statement]:
        """As change(), with a rest after each statement, and without the last COMMIT."""
        counts: Counter[Statement] = Counter()
        for statement, leads in steps.items():
            if statement == self._statements.delete_leads and leads and counts and not pair.same_rollback:
                # The copies must be permanent before the DELETE if only one of the tables can roll back.
                await self._transaction.commit()
                pair = await look_again()
            parts = leads.parts(options.most[statement])
            for number, part in enumerate(parts, start=1):
                if counts and pair.same_rollback:
                    await self._turn.rest()  # no row is locked, and the transaction keeps the definitions as they are
                self._failures.more_to_come = not is_last or number < len(parts)
                counts.update(await self._changes.run(self._transaction, pair, {statement: part}, options=options))
        return counts

    async def end(self) -> None:
        """Drop the temporary table."""
        if self._table:
            await self._transaction.drop_temporary_table(self._statements.drop_staged.fill(self._table.values))
            self._table = None

    async def _stage(self, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
        """Copy leads into the temporary table. Return the placeholders with which INSERT reads them from there, None if there
        is no such table."""
        table = pair.chunk_table
        if table is None or self._refused:
            return None
        if table != self._table:
            try:
                await self._transaction.create_temporary_table(self._statements.stage_table.fill(table.values))
            except DatabaseError as error:
                if not error.from_server or error.is_transient:
                    raise
                self._refused = True  # the account may not, or the server cannot
                return None
            self._table = table
        values = {**table.values, "source": pair.values["source"], "lead_ids": leads.sql}
        await self._transaction.execute(self._statements.stage_leads.fill(values))
        return table.as_source
