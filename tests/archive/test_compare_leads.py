"""The compare endpoint: where leads are, in which columns they differ, who uses them. It changes and locks nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support.api import Api
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


def lead(lead_id: int, **facts: Any) -> dict[str, Any]:
    """Return the expected comparison of a lead: in neither table, unless these fields are replaced."""
    nowhere = {"in_list": False, "in_archive": False, "identical": False, "different_columns": [], "reused": False}
    return {"lead_id": lead_id, **nowhere, "used_by": [], **facts, "in_use": bool(facts.get("used_by"))}


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_lead_in_each_state(tables: Tables, api: Api) -> None:
    tables.live(0, 2, 3, 4)
    tables.archived(1, 2)
    tables.archived(3, status="new", comments="x", modify_date="2020-01-01 00:00:00")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (4), (4)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (4, 'TFHCCL'), (1, 'ACTIVE')")
    before = tables.both()

    response = api.compare([4, 5, 3, 2, 1, 0])

    assert response.status_code == 200
    assert response.json() == {
        "message": "leads were compared",
        "leads": [
            lead(4, in_list=True, used_by=["vicidial_callbacks.lead_id", "vicidial_hopper.lead_id"]),
            lead(5),
            lead(3, in_list=True, in_archive=True, different_columns=["modify_date", "status", "comments"]),
            lead(2, in_list=True, in_archive=True, identical=True),
            lead(1, in_archive=True),
            lead(0, in_list=True),
        ],
    }
    assert tables.both() == before


@pytest.mark.parametrize(
    ("column", "live", "archived"),
    [("status", None, ""), ("first_name", "josé", "JOSE"), ("comments", "trail", "trail "), ("called_count", None, 0)],
)
def test_it_is_as_exact_as_the_delete(tables: Tables, api: Api, column: str, live: Any, archived: Any) -> None:
    tables.live(1, **{column: live})
    tables.archived(1, **{column: archived})

    assert api.compare([1]).json()["leads"][0]["different_columns"] == [column]
    assert api.archive({**api.ALL, "update_leads": False, "lead_ids": [1]}).json()["remaining_lead_ids"] == [1]
    assert tables.ids() == ([1], [1])


@pytest.mark.parametrize("leads_in_use", ["keep", "ignore"])
def test_it_says_what_archiving_then_does(tables: Tables, new_api: Callable[..., Api], leads_in_use: str) -> None:
    tables.live(*range(1, 13))
    tables.archived(1, 2, 3)
    tables.archived(4, 5, 6, status="NEW")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (1), (4), (7)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (8, 'ACTIVE'), (9, 'INACTIVE')")
    api = new_api(LEADS_IN_USE=leads_in_use)

    leads = api.compare(list(range(1, 13))).json()["leads"]
    answer = api.archive_all(list(range(1, 13))).json()

    assert answer["select_count"] == sum(lead["in_list"] for lead in leads)
    assert answer["insert_count"] == sum(not lead["in_use"] and not lead["in_archive"] for lead in leads)
    assert answer["update_count"] == sum(not lead["in_use"] and bool(lead["different_columns"]) for lead in leads)
    assert answer["delete_count"] == sum(lead["in_list"] and not lead["in_use"] for lead in leads)
    assert answer["remaining_lead_ids"] == [lead["lead_id"] for lead in leads if lead["in_use"]]
    assert answer["remaining_lead_ids"] == ([1, 4, 7, 8] if leads_in_use == "keep" else [])
    assert tables.ids()[0] == answer["remaining_lead_ids"]


def test_a_sites_own_column_with_an_odd_name(tables: Tables, api: Api) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN `Größe, ``x'` VARCHAR(10)")
    tables.live(1, **{"Größe, `x'": "gold"})
    tables.archived(1)

    assert api.compare([1]).json()["leads"][0]["different_columns"] == ["Größe, `x'"]


def test_no_lead_data_is_told(tables: Tables, api: Api) -> None:
    tables.live(1, comments="a secret", phone_number="2125550199")
    tables.archived(1, comments="another secret")

    text = api.compare([1]).text

    assert "comments" in text
    assert "secret" not in text
    assert "2125550199" not in text


def test_it_waits_for_no_lock_and_takes_none(tables: Tables, api: Api) -> None:
    """The comparison does not wait for uncommitted writes to the rows."""
    tables.live(1)
    tables.archived(1)
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with dialler.cursor() as cursor:
        for table in (LIST, ARCHIVE):
            cursor.execute(f"UPDATE {table} SET status = 'BUSY' WHERE lead_id = 1")
        assert api.compare([1]).json()["leads"] == [lead(1, in_list=True, in_archive=True, identical=True)]
        cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_id <> 0 AND trx_state = 'LOCK WAIT'")
        assert cursor.fetchall() == ((0,),)
        dialler.rollback()
    dialler.close()


def test_it_works_at_any_time(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    hours = {"OFFICE_HOURS": "Mon 08:00-17:00", "DEARCHIVE_OFFICE_HOURS": "Mon 08:00-17:00"}
    api = new_api(lambda: datetime(2025, 6, 2, 12, tzinfo=UTC), **hours, OFFICE_HOURS_TIMEZONE="UTC")

    assert api.archive_all([1]).status_code == 403
    assert api.compare([1]).json()["leads"] == [lead(1, in_list=True)]
    assert tables.ids() == ([1], [])


def test_a_table_that_tells_of_leads_in_use_goes_away(tables: Tables, api: Api) -> None:
    tables.live(1)
    assert api.compare([1]).status_code == 200
    tables.execute("DROP TABLE vicidial_hopper")

    assert [api.compare([1]).status_code for _ in range(2)] == [200, 200]
    assert tables.ids() == ([1], [])


@pytest.mark.parametrize("path", ["/vicidial/leads/compare", "/vicidial/leads/dearchive"])
@pytest.mark.parametrize(
    ("lead_ids", "message", "values"),
    [
        ("[]", "lead_ids must contain atleast 1 value", []),
        ('"1"', "lead_ids must be an array of integer values", []),
        ('["1"]', "lead_ids must only contain integer values", ["1"]),
        ("[-1]", "lead_ids must only contain integer values from 0 to 4294967295", [-1]),
        ("[1, 1.0]", "lead_ids cannot contain duplicate values", [1]),
        (str(list(range(501))), "lead_ids cannot exceed 500 values", []),
    ],
)
def test_what_is_wrong_is_told_as_for_the_archive(
    tables: Tables, api: Api, path: str, lead_ids: str, message: str, values: list[Any]
) -> None:
    tables.archived(1)
    flags = '"insert_leads": true, "delete_leads": true, ' if "dearchive" in path else ""

    response = api.post(f'{{{flags}"lead_ids": {lead_ids}}}', path)

    assert response.status_code == 400
    assert response.json() == {"message": message, "lead_errors": len(values), "lead_ids": values}
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/vicidial/leads/compare", "lead_ids"), ("/vicidial/leads/dearchive", "insert_leads, delete_leads, lead_ids, where")],
)
def test_fields_of_the_archive_are_unknown(tables: Tables, api: Api, path: str, fields: str) -> None:
    tables.archived(1)

    response = api.post('{"insert_leads": true, "delete_leads": true, "update_leads": true, "lead_ids": [1]}', path)

    assert response.status_code == 400
    assert response.json()["message"].endswith(f"; the fields are {fields}")
    assert tables.ids() == ([], [1])
