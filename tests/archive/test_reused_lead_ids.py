"""A lead_id that Vicidial gave to another lead: the archived lead is not overwritten, unless a setting allows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.api import Api
from support.process import run_service
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

from service.database.transaction import Transaction

NewApi = Callable[..., Api]

OLD = {"entry_date": "2019-05-01 09:00:00", "phone_number": "2125550101", "first_name": "Ada"}
NEW = {"entry_date": "2024-05-01 09:00:00", "phone_number": "3105550199", "first_name": "Bob"}


def both_ways(api: Api, way: str, lead_ids: list[int]) -> dict[str, Any]:
    response = (api.archive_all if way == "archive" else api.dearchive_all)(lead_ids)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_two_leads_of_one_id_are_both_kept(tables: Tables, api: Api, way: str) -> None:
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    (tables.live if way == "archive" else tables.archived)(2, **NEW)
    before = tables.both()

    answer = both_ways(api, way, [1, 2])

    assert (answer["select_count"], answer["insert_count"], answer["delete_count"]) == (2, 1, 1)
    assert answer.get("update_count", 0) == 0
    assert answer["remaining_lead_ids"] == answer["reused_lead_ids"] == [1]
    live, archived = tables.both()
    assert (live[1], archived[1]) == (before[0][1], before[1][1])
    assert (2 in live, 2 in archived) == ((False, True) if way == "archive" else (True, False))


@pytest.mark.parametrize("flags", ["insert_leads", "update_leads", "delete_leads"])
def test_whatever_is_asked_for_it_is_named(tables: Tables, api: Api, flags: str) -> None:
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    before = tables.both()
    body = {**dict.fromkeys(("insert_leads", "update_leads", "delete_leads"), False), flags: True, "lead_ids": [1]}
    answer = api.archive(body).json()
    assert answer["reused_lead_ids"] == [1]
    assert answer["remaining_lead_ids"] == ([1] if flags == "delete_leads" else [])
    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (0, 0, 0)
    assert tables.both() == before


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("change", [{"phone_number": "9"}, {"entry_date": "2001-01-01 00:00:00"}, {"first_name": "Eve"}])
def test_a_lead_that_was_edited_is_the_same_lead(tables: Tables, api: Api, change: dict[str, str]) -> None:
    tables.live(1, **{**OLD, **change})
    tables.archived(1, **OLD)
    before, _ = tables.both()
    assert api.compare([1]).json()["leads"][0]["reused"] is False
    answer = api.archive_all([1]).json()
    assert (answer["update_count"], answer["delete_count"], answer["reused_lead_ids"]) == (1, 1, [])
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("null_in", [LIST, ARCHIVE])
def test_an_entry_date_that_is_not_known_tells_nothing(tables: Tables, api: Api, null_in: str) -> None:
    tables.live(1, **{**NEW, **({"entry_date": None} if null_in == LIST else {})})
    tables.archived(1, **{**OLD, **({"entry_date": None} if null_in == ARCHIVE else {})})
    before, _ = tables.both()
    assert api.compare([1]).json()["leads"][0]["reused"] is False
    answer = api.archive_all([1]).json()
    assert (answer["update_count"], answer["delete_count"], answer["reused_lead_ids"]) == (1, 1, [])
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("unknown", [None, "0000-00-00 00:00:00"])
@pytest.mark.parametrize("places", [(LIST,), (ARCHIVE,), (LIST, ARCHIVE)], ids="-".join)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_an_operator_may_have_leads_kept_that_may_be_two(
    tables: Tables, new_api: NewApi, unknown: str | None, places: tuple[str, ...], way: str
) -> None:
    tables.live(1, **{**NEW, **({"entry_date": unknown} if LIST in places else {})})
    tables.archived(1, **{**OLD, **({"entry_date": unknown} if ARCHIVE in places else {})})
    for lead_id, row in ((2, {**OLD, "phone_number": "9"}), (3, {**OLD, "entry_date": unknown})):
        tables.live(lead_id, **{**row, "first_name": "Eve"})
        tables.archived(lead_id, **(row if lead_id == 3 else OLD))
    tables.live(4, **{**OLD, "entry_date": NEW["entry_date"]})
    tables.archived(4, **OLD)
    before = tables.both()
    api = new_api(REUSED_LEAD_IDS="strict")
    assert [lead["reused"] for lead in api.compare([1, 2, 3, 4]).json()["leads"]] == [True, False, False, True]

    answer = both_ways(api, way, [1, 2, 3, 4])

    edited = [] if way == "archive" else [2, 3]
    assert (answer["reused_lead_ids"], answer["remaining_lead_ids"]) == ([1, 4], [1, *edited, 4])
    live, archived = before
    if way == "archive":
        assert answer["update_count"] == answer["delete_count"] == 2
        assert tables.both() == ({1: live[1], 4: live[4]}, {**live, 1: archived[1], 4: archived[4]})
    else:
        assert tables.both() == before


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("VARCHAR(30)", "Jan 5 2023", "Feb 6 2024"),
        ("VARCHAR(30)", "00/05/2023", "00/06/2024"),
        ("TIME", "10:00:00", "00:00:00"),
    ],
)
@pytest.mark.parametrize("places", [(LIST,), (ARCHIVE,), (LIST, ARCHIVE)], ids="-".join)
def test_a_date_of_a_type_of_the_site_is_known(
    tables: Tables, new_api: NewApi, kind: str, old: str, new: str, places: tuple[str, ...]
) -> None:
    """A text that begins with no digit is equal to the number 0."""
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} MODIFY entry_date {kind if table in places else 'VARCHAR(30)'}")
    tables.live(1, entry_date=new, first_name="Eve")
    tables.archived(1, entry_date=old)
    before = tables.both()
    api = new_api(REUSED_LEAD_IDS="strict")

    answer = api.archive_all([1])

    if answer.status_code == 200:
        assert answer.json()["reused_lead_ids"] == answer.json()["remaining_lead_ids"] == [1]
    else:
        assert "entry_date" in answer.json()["message"]  # columns of two types that cannot be compared
    assert tables.both() == before


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("setting", ["keep", "strict", "overwrite"])
@pytest.mark.parametrize("entry_date", [OLD["entry_date"], None])
def test_a_lead_that_only_one_table_has_is_not_two(
    tables: Tables, new_api: NewApi, setting: str, entry_date: str | None
) -> None:
    """Not before it is moved, nor when it is moved, nor in the answer to a repeat."""
    api = new_api(REUSED_LEAD_IDS=setting)
    tables.live(1, entry_date=entry_date)
    tables.archived(2, entry_date=entry_date)
    before = tables.both()

    assert [lead["reused"] for lead in api.compare([1, 2]).json()["leads"]] == [False, False]
    for way in ("dearchive", "dearchive", "archive", "archive", "dearchive"):
        answer = both_ways(api, way, [1, 2])
        assert (answer["reused_lead_ids"], answer["remaining_lead_ids"]) == ([], [])
        assert [lead["reused"] for lead in api.compare([1, 2]).json()["leads"]] == [False, False]

    assert tables.both() == ({**before[0], **before[1]}, {})


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_an_operator_may_have_them_overwritten(tables: Tables, new_api: NewApi) -> None:
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    before, _ = tables.both()
    api = new_api(REUSED_LEAD_IDS="overwrite")
    assert api.compare([1]).json()["leads"][0]["reused"] is True
    answer = api.archive_all([1]).json()
    assert (answer["update_count"], answer["delete_count"], answer["reused_lead_ids"]) == (1, 1, [])
    assert tables.both() == ({}, before)


def test_the_way_back_overwrites_nothing_whatever_is_set(tables: Tables, new_api: NewApi) -> None:
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    before = tables.both()
    answer = new_api(REUSED_LEAD_IDS="overwrite").dearchive_all([1]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 0, [1])
    assert tables.both() == before


def test_a_comparison_tells_the_two_leads_apart(tables: Tables, api: Api) -> None:
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    tables.live(2, **NEW)
    tables.archived(3, **NEW)
    before = tables.both()
    leads = api.compare([1, 2, 3, 4]).json()["leads"]
    assert [lead["reused"] for lead in leads] == [True, False, False, False]
    assert leads[0]["identical"] is False
    assert set(leads[0]["different_columns"]) == {"entry_date", "phone_number", "first_name"}
    assert tables.both() == before


@pytest.mark.parametrize(
    "alter",
    ["MODIFY phone_number BIGINT", "MODIFY entry_date TIMESTAMP NULL", "MODIFY phone_number VARCHAR(18) CHARACTER SET latin1"],
)
def test_a_lead_whose_columns_are_made_otherwise_is_told_from_another_too(tables: Tables, api: Api, alter: str) -> None:
    for table in (LIST, ARCHIVE) if "entry_date" in alter else (ARCHIVE,):
        tables.execute(f"ALTER TABLE {table} {alter}")
    tables.live(1, **NEW)
    tables.archived(1, **OLD)
    tables.live(2, **{**OLD, "first_name": "Eve"})
    tables.archived(2, **OLD)
    before = tables.both()
    answer = api.archive_all([1, 2]).json()
    assert (answer["update_count"], answer["delete_count"], answer["reused_lead_ids"]) == (1, 1, [1])
    assert tables.ids() == ([1], [1, 2])
    assert (tables.rows(LIST)[1], tables.rows(ARCHIVE)[1]) == (before[0][1], before[1][1])


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_after_a_truncate_the_next_lead_id_is_noted_and_put_right(
    tables: Tables, api: Api, environment: dict[str, str]
) -> None:
    tables.live(1, 2, 3, **OLD)
    assert api.archive_all([1, 2, 3]).json()["delete_count"] == 3
    assert api.get("/readyz").json()["notes"] == []
    tables.execute(f"TRUNCATE {LIST}")
    archived = tables.rows(ARCHIVE)

    (note,) = api.get("/readyz").json()["notes"]
    assert problems(api) == []
    assert "the next new lead of vicidial_list gets the lead_id 1, and the archive holds leads up to 3" in note["message"]
    result = run_service({**environment, "COLUMNS": "400"}, "check")
    assert result.returncode == 0
    assert re.search(r"note +tables +the next new lead of vicidial_list gets the lead_id 1", result.stdout)
    assert note["remedy"] in result.stdout

    tables.execute(note["remedy"])
    assert api.get("/readyz").json()["notes"] == []
    tables.execute(f"INSERT INTO {LIST} (phone_number, entry_date) VALUES ('3105550199', '2024-05-01 09:00:00')")
    assert tables.ids() == ([4], [1, 2, 3])
    assert tables.rows(ARCHIVE) == archived


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_lead_id_that_is_given_out_again_between_the_looks_at_the_two_tables_is_not_named(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch has not found the new lead in vicidial_list: it is none of those that stay."""
    tables.live(1)
    tables.archived(2, entry_date="2020-01-01 10:00:00", phone_number="1")
    live, archived = tables.both()
    select_each = Transaction._select_each
    inserted: list[int] = []

    async def select_and_insert(transaction: Transaction, statements: Sequence[str]) -> list[Any]:
        looks = [
            number for number, text in enumerate(statements) if "vicidial_list_archive" in text and "GROUP_CONCAT" in text
        ]
        if not looks or inserted:
            return await select_each(transaction, statements)
        before = await select_each(transaction, statements[: looks[0]])
        tables.live(2, entry_date="2024-01-01 10:00:00", phone_number="2")
        inserted.append(2)
        return before + await select_each(transaction, statements[looks[0] :])

    monkeypatch.setattr(Transaction, "_select_each", select_and_insert)

    answer = api.archive_all([1, 2]).json()

    assert inserted
    assert (answer["select_count"], answer["delete_count"]) == (1, 1)
    assert answer["reused_lead_ids"] == answer["remaining_lead_ids"] == []
    assert tables.ids() == ([2], [1, 2])
    assert tables.both()[1] == {**archived, 1: live[1]}
