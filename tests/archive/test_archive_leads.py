"""Every state that a lead can be in, with every combination of flags: the answer, and the rows of both tables."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from support.api import Api
from support.model import archive as model
from support.states import STATES, put
from support.tables import Tables

FLAGS = list(product([True, False], repeat=3))


def request_body(lead_ids: list[int], flags: tuple[bool, bool, bool]) -> dict[str, Any]:
    return dict(zip(("insert_leads", "update_leads", "delete_leads"), flags, strict=True), lead_ids=lead_ids)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("state", STATES)
def test_a_lead_in_each_state_with_each_combination_of_flags(
    tables: Tables, api: Api, state: str, flags: tuple[bool, bool, bool]
) -> None:
    put(tables, state, 4711)
    tables.live(1)  # a lead that nobody asked for, in each table
    tables.archived(2)
    body = request_body([4711], flags)
    status, answer, live, archived = model(*tables.both(), body)

    response = api.archive(body)

    assert (response.status_code, response.json()) == (status, answer)
    assert tables.both() == (live, archived)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("unknown", [False, True])
def test_a_batch_of_all_states_together(tables: Tables, api: Api, unknown: bool, flags: tuple[bool, bool, bool]) -> None:
    states = STATES if unknown else STATES[:-1]
    for lead_id, state in enumerate(states * 3):
        put(tables, state, lead_id)
    body = request_body(list(reversed(range(len(states) * 3))), flags)
    status, answer, live, archived = model(*tables.both(), body)

    response = api.archive(body)

    assert (response.status_code, response.json()) == (status, answer)
    assert tables.both() == (live, archived)


def test_a_batch_with_as_many_leads_as_the_limit_is_archived(tables: Tables, api: Api) -> None:
    lead_ids = list(range(1, 501))
    tables.live(*lead_ids)
    before, _ = tables.both()

    response = api.archive_all(lead_ids)

    assert response.json() == {
        "message": "lead_ids batch was successfully processed",
        "select_count": 500,
        "insert_count": 500,
        "update_count": 0,
        "delete_count": 500,
        "remaining_lead_ids": [],
        "reused_lead_ids": [],
        "unmatched_lead_ids": [],
    }
    assert tables.both() == ({}, before)


def test_a_batch_can_be_repeated(tables: Tables, api: Api) -> None:
    tables.live(4711, 4712)
    api.archive_all([4711, 4712])
    before = tables.both()

    response = api.archive_all([4711, 4712])

    assert response.json() == {
        "message": "lead_ids batch was successfully processed",
        "select_count": 0,
        "insert_count": 0,
        "update_count": 0,
        "delete_count": 0,
        "remaining_lead_ids": [],
        "reused_lead_ids": [],
        "unmatched_lead_ids": [],
    }
    assert tables.both() == before


def test_integers_may_be_written_with_a_fraction_of_zero(tables: Tables, api: Api) -> None:
    tables.live(1, 100)

    response = api.post('{"insert_leads":true,"update_leads":true,"delete_leads":true,"lead_ids":[1.0,1e2]}')

    assert response.json()["delete_count"] == 2
    assert tables.ids() == ([], [1, 100])


def test_the_largest_lead_id_there_is(tables: Tables, api: Api) -> None:
    tables.live(4294967295)

    assert api.archive_all([4294967295]).json()["delete_count"] == 1
    assert tables.ids() == ([], [4294967295])


def test_a_sites_own_columns_are_copied_and_compared(tables: Tables, api: Api) -> None:
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN `loyalty ``tier` VARCHAR(10) AFTER lead_id")
    tables.live(1, 2, **{"loyalty `tier": "gold"})
    tables.archived(2, **{"loyalty `tier": "silver"})
    live, archived = tables.both()

    response = api.archive({**api.ALL, "update_leads": False, "lead_ids": [1, 2]})

    assert response.json()["delete_count"] == 1
    assert response.json()["remaining_lead_ids"] == [2]
    assert tables.both() == ({2: live[2]}, {1: live[1], 2: archived[2]})


def test_columns_may_stand_in_another_order_and_in_another_case(tables: Tables, api: Api) -> None:
    tables.execute("ALTER TABLE vicidial_list_archive CHANGE first_name FIRST_NAME VARCHAR(30) AFTER lead_id")
    tables.live(1, first_name="Ada", last_name="Lovelace")

    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.execute("SELECT lead_id, FIRST_NAME, last_name FROM vicidial_list_archive") == [(b"1", b"Ada", b"Lovelace")]
