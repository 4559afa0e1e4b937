"""Leads that conditions select differently."""

from __future__ import annotations

from support.tables import Tables

LIMIT = 4
"""The most lead ids in a request to the service of these tests."""


def fill(tables: Tables) -> None:
    """Insert the leads of two lists of the campaign SPRING, one active and one not, and of a list of AUTUMN.

    1 to 10 are in list 101, 11 to 20 in 102, 21 to 30 in 103. Leads with even ids were called long ago and have the status NA.
    The others have the status NEW and were never called.
    """
    tables.execute(
        "INSERT INTO vicidial_lists (list_id, campaign_id, active)"
        " VALUES (101, 'SPRING', 'Y'), (102, 'SPRING', 'N'), (103, 'AUTUMN', 'Y')"
    )
    for list_id in (101, 102, 103):
        first = (list_id - 101) * 10 + 1
        loaded = {"list_id": list_id, "entry_date": "2024-01-01 08:00:00"}
        called = {"status": "NA", "last_local_call_time": "2024-02-01 18:00:00", "called_count": 2}
        tables.live(*range(first + 1, first + 10, 2), **loaded, **called)
        tables.live(*range(first, first + 10, 2), **loaded, status="NEW", last_local_call_time=None, called_count=0)


def hopper(tables: Tables, *lead_ids: int) -> None:
    """Put leads into the hopper, which means that they are in use."""
    values = ", ".join(f"({lead_id}, 'READY')" for lead_id in lead_ids)
    tables.execute(f"INSERT INTO vicidial_hopper (lead_id, status) VALUES {values}")
