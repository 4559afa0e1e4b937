"""A look before the leap: what archiving would find, lead by lead, without doing it."""

from __future__ import annotations

from dataclasses import dataclass

from service.database import Database, Transaction
from service.lead_ids import LeadIDs
from service.moves import foreign_leads
from service.statements import Statements
from service.table_reader import TableReader


@dataclass(frozen=True)
class Lead:
    """Where a lead is, and why it would stay in vicidial_list."""

    lead_id: int
    in_list: bool
    in_archive: bool
    identical: bool
    """Whether both tables hold it, with the same data in every column."""
    different_columns: list[str]
    """Names of the columns whose data differ, as vicidial_list has them; empty unless both tables hold the lead."""
    in_use: bool


class Comparer:
    """Compares the leads of two tables. Reads only, and locks no rows."""

    def __init__(self, database: Database, statements: Statements, tables: TableReader) -> None:
        self._database = database
        self._statements = statements
        self._tables = tables

    async def compare(self, lead_ids: list[int], list_ids: frozenset[int] | None, seconds: float) -> list[Lead]:
        """A Lead for each id, in the order of the ids; ids that are in neither table are no error.

        list_ids: the lists whose leads the caller may see, all of them if None; any other lead is told to be in neither table.
        seconds: for all of it. Raises TablesDoNotFitError where no lead can be copied whole, DatabaseError for what the
        database refuses.
        """
        return await self._database.attempt(
            lambda transaction: self._compare(transaction, lead_ids, list_ids), seconds, self._tables.notice
        )

    async def _compare(self, transaction: Transaction, lead_ids: list[int], list_ids: frozenset[int] | None) -> list[Lead]:
        pair = await self._tables.read(transaction)
        asked = LeadIDs(lead_ids)
        foreign = await foreign_leads(transaction, self._statements, pair, asked, list_ids)
        values = {**pair.values, "lead_ids": asked.sql}
        rows = await transaction.select(self._statements.fill("compare_leads", values))
        columns = [column.name for column in pair.source.columns.values()]
        found = {}
        for lead_id, in_list, in_archive, numbers, in_use in rows:
            in_both = bool(in_list and in_archive)
            different = [columns[int(number)] for number in numbers.split(",") if number] if in_both else []
            found[lead_id] = Lead(lead_id, bool(in_list), bool(in_archive), in_both and not different, different, bool(in_use))
        for lead_id in foreign:
            found.pop(lead_id, None)
        return [found.get(lead_id) or Lead(lead_id, False, False, False, [], False) for lead_id in lead_ids]
