"""A model of a batch on two dicts instead of two tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Leads = dict[int, Any]


def is_reused(live: Any, archived: Any) -> bool:
    """Return whether the two rows of a lead_id are different leads: both entry_date and phone_number differ.

    The values are in the order of Vicidial's columns.
    """
    return all(live[at] is not None and archived[at] is not None and live[at] != archived[at] for at in (1, 11))


def archive(
    live: Leads, archived: Leads, body: dict[str, Any], fits: Callable[[Any], bool] = lambda _: True
) -> tuple[int, dict[str, Any], Leads, Leads]:
    """Return status, answer, and both tables afterwards. Rows are equal only if they have the same data in every column.

    fits: whether the other table can hold a row without loss.
    """
    lead_ids = body["lead_ids"]
    if unknown := [lead_id for lead_id in lead_ids if lead_id not in live and lead_id not in archived]:
        error = {"message": "lead_ids does not exist", "lead_errors": len(unknown), "lead_ids": unknown}
        return 404, error, live, archived
    after = dict(archived)
    present = sorted(lead_id for lead_id in lead_ids if lead_id in live)
    reused = [lead_id for lead_id in present if lead_id in archived and is_reused(live[lead_id], archived[lead_id])]
    if body["insert_leads"]:
        after |= {lead_id: live[lead_id] for lead_id in present if lead_id not in archived and fits(live[lead_id])}
    if body["update_leads"]:
        after |= {lead_id: live[lead_id] for lead_id in present if lead_id in archived and lead_id not in reused}
    same = [lead_id for lead_id in present if after.get(lead_id) == live[lead_id]]
    gone = same if body["delete_leads"] else []
    result = {
        "message": "lead_ids batch was successfully processed",
        "select_count": len(present),
        "insert_count": len(after) - len(archived),
        "update_count": sum(after[lead_id] != archived[lead_id] for lead_id in archived),
        "delete_count": len(gone),
        "remaining_lead_ids": [lead_id for lead_id in present if lead_id not in gone] if body["delete_leads"] else [],
        "reused_lead_ids": reused,
        "unmatched_lead_ids": [],
    }
    return 200, result, {lead_id: row for lead_id, row in live.items() if lead_id not in gone}, after


def dearchive(
    live: Leads, archived: Leads, body: dict[str, Any], fits: Callable[[Any], bool] = lambda _: True
) -> tuple[int, dict[str, Any], Leads, Leads]:
    """Return the same with the tables swapped, and without updates."""
    status, answer, archived_after, live_after = archive(archived, live, {**body, "update_leads": False}, fits)
    return status, {name: value for name, value in answer.items() if name != "update_count"}, live_after, archived_after
