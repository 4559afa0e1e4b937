"""Find the leads that match conditions, page by page. The work of a request is bounded, however large the table is and however
few leads match: it goes through the table in stretches of lead_id, each a statement of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.archive.caller import Caller
from service.archive.conditions import Conditions
from service.archive.lead_ids import LeadIDs
from service.archive.readers import Readers
from service.archive.scope import refuse_unsafe_lists, visible_leads, within
from service.database.statements import Statements, integers
from service.database.transaction import Transaction
from service.tables.definitions import LARGEST_LEAD_ID
from service.tables.table_reader import TableReader

STRETCH = 2_000
"""Rows that a statement looks at, and up to ROUND - 1 more, where it locks the table: writers wait for some milliseconds."""

LARGE_STRETCH = 10_000
"""The same for an engine that keeps old versions of rows, InnoDB: nobody waits for a reader."""

ROUND = 1_000
"""A stretch ends before a multiple of this number. So next_after_lead_id tells nothing about a single lead of other lists."""

MOST_STRETCHES = 20
"""Stretches that a request goes through at most."""

DENSE = 4
"""Stretches that follow one without large gaps between the ids. They have a fixed number of ids, so that no statement is
needed to find their end."""

ENOUGH = 1.0
"""Seconds after which a request begins no further stretch."""


@dataclass(frozen=True)
class Query:
    """What a caller asks for."""

    where: Mapping[str, Any]
    """The values of the conditions, by name."""
    limit: int
    """The maximum number of leads."""
    table: str = "list"
    """Where to search: list or archive."""
    after_lead_id: int | None = None
    list_ids: frozenset[int] | None = None
    """The lists whose leads the caller may see; None: all lists."""
    caller: Caller = field(default_factory=Caller)


@dataclass
class Page:
    """The leads that were found, in ascending order, and how to go on."""

    lead_ids: list[int] = field(default_factory=list)
    next_after_lead_id: int = 0
    done: bool = False


class Finder:
    """Searches one of the two tables. It only reads, and locks no rows."""

    def __init__(
        self, readers: Readers, statements: Statements, conditions: Conditions, tables: Mapping[str, TableReader]
    ) -> None:
        """tables: by the table to search, a TableReader whose source is that table."""
        self._readers = readers
        self._statements = statements
        self._conditions = conditions
        self._tables = tables

    async def find(self, query: Query, seconds: float) -> Page:
        """Return the next page.

        seconds: the time limit. Raises NotReadyError if the tables cannot be compared, ConditionError if a condition cannot be
        checked safely, and DatabaseError for an error of the database.
        """
        tables = self._tables[query.table]
        return await self._readers.read(
            query.caller, lambda transaction: self._find(transaction, tables, query), seconds, tables.invalidate_on
        )

    async def _find(self, transaction: Transaction, tables: TableReader, query: Query) -> Page:
        pair = await tables.read(transaction, to_write=False)
        refuse_unsafe_lists(pair, query.list_ids)
        matches = (await self._conditions.sql(transaction, pair.source, query.where)).all
        if query.table == "list":
            matches = within(matches, query.list_ids)
        values = {**pair.values, "matches": matches}
        page = Page(next_after_lead_id=query.after_lead_id or 0)
        first = 0 if query.after_lead_id is None else query.after_lead_id + 1
        clock = asyncio.get_running_loop().time
        stop = clock() + ENOUGH
        rows = LARGE_STRETCH if pair.source.transactional else STRETCH
        (end,) = await transaction.select_each(self._end_of_stretch(values, first, rows))
        dense = 0
        """The number of stretches whose end need not be asked for."""
        last = _last(end)
        for number in range(MOST_STRETCHES):
            missing = query.limit - len(page.lead_ids)
            most = missing if query.list_ids is None else rows + ROUND
            limits = {"first": str(first), "last": str(last), "limit": str(most)}
            if query.list_ids is not None and query.table == "archive":
                visible = await self._visible(transaction, {**values, **limits}, query.list_ids)
                visible, last = _known(visible, most, last)
                limits |= {"last": str(last), "matches": f"source.lead_id IN ({_listed(visible)})\n    AND {matches}"}
            found, *ends = await transaction.select_each(
                self._statements.find_matching_leads.fill({**values, **limits}),
                *([] if dense else [self._end_of_stretch(values, last + 1, rows)]),
            )
            leads = [int(lead_id) for (lead_id,) in found]
            if query.list_ids is not None:
                leads, last = _known(leads, most, last)
                # Again: an archived lead may have gone to another list since it was found to be visible.
                leads = (
                    list(await visible_leads(transaction, self._statements, LeadIDs(leads), query.list_ids)) if leads else []
                )
            page.lead_ids += leads[:missing]
            if len(leads) >= missing:
                page.next_after_lead_id = page.lead_ids[-1]
                return page
            if last >= LARGEST_LEAD_ID:
                page.next_after_lead_id = page.lead_ids[-1] if page.lead_ids else page.next_after_lead_id
                page.done = True
                return page
            page.next_after_lead_id, first = last, last + 1
            if number + 1 == MOST_STRETCHES or clock() > stop:
                break
            if dense:
                dense, last = dense - 1, _rounded(last + rows)
            else:
                last = _last(ends[0])
                # This many ids are never more than this many rows.
                dense = DENSE if last - first < 2 * rows else 0
        return page

    def _end_of_stretch(self, values: Mapping[str, str], first: int, rows: int) -> str:
        return self._statements.find_end_of_stretch.fill({**values, "first": str(first), "offset": str(rows - 1)})

    async def _visible(self, transaction: Transaction, values: Mapping[str, str], list_ids: frozenset[int]) -> list[int]:
        """Return the leads of a stretch of the archive that the caller may see."""
        query = self._statements.visible_in_stretch.fill({**values, "list_ids": integers(sorted(list_ids))})
        query = self._statements.under(query, self._statements.if_unlocked)
        (rows,) = await transaction.select_each(query, unlocked=[query])
        return [int(lead_id) for (lead_id,) in rows]


def _listed(lead_ids: list[int]) -> str:
    """Return ids for IN (...). NULL is in no table."""
    return integers(lead_ids) if lead_ids else "NULL"


def _known(lead_ids: list[int], most: int, last: int) -> tuple[list[int], int]:
    """Return the leads of a stretch, and where it ends. If there are as many as were asked for, rows were inserted after its
    end was asked for: it ends where all of them are known."""
    if len(lead_ids) < most:
        return lead_ids, last
    last = lead_ids[-1] // ROUND * ROUND - 1
    return [lead_id for lead_id in lead_ids if lead_id <= last], last


def _last(end: Sequence[tuple[Any, ...]]) -> int:
    """Return the last id of a stretch. end: the result of sql/find_end_of_stretch.sql."""
    return _rounded(int(end[0][0])) if end else LARGEST_LEAD_ID


def _rounded(lead_id: int) -> int:
    """Return the id before the next multiple of ROUND."""
    return min(lead_id // ROUND * ROUND + ROUND - 1, LARGEST_LEAD_ID)
