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
"""A stretch ends before a multiple of this number."""

MOST_STRETCHES = 20
"""Stretches that a request goes through at most."""

MOST_OWN_STRETCHES = 100
"""The same for a caller that may see the leads of some lists only. Many of these stretches may be empty."""

OWN_END = 100_000
"""The search of such a caller ends before a multiple of this number: it shows roughly how many leads there are in all."""

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

    def add(self, lead_ids: list[int], limit: int, last: int, *, is_end: bool) -> bool:
        """Add the leads of a stretch. Return whether no further stretch is needed.

        limit: the maximum number of leads on the page. last: the last id of the stretch. is_end: whether it is the last one.
        """
        missing = limit - len(self.lead_ids)
        self.lead_ids += lead_ids[:missing]
        is_full = len(lead_ids) >= missing
        if not (is_full or is_end):
            self.next_after_lead_id = last
        elif self.lead_ids:
            self.next_after_lead_id = self.lead_ids[-1]
        self.done = is_end and not is_full
        return is_full or is_end


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
        rows = LARGE_STRETCH if pair.source.transactional else STRETCH
        values = {**pair.values, "table": pair.values["source"], "matches": matches}
        if query.list_ids is not None:
            return await self._find_own(transaction, query, query.list_ids, values, rows)
        page, first = _begun(query)
        clock = asyncio.get_running_loop().time
        stop = clock() + ENOUGH
        (end,) = await transaction.select_each(self._end_of_stretch(values, first, rows))
        dense = 0
        """The number of stretches whose end need not be asked for."""
        last = _last(end)
        for number in range(MOST_STRETCHES):
            limits = _limits(first, last, query.limit - len(page.lead_ids))
            found, *ends = await transaction.select_each(
                self._statements.find_matching_leads.fill({**values, **limits}),
                *([] if dense else [self._end_of_stretch(values, last + 1, rows)]),
            )
            if page.add(_ids(found), query.limit, last, is_end=last >= LARGEST_LEAD_ID):
                return page
            first = last + 1
            if number + 1 == MOST_STRETCHES or clock() > stop:
                break
            if dense:
                dense, last = dense - 1, _rounded(last + rows)
            else:
                last = _last(ends[0])
                # This many ids are never more than this many rows.
                dense = DENSE if last - first < 2 * rows else 0
        return page

    async def _find_own(
        self, transaction: Transaction, query: Query, list_ids: frozenset[int], values: Mapping[str, str], size: int
    ) -> Page:
        """As _find(), for a caller that may see the leads of these lists only.

        Nothing that it learns may depend on a single lead of another list. So a stretch ends before a multiple of `size`,
        whatever is there and wherever the search begins: that many ids are never more than that many rows.
        """
        page, first = _begun(query)
        clock = asyncio.get_running_loop().time
        stop = clock() + ENOUGH
        (((highest,),),) = await transaction.select_each(self._statements.highest_lead_id.fill(values))
        end = _before_multiple(highest or 0, OWN_END)
        for _ in range(MOST_OWN_STRETCHES):
            last = _before_multiple(first, size)
            leads = await self._own(transaction, query, list_ids, {**values, **_limits(first, last, size)})
            if page.add(leads, query.limit, last, is_end=last >= end):
                return page
            first = last + 1
            if clock() > stop:
                break
        return page

    async def _own(
        self, transaction: Transaction, query: Query, list_ids: frozenset[int], values: Mapping[str, str]
    ) -> list[int]:
        """Return the leads of a stretch that the caller may see and that match."""
        if query.table == "list":
            matches = within(values["matches"], list_ids)
        else:
            visible = await self._visible(transaction, values, list_ids)
            is_visible = self._statements.is_visible.fill({**values, "list_ids": integers(sorted(list_ids))})
            matches = f"source.lead_id IN ({_listed(visible)})\n    AND {is_visible}\n    AND {values['matches']}"
        matching = self._statements.find_matching_leads.fill({**values, "matches": matches})
        found = await self._select(transaction, matching)
        # Again: an archived lead may have gone to another list meanwhile.
        return list(await visible_leads(transaction, self._statements, LeadIDs(found), list_ids)) if found else []

    def _end_of_stretch(self, values: Mapping[str, str], first: int, rows: int) -> str:
        return self._statements.find_end_of_stretch.fill({**values, "first": str(first), "offset": str(rows - 1)})

    async def _visible(self, transaction: Transaction, values: Mapping[str, str], list_ids: frozenset[int]) -> list[int]:
        """Return the leads of a stretch of the archive that the caller may see."""
        visible = self._statements.visible_in_stretch.fill({**values, "list_ids": integers(sorted(list_ids))})
        return await self._select(transaction, visible)

    async def _select(self, transaction: Transaction, query: str) -> list[int]:
        """Return the leads that a query of both tables selects. It waits for neither while it has locked the other."""
        query = self._statements.under(query, self._statements.if_unlocked)
        (rows,) = await transaction.select_each(query, unlocked=[query])
        return _ids(rows)


def _listed(lead_ids: list[int]) -> str:
    """Return ids for IN (...). NULL is in no table."""
    return integers(lead_ids) if lead_ids else "NULL"


def _begun(query: Query) -> tuple[Page, int]:
    """Return an empty page, and the first lead_id that may be on it."""
    first = 0 if query.after_lead_id is None else query.after_lead_id + 1
    return Page(next_after_lead_id=query.after_lead_id or 0), first


def _limits(first: int, last: int, most: int) -> dict[str, str]:
    return {"first": str(first), "last": str(last), "limit": str(most)}


def _ids(rows: Sequence[tuple[Any, ...]]) -> list[int]:
    return [int(lead_id) for (lead_id,) in rows]


def _last(end: Sequence[tuple[Any, ...]]) -> int:
    """Return the last id of a stretch. end: the result of sql/find_end_of_stretch.sql."""
    return _rounded(int(end[0][0])) if end else LARGEST_LEAD_ID


def _rounded(lead_id: int) -> int:
    """Return the id before the next multiple of ROUND."""
    return _before_multiple(lead_id, ROUND)


def _before_multiple(lead_id: int, number: int) -> int:
    """Return the last id before the next multiple of a number."""
    return min(lead_id // number * number + number - 1, LARGEST_LEAD_ID)
