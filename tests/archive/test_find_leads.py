"""POST /vicidial/leads/find: which leads match each condition, page by page, and that nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.remedies import account
from support.tables import IN_USE_TABLES, Tables

from service.archive import finder
from service.archive.conditions import CONDITIONS
from service.archive.finder import LARGE_STRETCH, ROUND, STRETCH

MATCHES: list[tuple[dict[str, Any], list[int]]] = [
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
    ({"campaign_ids": ["AUTUMN", "spring"]}, [1, 2, 3]),
    ({"list_active": True}, [1, 2]),
    ({"list_active": False}, [3]),
    ({"list_ids": [101], "statuses": ["SALE"], "never_called": False}, [1]),
]
"""The conditions, and the leads of insert_leads() that match them."""


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_each_condition_finds_its_leads_in_either_table(tables: Tables, api: Api) -> None:
    insert_leads(tables)
    before = tables.both()

    for where, found in MATCHES:
        assert api.find(where=where).json() == {
            "message": "leads were found",
            "lead_ids": found,
            "next_after_lead_id": found[-1],
            "done": True,
        }, where
        assert api.find_all(where=where, **{"in": "archive"}) == [lead_id + 10 for lead_id in found], where
    assert {name for where, _ in MATCHES for name in where} == CONDITIONS.keys()
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


# --- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_stretches")
def test_pages_have_each_matching_lead_once_in_ascending_order(tables: Tables, api: Api) -> None:
    lead_ids = [0, 1, 2, 5, 9, 10, 11, 29, 30, 31, 100, 101, 5_000, 4294967294, 4294967295]
    tables.live(*lead_ids, status="NEW")
    tables.live(7, 8, 99, status="SALE")

    for limit in (1, 2, 3, 10_000):
        assert api.find_all(where={"statuses": ["NEW"]}, limit=limit) == lead_ids
    assert api.find_all(where={"statuses": ["NEW"]}, after_lead_id=30) == lead_ids[9:]
    assert api.find_all(where={"statuses": ["NEW"]}, after_lead_id=4294967295) == []
    assert api.find_all(where={"statuses": ["DNC"]}) == []


def test_the_limit_is_that_of_a_batch_unless_the_request_names_one(tables: Tables, new_api: Callable[..., Api]) -> None:
    api = new_api(LEAD_IDS_LIMIT="3")
    tables.live(1, 2, 3, 4)

    page = api.find(where={"list_ids": [998]}).json()
    assert (page["lead_ids"], page["next_after_lead_id"], page["done"]) == ([1, 2, 3], 3, False)
    page = api.find(where={"list_ids": [998]}, after_lead_id=3).json()
    assert (page["lead_ids"], page["next_after_lead_id"], page["done"]) == ([4], 4, True)
    assert api.find(where={"list_ids": [998]}, limit=4).json()["lead_ids"] == [1, 2, 3, 4]


@pytest.mark.parametrize(("tables", "stretch"), [("InnoDB", LARGE_STRETCH), ("MyISAM", STRETCH)], indirect=["tables"])
def test_a_request_looks_at_a_limited_number_of_rows(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    """Whether many leads match or none: the server counts the rows that it reads."""
    monkeypatch.setattr("service.archive.finder.MOST_STRETCHES", 3)
    tables.execute(
        "INSERT INTO vicidial_list (lead_id, phone_number, status) SELECT seq, '2125550101', 'NEW' FROM seq_1_to_100000"
    )
    tables.execute("ANALYZE TABLE vicidial_list")
    for statuses, found in (["SALE"], 0), (["NEW"], min(10_000, 3 * stretch)):
        before = rows_read(tables)
        page = api.find(where={"statuses": statuses}, limit=10_000).json()

        assert found <= len(page["lead_ids"]) < found + ROUND
        assert not page["done"]
        # Each row of 3 stretches is read twice: in the index, to find the end of the stretch, and for the condition.
        assert rows_read(tables) - before < 2 * 3 * (stretch + ROUND)
    assert api.find_all(where={"statuses": ["SALE"]}) == []


def rows_read(tables: Tables) -> int:
    """Return how many rows the server has read in the order of an index."""
    ((_, count),) = tables.execute("SHOW GLOBAL STATUS LIKE 'Handler_read_next'")
    return int(count or b"")


@pytest.fixture
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of 3 rows, 2 in a request."""
    monkeypatch.setattr("service.archive.finder.STRETCH", 3)
    monkeypatch.setattr("service.archive.finder.LARGE_STRETCH", 3)
    monkeypatch.setattr("service.archive.finder.ROUND", 10)
    monkeypatch.setattr("service.archive.finder.MOST_STRETCHES", 2)
    monkeypatch.setattr("service.archive.finder.MOST_OWN_STRETCHES", 2)
    monkeypatch.setattr("service.archive.finder.OWN_END", 100)


# --- what it does not do -----------------------------------------------------------------------------------------------


def test_it_waits_for_no_locked_row_and_works_within_office_hours(tables: Tables, new_api: Callable[..., Api]) -> None:
    wednesday_noon = datetime(2026, 11, 18, 12, tzinfo=UTC)
    api = new_api(lambda: wednesday_noon, OFFICE_HOURS="Mon-Fri 08:00-17:00", OFFICE_HOURS_TIMEZONE="UTC")
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) VALUES (998, 'SPRING')")
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute("UPDATE vicidial_list SET status = 'INCALL'")
        cursor.execute("UPDATE vicidial_lists SET active = 'N'")

        assert api.find_all(where={"statuses": ["SALE"], "campaign_ids": ["SPRING"]}) == [1, 2]
    holder.close()


def test_an_account_that_may_only_read_is_sufficient(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    with account(tables) as reader:
        for table in ("vicidial_list", "vicidial_list_archive"):
            reader.grant("SELECT", table)
        reader.grant("REFERENCES", "*")
        for table in IN_USE_TABLES:
            reader.grant("SELECT", table)

        assert new_api(DATABASE_URL=reader.url).find_all(where={"list_ids": [998]}) == [1]


# --- keys with list_ids ------------------------------------------------------------------------------------------------


def test_a_key_with_lists_finds_the_leads_of_its_lists_only(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path
) -> None:
    keys_file.write_text(f"{keys_file.read_text()}list_ids = [101, 102]\n")
    api = new_api()
    tables.live(1, 2, list_id=101)
    tables.live(3, 4, list_id=999)
    tables.archived(2, list_id=999)  # it belongs to the list of its live row
    tables.archived(3, list_id=101)
    tables.archived(5, list_id=102)
    tables.archived(6, list_id=999)

    anything = {"not_statuses": ["?"]}
    assert api.find_all(where=anything) == api.find_all(where=anything, limit=1) == [1, 2]
    assert api.find_all(where=anything, **{"in": "archive"}) == [2, 5]
    assert api.find_all(where=anything, limit=1, **{"in": "archive"}) == [2, 5]
    assert api.find_all(where={"list_ids": [999]}) == []
    assert api.find_all(where={"list_ids": [101, 999]}) == [1, 2]


@pytest.mark.usefixtures("small_stretches")
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("place", ["list", "archive"])
def test_no_page_depends_on_a_lead_of_another_list(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, place: str
) -> None:
    """Wherever the caller lets it begin. Otherwise it could find out where each of them is, one after the other."""
    keys_file.write_text(f"{keys_file.read_text()}list_ids = [101]\n")
    api = new_api()
    insert = tables.live if place == "list" else tables.archived
    insert(5, 55, list_id=101)

    def pages() -> list[Any]:
        anything = {"not_statuses": ["?"]}
        return [api.find(where=anything, after_lead_id=after, limit=9, **{"in": place}).json() for after in range(100)]

    alone = pages()
    insert(*range(11, 98, 3), list_id=999)
    assert pages() == alone
    assert [page["lead_ids"] for page in alone if page["lead_ids"]] == [[5]] * 5 + [[55]] * 5


@pytest.mark.usefixtures("small_stretches")
@pytest.mark.parametrize(("table", "list_id"), [("list", 101), ("archive", 101), ("archive", 999)])
def test_no_lead_is_missed_because_others_are_inserted_meanwhile(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch, table: str, list_id: int
) -> None:
    """Others move leads after the end of the search was asked for."""
    keys_file.write_text(f"{keys_file.read_text()}list_ids = [101]\n")
    insert = tables.live if table == "list" else tables.archived
    insert(1, 2, 49, 70, list_id=101)
    end = finder._before_multiple
    inserted = list(range(10, 45))

    def then_insert(lead_id: int, number: int) -> int:
        if inserted:
            insert(*inserted, list_id=list_id)
            inserted.clear()
        return end(lead_id, number)

    monkeypatch.setattr("service.archive.finder._before_multiple", then_insert)
    api, found, after, done = new_api(), [], None, False
    while not done:
        body = {"where": {"not_statuses": ["?"]}, "in": table} | ({} if after is None else {"after_lead_id": after})
        page = api.find(**body).json()
        found += page["lead_ids"]
        after, done = page["next_after_lead_id"], page["done"]

    assert found == [1, 2, *(range(10, 45) if list_id == 101 else ()), 49, 70]
