"""Dearchiving: every state that a lead can be in. A dearchived lead equals the lead that was archived."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import product

import pytest
from support.api import Api
from support.model import dearchive as model
from support.states import STATES, put
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"
FLAGS = list(product([True, False], repeat=2))
ENGINES = [(one, other) for one in ("InnoDB", "MyISAM", "Aria") for other in ("InnoDB", "MyISAM", "Aria")]
MONDAY_NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("engines", [("InnoDB", "InnoDB"), ("MyISAM", "InnoDB"), ("InnoDB", "MyISAM")], ids="-".join)
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_leads_in_each_state_with_each_combination_of_flags(
    tables: Tables, api: Api, flags: tuple[bool, bool], engines: tuple[str, str]
) -> None:
    tables.set_engines(*engines)
    for lead_id, state in enumerate(STATES[:-1] * 2):
        put(tables, state, lead_id)
    asked = [7, *range(6)]  # 6 is a lead that nobody asked for
    body = dict(zip(("insert_leads", "delete_leads"), flags, strict=True), lead_ids=asked)
    status, answer, live, archived = model(*tables.both(), body)

    response = api.dearchive(body)

    assert (response.status_code, response.json()) == (status, answer)
    assert tables.both() == (live, archived)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_an_unknown_lead_fails_the_whole_batch(tables: Tables, api: Api, flags: tuple[bool, bool]) -> None:
    tables.archived(1)
    tables.live(2)
    before = tables.both()

    response = api.dearchive({"insert_leads": flags[0], "delete_leads": flags[1], "lead_ids": [1, 2, 3]})

    assert response.status_code == 404
    assert response.json() == {"message": "lead_ids does not exist", "lead_errors": 1, "lead_ids": [3]}
    assert tables.both() == before


@pytest.mark.parametrize("engines", ENGINES, ids="-".join)
def test_a_lead_that_is_archived_and_comes_back_is_the_lead_that_it_was(
    tables: Tables, api: Api, engines: tuple[str, str]
) -> None:
    tables.set_engines(*engines)
    lead_ids = [0, 1, 4711, 4294967295]
    tables.live(*lead_ids, modify_date="2011-11-11 11:11:11")
    before, _ = tables.both()

    assert api.archive_all(lead_ids).json()["delete_count"] == 4
    assert tables.both() == ({}, before)
    answer = api.dearchive_all(lead_ids).json()

    assert (answer["select_count"], answer["insert_count"], answer["delete_count"]) == (4, 4, 4)
    assert answer["remaining_lead_ids"] == []
    assert tables.both() == (before, {})


def test_a_batch_can_be_repeated(tables: Tables, api: Api) -> None:
    tables.archived(1, 2)
    api.dearchive_all([1, 2])
    before = tables.both()

    answer = api.dearchive_all([1, 2]).json()

    assert (answer["select_count"], answer["insert_count"], answer["delete_count"]) == (0, 0, 0)
    assert tables.both() == before


def test_a_lead_that_was_changed_since_keeps_both_rows(tables: Tables, api: Api) -> None:
    tables.live(1, status="NEW")
    tables.archived(1, status="SALE")
    before = tables.both()

    assert api.dearchive_all([1]).json()["remaining_lead_ids"] == [1]
    assert tables.both() == before


def test_a_column_that_vicidial_list_lacks(tables: Tables, api: Api) -> None:
    """Its values would be lost if the lead were dearchived. Archiving still works."""
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN archived_by VARCHAR(20) DEFAULT 'nobody'")
    tables.archived(1)
    tables.live(2)
    before = tables.both()

    response = api.dearchive_all([1])

    assert response.status_code == 503
    assert "vicidial_list lacks the column archived_by; no lead was deleted" in response.json()["message"]
    assert tables.both() == before
    (problem,) = api.get("/readyz").json()["problems"]
    assert problem["operations"] == ["dearchive"]
    assert api.archive_all([2]).json()["delete_count"] == 1


def test_a_column_that_the_archive_lacks(tables: Tables, api: Api) -> None:
    tables.archived(1)
    (row,) = tables.rows(ARCHIVE).values()
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN tier INT NOT NULL DEFAULT 7")

    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({1: (*row, b"7")}, {})


def test_a_value_that_does_not_fit_stays_in_the_archive(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} MODIFY comments VARCHAR(5)")
    tables.archived(1, comments="more than five")
    tables.archived(2, comments="five")
    _, archived = tables.both()

    assert api.dearchive_all([1, 2]).json()["remaining_lead_ids"] == [1]
    # A damaged copy would be dialled, and the next archiving would write it over the archived row.
    assert tables.both() == ({2: archived[2]}, {1: archived[1]})


def test_it_works_at_any_time(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.archived(1)
    api = new_api(lambda: MONDAY_NOON, OFFICE_HOURS="Mon 08:00-17:00", OFFICE_HOURS_TIMEZONE="UTC")

    assert api.archive_all([1]).status_code == 403
    assert api.dearchive_all([1]).status_code == 200
    assert tables.ids() == ([1], [])


def test_it_has_office_hours_of_its_own(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.archived(1)
    api = new_api(
        lambda: MONDAY_NOON, OFFICE_HOURS="none", DEARCHIVE_OFFICE_HOURS="Mon 08:00-17:00", OFFICE_HOURS_TIMEZONE="UTC"
    )

    response = api.dearchive_all([1])

    assert response.status_code == 403
    assert response.json()["message"] == "api cannot be executed during office hours time condition"
    assert response.headers["Retry-After"] == str(5 * 3600)
    assert tables.ids() == ([], [1])
    assert api.archive_all([1]).status_code == 200


def test_new_leads_can_be_inserted_while_a_batch_waits_for_a_row(tables: Tables, new_api: Callable[..., Api]) -> None:
    """An INSERT ... SELECT that waits would keep the lock with which InnoDB gives out each lead_id."""
    tables.archived(1, 2, 500)
    _, before = tables.both()
    api = new_api(REQUEST_TIMEOUT="30")
    longest = 0.0
    with (
        ThreadPoolExecutor(1) as client,
        tables.mariadb.connect(tables.database, autocommit=False) as other,
        tables.mariadb.connect(tables.database) as dialler,
        dialler.cursor() as cursor,
    ):
        other.cursor().execute("INSERT INTO vicidial_list (lead_id, phone_number) VALUES (2, '')")
        answer = client.submit(api.dearchive_all, [1, 2, 500])
        end = time.monotonic() + 3
        while time.monotonic() < end:
            began = time.monotonic()
            cursor.execute("INSERT INTO vicidial_list (phone_number) VALUES ('')")
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.02)
        assert not answer.done()
        other.rollback()

    assert (answer.result().status_code, answer.result().json()["insert_count"]) == (200, 3)
    assert longest < 0.5
    live, archived = tables.both()
    assert ({lead_id: live[lead_id] for lead_id in before}, archived) == (before, {})


def test_a_batch_is_inserted_with_several_statements(tables: Tables, new_api: Callable[..., Api]) -> None:
    lead_ids = list(range(1, 1_202))
    tables.archived(*lead_ids)
    _, before = tables.both()
    tables.execute(
        "CREATE TRIGGER damage BEFORE INSERT ON vicidial_list FOR EACH ROW"
        " IF NEW.lead_id IN (1, 777, 1201) THEN SET NEW.comments = 'damaged'; END IF"
    )
    answer = new_api(LEAD_IDS_LIMIT="2000").dearchive_all(lead_ids).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (1_198, 1_198, [1, 777, 1201])
    kept = {lead_id: before.pop(lead_id) for lead_id in (1, 777, 1201)}
    assert tables.both() == (before, kept)
