"""POST /vicidial/leads/find: which leads match each condition, page by page, and that nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api
from support.tables import Tables


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"list_ids": [101]}, [1, 2]),
        ({"list_ids": [101, 103, 5]}, [1, 2, 4]),
        ({"statuses": ["SALE"]}, [1, 3]),
        ({"statuses": ["dnc", "NA"]}, [2, 4]),
        ({"not_statuses": ["SALE"]}, [2, 4]),
        ({"entered_before": "2024-01-02"}, [1]),
        ({"entered_before": "2024-01-02T00:00:01"}, [1, 2]),
        ({"called_before": "2024-06-01"}, [1, 5]),
        ({"entered_at_least_days_ago": 100}, [1, 2]),
        ({"called_at_least_days_ago": 100}, [1, 5]),
        ({"never_called": True}, [3, 4]),
        ({"never_called": False}, [1, 2, 5]),
        ({"called_count_at_least": 0}, [1, 2, 3]),
        ({"called_count_at_least": 3}, [1]),
        ({"campaign_ids": ["SPRING"]}, [1, 2]),
        ({"campaign_ids": ["AUTUMN", "SPRING"]}, [1, 2, 3]),
        ({"list_active": True}, [1, 2]),
        ({"list_active": False}, [3]),
        ({"list_ids": [101], "statuses": ["SALE"], "never_called": False}, [1]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_condition_finds_its_leads_in_either_table(
    tables: Tables, api: Api, where: dict[str, Any], found: list[int]
) -> None:
    insert_leads(tables)
    before = tables.both()

    assert api.find(where=where).json() == {
        "message": "leads were found",
        "lead_ids": found,
        "next_after_lead_id": found[-1],
        "done": True,
    }
    assert api.find_all(where=where, **{"in": "archive"}) == [lead_id + 10 for lead_id in found]
    assert tables.both() == before


def insert_leads(tables: Tables) -> None:
    """Leads 1 to 5, and the same as 11 to 15 in the archive."""
    tables.execute(
        "INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'Y'), (102, 'AUTUMN', 'N')"
    )
    ((recently,),) = tables.execute("SELECT NOW() - INTERVAL 99 DAY")
    for insert, first in ((tables.live, 0), (tables.archived, 10)):
        insert(
            first + 1,
            list_id=101,
            status="SALE",
            entry_date="2024-01-01 23:59:59",
            last_local_call_time="2024-05-31 23:59:59",
            called_count=3,
        )
        insert(
            first + 2,
            list_id=101,
            status="DNC",
            entry_date="2024-01-02 00:00:00",
            last_local_call_time=recently,
            called_count=2,
        )
        insert(first + 3, list_id=102, status="sale", entry_date=None, called_count=0)
        insert(first + 4, list_id=103, status="NA", entry_date=recently, called_count=None)
        insert(first + 5, list_id=104, status=None, entry_date=None, last_local_call_time="0000-00-00", called_count=None)
