"""Leads that the target does not take, and IGNORE leaves out: they stay, the answer names them, and the log says why."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

from service.archive.row_changes import Changes, Run
from service.tables.definitions import TablePair


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM", "Aria"], indirect=True)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize(
    ("code", "alter"),
    [
        (1062, "ADD UNIQUE KEY of_vendor (vendor_lead_code)"),
        (4025, "ADD CONSTRAINT codes CHECK (vendor_lead_code <> 'taken' OR first_name = 'Nine')"),
        (1526, "PARTITION BY LIST (lead_id) (PARTITION few VALUES IN (1, 3, 9))"),
    ],
)
def test_the_log_says_why_a_lead_is_left_out(tables: Tables, api: Api, way: str, code: int, alter: str) -> None:
    source, target = (LIST, ARCHIVE) if way == "archive" else (ARCHIVE, LIST)
    tables.insert(source, 1, vendor_lead_code="free")
    tables.insert(source, 2, vendor_lead_code="taken")
    tables.insert(source, 3, vendor_lead_code="own")
    for table in (LIST, ARCHIVE):
        tables.insert(table, 9, vendor_lead_code="taken", first_name="Nine")  # its copy is there: nothing to tell
    before = {table: tables.rows(table) for table in (LIST, ARCHIVE)}
    tables.execute(f"ALTER TABLE {target} {alter}")
    assert problems(api) == []

    with capture_logs() as lines:
        answer = (api.archive_all if way == "archive" else api.dearchive_all)([1, 2, 3, 9]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 3, [2])
    assert tables.rows(source) == {2: before[source][2]}
    assert tables.rows(target) == {**before[target], **{number: before[source][number] for number in (1, 3)}}
    statement = "insert_leads" if way == "archive" else "insert_whole_leads"
    (line,) = [line for line in lines if line["event"] == "leads left out"]
    assert (line["statement"], line["codes"], line["lead_ids"], line["log_level"]) == (statement, [code], [2], "warning")
    assert "taken" not in str(lines)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_copy_that_came_meanwhile_is_no_reason(tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    filled = Changes._filled

    def fill(changes: Changes, pair: TablePair, run: Run, *others: Any) -> str:
        if run.statement.name == "insert_leads":
            tables.archived(2)
        return filled(changes, pair, run, *others)

    monkeypatch.setattr(Changes, "_filled", fill)
    with capture_logs() as lines:
        answer = api.archive_all([1, 2]).json()

    assert (answer["insert_count"], answer["delete_count"]) == (1, 2)
    assert tables.both() == ({}, before)
    assert "leads left out" not in {line["event"] for line in lines}


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize("delete", [True, False], ids=["delete", "insert only"])
def test_a_connection_that_is_lost_before_the_warnings_is_told_as_such(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, way: str, delete: bool
) -> None:
    """The answer says whether anything may have been changed, and the log has the error of the database."""
    (tables.live if way == "archive" else tables.archived)(1, 2)
    before = tables.both()
    monkeypatch.setattr("service.database.transaction.WARNINGS", "KILL CONNECTION_ID()")
    body = {"insert_leads": True, "delete_leads": delete, "lead_ids": [1, 2]}

    with capture_logs() as lines:
        response = api.archive({**body, "update_leads": False}) if way == "archive" else api.dearchive(body)

    assert response.status_code == 503
    assert "internal error" not in {line["event"] for line in lines}
    assert {line["code"] for line in lines if line["event"] == "database error"} <= {1317, 1927}
    copied = tables.both() != before
    assert ("nothing was changed" in response.json()["message"]) == (not copied)
    assert ("may have been applied" in response.json()["message"]) == copied
    monkeypatch.undo()
    answer = (api.archive_all if way == "archive" else api.dearchive_all)([1, 2]).json()
    assert answer["delete_count"] == 2
    assert tables.both() == (before[1], before[0])
