"""Which leads a caller may see: those of the lists that its key names. A key without list_ids sees all leads.

A caller cannot learn of any other lead, lock it, or wait for it. So look here first, name only visible leads in any other
statement, and answer all other ids alike: they are unknown, whether they exist or not. Each of them is asked for as often.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from service.archive.lead_ids import NONE, LeadIDs
from service.database.statements import Statements, integers
from service.database.transaction import Transaction
from service.errors import ConditionError
from service.tables.definitions import TablePair
from service.tables.same_data import INTEGERS


def refuse_unsafe_lists(pair: TablePair, list_ids: frozenset[int] | None) -> None:
    """Raise ConditionError if one of the tables has lists that MariaDB takes for one of the caller's: it compares the text
    '101-OLD' with 101 as a number, and the members of an ENUM by their position.

    list_ids: as in visible_leads().
    """
    for name, column_type in unsafe_lists(pair) if list_ids is not None else ():
        raise ConditionError.of_type("list_ids of the key", name, column_type, INTEGERS)


def unsafe_lists(pair: TablePair) -> list[tuple[str, str]]:
    """Return the columns in which such lists can be, each with its type."""
    return [
        (f"{table.name}.{column.name}", column.column_type)
        for table in (pair.source, pair.target)
        for column in table.columns.values()
        if column.name.lower() == "list_id" and column.data_type not in INTEGERS
    ]


async def visible_leads(
    transaction: Transaction, statements: Statements, lead_ids: LeadIDs, list_ids: frozenset[int] | None
) -> LeadIDs:
    """Return the ids of leads that exist and that the caller may see. It locks nothing, and waits for no lead.

    list_ids: the lists whose leads the caller may see. None: all lists; then all ids are returned, without a query.
    """
    if list_ids is None:
        return lead_ids

    async def visible(asked: LeadIDs) -> LeadIDs:
        values = {"lead_ids": asked.sql, "list_ids": integers(sorted(list_ids))}
        query = statements.visible_leads.fill(values)
        (rows,) = await transaction.select_each(query, unlocked=[query])
        return asked.from_rows(rows)

    return await ask_twice(lead_ids, visible)


async def ask_twice(lead_ids: LeadIDs, find: Callable[[LeadIDs], Awaitable[LeadIDs]]) -> LeadIDs:
    """Return the leads that `find` finds, which asks both tables. It is asked once more for those that it does not find.

    On MyISAM, a statement sees each table as it was when the statement got its lock on that table. While it waits for the
    other table, a lead can be moved, and be in neither of the two. A lead is inserted before it is deleted, so one that is
    moved once is not missed twice.
    """
    rest = lead_ids
    for _ in range(2):
        rest = rest.difference(await find(rest)) if rest else NONE
    return lead_ids.difference(rest)


def within(matches: str, list_ids: frozenset[int] | None, table: str = "source") -> str:
    """Return conditions on a row of a table, in SQL, and that its list is one of the caller's.

    Where rows are not locked, a lead may be moved to another list after visible_leads() has seen it. So each statement that
    changes leads looks again. matches: the other conditions. list_ids: as in visible_leads().
    """
    return matches if list_ids is None else f"{table}.list_id IN ({integers(sorted(list_ids))})\n    AND {matches}"
