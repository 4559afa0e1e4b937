"""A row that the database refuses to copy or to delete stays, and is named; all others go; every count is what happened."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.auditor import read
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Row, Tables

from service.archive import failures
from service.archive.chunks import Chunks

PAIRS = list(product(["InnoDB", "MyISAM", "Aria"], repeat=2))
WITHOUT_ROLLBACK = [("MyISAM", "MyISAM"), ("Aria", "Aria"), ("MyISAM", "InnoDB"), ("InnoDB", "MyISAM")]
LEADS = list(range(1, 22))
BAD = {4, 5, 17}


@pytest.fixture
def pair(tables: Tables, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The engines of the two tables."""
    pair: tuple[str, str] = request.param
    tables.set_engines(*pair)
    return pair


def refuse(tables: Tables, event: str, table: str, bad: set[int] | None = None, how: str = "SIGNAL SQLSTATE '45000'") -> None:
    """Have a trigger refuse some leads, all if none are given."""
    row = "OLD" if "DELETE" in event else "NEW"
    condition = f"{row}.lead_id IN ({', '.join(map(str, sorted(bad)))})" if bad else "TRUE"
    tables.execute(f"CREATE TRIGGER refuse {event} ON {table} FOR EACH ROW IF {condition} THEN {how}; END IF")


def only(rows: dict[int, Row], lead_ids: Any) -> dict[int, Row]:
    return {lead_id: rows[lead_id] for lead_id in lead_ids}


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_leads_that_a_trigger_keeps_in_the_list(tables: Tables, api: Api) -> None:
    tables.live(*LEADS)
    tables.archived(1, 4)
    before, _ = tables.both()
    refuse(tables, "BEFORE DELETE", LIST, BAD)
    assert problems(api) == []

    for copied in (len(LEADS) - 2, 0):
        answer = api.archive_all(LEADS if copied else sorted(BAD)).json()
        assert (answer["insert_count"], answer["update_count"]) == (copied, 0)
        assert answer["delete_count"] == (len(LEADS) - len(BAD) if copied else 0)
        assert answer["remaining_lead_ids"] == sorted(BAD)
        assert tables.both() == (only(before, sorted(BAD)), before)


@pytest.mark.parametrize("event", ["BEFORE INSERT", "AFTER INSERT"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
def test_leads_that_a_trigger_keeps_out_of_the_archive(tables: Tables, api: Api, pair: tuple[str, str], event: str) -> None:
    tables.live(*LEADS)
    before, _ = tables.both()
    refuse(tables, event, ARCHIVE, BAD)

    answer = api.archive_all(LEADS).json()

    live, archived = tables.both()
    assert live | archived == before
    assert answer["insert_count"] == len(archived)
    assert answer["delete_count"] == len(LEADS) - len(live)
    assert answer["remaining_lead_ids"] == list(live)
    if event == "BEFORE INSERT" or pair[1] == "InnoDB":
        assert (sorted(live), sorted(archived)) == (sorted(BAD), sorted({*LEADS} - BAD))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_copies_that_a_trigger_keeps_as_they_are(tables: Tables, api: Api) -> None:
    tables.live(*LEADS)
    tables.archived(*LEADS[:18], status="NEW")
    before, stale = tables.both()
    refuse(tables, "BEFORE UPDATE", ARCHIVE, BAD)

    answer = api.archive_all(LEADS).json()

    assert (answer["insert_count"], answer["update_count"]) == (3, 15)
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (len(LEADS) - len(BAD), sorted(BAD))
    assert tables.both() == (only(before, sorted(BAD)), {**before, **only(stale, BAD)})


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_leads_that_a_trigger_keeps_out_of_the_list(tables: Tables, api: Api) -> None:
    tables.archived(*LEADS)
    _, before = tables.both()
    refuse(tables, "BEFORE INSERT", LIST, BAD)

    answer = api.dearchive_all(LEADS).json()

    assert (answer["insert_count"], answer["delete_count"]) == (len(LEADS) - len(BAD),) * 2
    assert answer["remaining_lead_ids"] == sorted(BAD)
    assert tables.both() == (only(before, sorted({*LEADS} - BAD)), only(before, sorted(BAD)))


@pytest.mark.parametrize(
    "pair", [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("InnoDB", "MyISAM")], ids="-".join, indirect=True
)
@pytest.mark.parametrize(
    ("event", "table"),
    [("BEFORE DELETE", LIST), ("BEFORE INSERT", ARCHIVE), ("BEFORE UPDATE", ARCHIVE)],
    ids=str,
)
@pytest.mark.usefixtures("pair")
def test_a_trigger_that_refuses_every_lead(tables: Tables, api: Api, event: str, table: str) -> None:
    tables.live(*LEADS)
    tables.archived(1, 2, 3, status="NEW")
    before, stale = tables.both()
    refuse(tables, event, table)

    answer = api.archive_all(LEADS).json()

    kept = {"BEFORE DELETE": LEADS, "BEFORE INSERT": LEADS[3:], "BEFORE UPDATE": LEADS[:3]}[event]
    copied = {"BEFORE DELETE": before, "BEFORE INSERT": only(before, LEADS[:3])}.get(event, {**before, **stale})
    counts = {"BEFORE DELETE": (18, 3), "BEFORE INSERT": (0, 3), "BEFORE UPDATE": (18, 0)}[event]
    assert (answer["insert_count"], answer["update_count"]) == counts
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (len(LEADS) - len(kept), kept)
    assert tables.both() == (only(before, kept), copied)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_lead_id_that_is_shown_with_zeros_is_the_same_number(
    tables: Tables, new_api: Callable[..., Api], path: Path
) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} MODIFY lead_id INT(9) UNSIGNED ZEROFILL NOT NULL")
    tables.live(*LEADS)
    refuse(tables, "BEFORE DELETE", LIST, BAD)
    gone = [lead_id for lead_id in LEADS if lead_id not in BAD]
    api = new_api(AUDIT_LOG=str(path))

    answer = api.archive_all(LEADS).json()

    assert (answer["insert_count"], answer["delete_count"]) == (len(LEADS), len(gone))
    assert answer["remaining_lead_ids"] == sorted(BAD)
    assert tables.ids() == (sorted(BAD), LEADS)
    assert read(path)[-1]["deleted_lead_ids"] == gone


def copies_but(bad: set[int], event: str, before: dict[int, Row], stale: dict[int, Row]) -> dict[int, Row]:
    """Return what the archive holds when a trigger has refused some leads. stale: the copies that it had."""
    copies = {lead_id: row for lead_id, row in before.items() if event == "BEFORE DELETE" or lead_id not in bad}
    return copies | (only(stale, bad) if event == "BEFORE UPDATE" else {})


REFUSALS = {
    "BEFORE DELETE": (LIST, (18, 3, 18)),
    "BEFORE INSERT": (ARCHIVE, (15, 3, 18)),
    "AFTER INSERT": (ARCHIVE, (15, 3, 18)),
    "BEFORE UPDATE": (ARCHIVE, (18, 2, 20)),
}
"""The events of triggers on a table that refuse the leads of BAD, and how many leads are inserted, updated and deleted."""


@pytest.mark.usefixtures("shortest_search")
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("event", REFUSALS)
def test_a_batch_does_not_keep_its_leads_locked_while_it_looks_for_those_that_are_refused(
    tables: Tables, new_api: Callable[..., Api], path: Path, event: str, pace: str
) -> None:
    table, counts = REFUSALS[event]
    bad = {2} if event == "BEFORE UPDATE" else BAD
    tables.live(*LEADS)
    tables.archived(1, 2, 3, status="NEW")
    before, stale = tables.both()
    refuse(tables, event, table, bad)
    api = new_api(PACE=pace, AUDIT_LOG=str(path))
    rollbacks = tables.rollbacks()

    with capture_logs() as lines:
        answer = api.archive_all(LEADS).json()

    assert tables.rollbacks() - rollbacks == len(bad)
    assert tuple(answer[f"{step}_count"] for step in ("insert", "update", "delete")) == counts
    assert answer["remaining_lead_ids"] == sorted(bad)
    assert tables.both() == (only(before, sorted(bad)), copies_but(bad, event, before, stale))
    assert [line["lead_id"] for line in lines if line["event"] == "lead left alone"] == sorted(bad)
    records = read(path)
    assert [record["event"] for record in records] == [*["intent"] * (1 + len(bad)), "outcome"]
    assert records[-1]["deleted_lead_ids"] == [lead_id for lead_id in LEADS if lead_id not in bad]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each attempt at a chunk has come to its end."""
    attempts: list[bool] = []
    attempt = Chunks._try

    async def noted(self: Chunks, *args: Any, **kwargs: Any) -> bool:
        attempts.append(await attempt(self, *args, **kwargs))
        return attempts[-1]

    monkeypatch.setattr(Chunks, "_try", noted)
    return attempts


@pytest.mark.usefixtures("shortest_search")
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("event", REFUSALS)
@pytest.mark.parametrize("pair", WITHOUT_ROLLBACK, ids="-".join, indirect=True)
def test_a_chunk_does_not_keep_its_tables_while_it_looks_for_leads_that_are_refused(
    tables: Tables, new_api: Callable[..., Api], path: Path, attempts: list[bool], pair: tuple[str, str], event: str, pace: str
) -> None:
    table, counts = REFUSALS[event]
    bad = {2} if event == "BEFORE UPDATE" else BAD
    tables.live(*LEADS)
    tables.archived(1, 2, 3, status="NEW")
    before, stale = tables.both()
    refuse(tables, event, table, bad)
    api = new_api(PACE=pace, AUDIT_LOG=str(path))

    with capture_logs() as lines:
        answer = api.archive_all(LEADS).json()

    # If the archive cannot roll back, a row that an AFTER trigger refuses is there nevertheless.
    is_refused = event != "AFTER INSERT" or pair[1] == "InnoDB"
    bad, counts = (bad, counts) if is_refused else (set(), (18, 3, 21))
    assert attempts == [*[False] * len(bad), True]
    assert tuple(answer[f"{step}_count"] for step in ("insert", "update", "delete")) == counts
    kept = sorted(bad)
    assert answer["remaining_lead_ids"] == kept
    assert tables.both() == (only(before, kept), copies_but(bad, event, before, stale))
    assert [line["lead_id"] for line in lines if line["event"] == "lead left alone"] == kept
    assert read(path)[-1]["deleted_lead_ids"] == [lead_id for lead_id in LEADS if lead_id not in bad]


@pytest.mark.usefixtures("shortest_search", "pair")
@pytest.mark.parametrize("event", ["BEFORE INSERT", "BEFORE DELETE"])
@pytest.mark.parametrize("pair", WITHOUT_ROLLBACK, ids="-".join, indirect=True)
def test_a_chunk_on_its_way_back_does_not_keep_its_tables(tables: Tables, api: Api, attempts: list[bool], event: str) -> None:
    tables.archived(*LEADS)
    _, before = tables.both()
    refuse(tables, event, LIST if event == "BEFORE INSERT" else ARCHIVE, BAD)

    answer = api.dearchive_all(LEADS).json()

    assert attempts == [*[False] * len(BAD), True]
    inserted = [lead_id for lead_id in LEADS if event == "BEFORE DELETE" or lead_id not in BAD]
    assert (answer["insert_count"], answer["delete_count"]) == (len(inserted), len(LEADS) - len(BAD))
    assert answer["remaining_lead_ids"] == sorted(BAD)
    assert tables.both() == (only(before, inserted), only(before, sorted(BAD)))


@pytest.mark.usefixtures("shortest_search", "pair")
@pytest.mark.parametrize("pair", WITHOUT_ROLLBACK, ids="-".join, indirect=True)
def test_a_batch_that_begins_again_after_each_lead_knows_if_one_reason_keeps_all_of_them(
    tables: Tables, api: Api, attempts: list[bool]
) -> None:
    tables.live(1, 2, 3)
    before = tables.both()
    refuse(tables, "BEFORE INSERT", ARCHIVE, how="SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1227")

    assert api.archive_all([1, 2, 3]).status_code == 503
    # Twice, since nothing can have been changed yet: the batch looks once more whether it is still so.
    assert attempts == [False, False] * 2
    assert tables.both() == before


@pytest.mark.usefixtures("shortest_search")
@pytest.mark.parametrize("bad", [BAD, set(LEADS)], ids=["some", "all"])
@pytest.mark.parametrize("event", ["BEFORE INSERT", "BEFORE DELETE"])
def test_leads_that_are_refused_on_their_way_back_are_not_kept_locked(
    tables: Tables, api: Api, event: str, bad: set[int]
) -> None:
    tables.archived(*LEADS)
    _, before = tables.both()
    refuse(tables, event, LIST if event == "BEFORE INSERT" else ARCHIVE, bad)
    rollbacks = tables.rollbacks()

    answer = api.dearchive_all(LEADS).json()

    assert tables.rollbacks() - rollbacks == len(bad)
    inserted = [lead_id for lead_id in LEADS if event == "BEFORE DELETE" or lead_id not in bad]
    assert (answer["insert_count"], answer["delete_count"]) == (len(inserted), len(LEADS) - len(bad))
    assert answer["remaining_lead_ids"] == sorted(bad)
    assert tables.both() == (only(before, inserted), only(before, sorted(bad)))


@pytest.mark.usefixtures("shortest_search")
def test_a_search_may_last_as_long_as_a_part_of_all_searches_before(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a batch with thousands of such leads would begin again and again until its time is over."""
    monkeypatch.setattr(failures, "MOST_SEARCHES", 0.000_001)
    tables.live(*LEADS)
    before, _ = tables.both()
    refuse(tables, "BEFORE DELETE", LIST, BAD)
    rollbacks = tables.rollbacks()

    answer = api.archive_all(LEADS).json()

    assert tables.rollbacks() - rollbacks == 1  # only the first search had to be over at once
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (len(LEADS) - len(BAD), sorted(BAD))
    assert tables.both() == (only(before, sorted(BAD)), before)


@pytest.mark.parametrize(
    "how",
    [
        "UPDATE vicidial_list_archive SET status = 'X'",  # the statement reads it: error 1442
        "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 9999",
        "CALL not_there()",
        "INSERT INTO one VALUES (1)",
    ],
)
def test_whatever_the_error_of_a_row_is_the_others_go(tables: Tables, api: Api, how: str) -> None:
    tables.execute("CREATE TABLE one (number INT PRIMARY KEY)")
    tables.execute("INSERT INTO one VALUES (1)")
    tables.live(*LEADS)
    before, _ = tables.both()
    refuse(tables, "BEFORE DELETE", LIST, BAD, how)

    response = api.archive_all(LEADS)

    answer = response.json()
    live, archived = tables.both()
    assert live | archived == before
    assert (response.status_code, answer.get("remaining_lead_ids")) == (200, sorted(BAD)), answer
    assert (answer["insert_count"], answer["delete_count"]) == (len(LEADS), len(LEADS) - len(BAD))
    assert (sorted(live), sorted(archived)) == (sorted(BAD), LEADS)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_check_of_the_archive_keeps_a_lead_where_it_is(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD CHECK (status <> 'BAD')")
    tables.live(*LEADS)
    tables.execute(f"UPDATE {LIST} SET status = 'BAD', modify_date = modify_date WHERE lead_id IN (4, 5, 17)")
    tables.archived(4, 6, status="NEW")
    before, stale = tables.both()

    answer = api.archive_all(LEADS).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (17, 1, 18)
    assert answer["remaining_lead_ids"] == sorted(BAD)
    assert tables.both() == (only(before, sorted(BAD)), {**only(before, sorted({*LEADS} - BAD)), 4: stale[4]})


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_hundreds_of_leads_of_which_every_third_is_refused(tables: Tables, api: Api) -> None:
    leads = list(range(1, 301))
    tables.live(*leads)
    before, _ = tables.both()
    tables.execute(
        f"CREATE TRIGGER refuse BEFORE DELETE ON {LIST} FOR EACH ROW"
        " IF OLD.lead_id % 3 = 0 THEN SIGNAL SQLSTATE '45000'; END IF"
    )

    answer = api.archive_all(leads).json()

    kept = leads[2::3]
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (300, 200, kept)
    assert tables.both() == (only(before, kept), before)


def test_a_trigger_that_uses_a_table_that_is_not_there(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    refuse(tables, "BEFORE DELETE", LIST, {2}, "INSERT INTO not_there VALUES (1)")

    answer = api.archive_all([1, 2]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 1, [2])
    assert tables.both() == ({2: before[2]}, before)
    tables.execute("DROP TRIGGER refuse")
    assert api.archive_all([1, 2]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)


def test_a_lead_that_is_too_large_for_a_row_of_the_archive_stays(tables: Tables, api: Api) -> None:
    """An older row format keeps 768 bytes of each text in the row. MariaDB refuses such a lead, even if it is the only one."""
    columns = ", ".join(f"ADD COLUMN text_{number} TEXT" for number in range(20))
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} {columns}")
    tables.execute(f"SET STATEMENT innodb_strict_mode = 0 FOR ALTER TABLE {ARCHIVE} ROW_FORMAT = COMPACT")
    tables.live(1, **{f"text_{number}": "x" * 5000 for number in range(20)})
    tables.live(2)
    before, _ = tables.both()

    for lead_ids, remaining in (([1], [1]), ([1, 2], [1])):
        response = api.archive_all(lead_ids)
        assert (response.status_code, response.json()["remaining_lead_ids"]) == (200, remaining)

    assert tables.both() == ({1: before[1]}, {2: before[2]})


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize(
    "code", ["SET SESSION time_zone = OLD.address1", "DO EXTRACTVALUE('<a>', CONCAT('/[', OLD.address1))"]
)
def test_an_error_of_a_trigger_brings_no_lead_data_into_the_log(tables: Tables, api: Api, code: str) -> None:
    tables.live(1, address1="12 Zebra Road")
    before = tables.both()
    refuse(tables, "BEFORE DELETE", LIST, how=code)

    with capture_logs() as lines:
        response = api.archive_all([1])

    assert response.status_code == 503
    assert "Zebra" not in response.text + str(lines) + api.get("/readyz").text
    (line,) = [line for line in lines if line["event"] == "database error"]
    assert str(line["code"]) in line["error"]
    assert tables.rows(LIST) == before[0]
