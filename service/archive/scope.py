"""Which leads a caller may see: those of the lists that its key names. A key without list_ids sees all leads.

A caller cannot learn of any other lead, lock it, or wait for it. So look here first, name only visible leads in any other
statement, and answer all other ids alike: they are unknown, whether they exist or not.
"""

from __future__ import annotations

from service.archive.lead_ids import LeadIDs
from service.database.statements import Statements, integers
from service.database.transaction import Transaction


async def visible_leads(
    transaction: Transaction, statements: Statements, lead_ids: LeadIDs, list_ids: frozenset[int] | None
) -> LeadIDs:
    """Return the ids of leads that exist and that the caller may see. It locks nothing, and waits for no lead.

    list_ids: the lists whose leads the caller may see. None: all lists; then all ids are returned, without a query.
    """
    if list_ids is None:
        return lead_ids
    values = {"lead_ids": lead_ids.sql, "list_ids": integers(sorted(list_ids))}
    query = statements.visible_leads.fill(values)
    (rows,) = await transaction.select_each(query, unlocked=[query])
    return lead_ids.from_rows(rows)


def within(matches: str, list_ids: frozenset[int] | None) -> str:
    """Return conditions on a row of the source, in SQL, and that its list is one of the caller's.

    Where rows are not locked, a lead may be moved to another list after visible_leads() has seen it. So each statement that
    changes leads looks again. matches: the other conditions. list_ids: as in visible_leads().
    """
    return matches if list_ids is None else f"{matches}\n    AND source.list_id IN ({integers(sorted(list_ids))})"
