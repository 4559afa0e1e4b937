"""Compare leads without changing anything: where each lead is, in which columns its rows differ, and what uses it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from service.archive.caller import Caller
from service.archive.lead_ids import LeadIDs
from service.archive.readers import Readers
from service.archive.scope import refuse_unsafe_lists, visible_leads, within
from service.database.statements import Statements
from service.database.transaction import Transaction
from service.tables.definitions import TablePair
from service.tables.in_use import by_id
from service.tables.table_reader import TableReader


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
    used_by: list[str]
    """The tables that use it, as `table.column`."""
    reused: bool
    """Whether the two rows are different leads: the lead_id of the archived lead was given out again."""


class Comparer:
    """Compares the rows of leads in two tables. It only reads, and locks no rows."""

    def __init__(self, readers: Readers, statements: Statements, tables: TableReader) -> None:
        self._readers = readers
        self._statements = statements
        self._tables = tables

    async def compare(
        self, lead_ids: list[int], list_ids: frozenset[int] | None, seconds: float, caller: Caller
    ) -> list[Lead]:
        """Return a Lead for each id, in the order of lead_ids. An id that is in neither table is no error.

        list_ids: the lists whose leads the caller may see; None: all lists. Any other lead is reported to be in neither table.
        seconds: the time limit. Raises NotReadyError if the tables cannot be compared, DatabaseError for an error of the
        database, and CallerGoneError.
        """
        return await self._readers.read(
            caller, lambda transaction: self._compare(transaction, lead_ids, list_ids), seconds, self._tables.invalidate_on
        )

    async def _compare(self, transaction: Transaction, lead_ids: list[int], list_ids: frozenset[int] | None) -> list[Lead]:
        pair = await self._tables.read(transaction, to_write=False)
        refuse_unsafe_lists(pair, list_ids)
        visible = await visible_leads(transaction, self._statements, LeadIDs(lead_ids), list_ids)
        found: dict[int, Lead] = {}
        if visible:
            found = await self._read(transaction, pair, visible, list_ids)
            missed = visible.difference(LeadIDs(found))
            if missed and not pair.one_transaction:
                found |= await self._read(transaction, pair, missed, list_ids)  # for the reason that ask_twice() gives
            # Again: a lead may have been moved to a list that the caller may not see.
            visible = await visible_leads(transaction, self._statements, visible, list_ids)
        shown = {lead_id: found[lead_id] for lead_id in visible if lead_id in found}
        return [shown.get(lead_id) or Lead(lead_id, False, False, False, [], False, [], False) for lead_id in lead_ids]

    async def _read(
        self, transaction: Transaction, pair: TablePair, lead_ids: LeadIDs, list_ids: frozenset[int] | None
    ) -> dict[int, Lead]:
        """Return a Lead for each of the leads that is in one of the tables. list_ids: as in compare()."""
        values = {
            **pair.values,
            "lead_ids": lead_ids.sql,
            "matches": within("TRUE", list_ids),
            "copy_matches": within("TRUE", list_ids, "target"),
        }
        in_use_query = by_id(pair.leads_in_use, lead_ids.sql)
        rows, *in_use = await transaction.select_each(
            self._statements.compare_leads.fill(values), *([in_use_query] if in_use_query else [])
        )
        used_by: dict[int, list[str]] = defaultdict(list)
        for lead_id, name in sorted(set(in_use[0])) if in_use else ():
            used_by[int(lead_id)].append(name)
        columns = [column.name for column, _ in pair.columns]
        found: dict[int, Lead] = {}
        for number_of_lead, in_list, in_archive, numbers, reused in rows:
            in_both = bool(in_list and in_archive)
            different = [columns[int(number)] for number in numbers.split(",") if number] if in_both else []
            lead_id = int(number_of_lead)  # a UNION of two integer types, such as BIGINT and INT UNSIGNED, returns DECIMAL
            found[lead_id] = Lead(
                lead_id,
                in_list=bool(in_list),
                in_archive=bool(in_archive),
                identical=in_both and not different,
                different_columns=different,
                in_use=bool(in_list and used_by[lead_id]),
                used_by=used_by[lead_id] if in_list else [],
                reused=bool(reused),
            )
        return found
