"""ADMIN_LOG=on: supervisors see each batch in Vicidial's Admin Change Log, and no batch fails because of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.remedies import account
from support.tables import IN_USE_TABLES, Tables
from support.waiting import wait_until

NewApi = Callable[..., Api]


def rows(tables: Tables) -> list[tuple[str, ...]]:
    """Return what was written, except the time and the number."""
    found = tables.execute(
        "SELECT user, ip_address, event_section, event_type, record_id, event_code, event_sql, event_notes, user_group"
        " FROM vicidial_admin_log ORDER BY admin_log_id"
    )
    return [tuple((value or b"").decode() for value in row) for row in found]


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_each_batch_that_changed_something_has_its_row(tables: Tables, new_api: NewApi) -> None:
    api = new_api(ADMIN_LOG="on")
    tables.live(1, 2, 3)
    tables.live(4, status="CALLBK")
    before = tables.both()

    api.archive({**Api.ALL, "lead_ids": [4, 1, 2], "where": {"statuses": ["SALE", "<script>'\\é"]}})
    api.archive({**Api.ALL, "lead_ids": [1]})  # archived already
    api.archive({**Api.ALL, "lead_ids": [9]})  # unknown
    api.dearchive_all([1, 2])

    assert tables.both() == before
    common = ("tests", "testclient", "LISTS", "MODIFY", "leads")
    back = (
        "2 vicidial_list_archive leads copied to vicidial_list|0 vicidial_list leads updated|"
        "2 vicidial_list_archive leads deleted|deleted lead_ids 1 2|requested lead_ids 1 2|"
    )
    assert rows(tables) == [
        (
            *common,
            "LEAD ARCHIVE API ARCHIVE",
            "",
            "2 vicidial_list leads copied to vicidial_list_archive|0 vicidial_list_archive leads updated|"
            "2 vicidial_list leads deleted|where {?statuses?: [?SALE?, ??script?????u00e9?]}|deleted lead_ids 1 2|"
            "requested lead_ids 4 1 2|",
            "---ALL---",
        ),
        (*common, "LEAD ARCHIVE API DEARCHIVE", "", back, "---ALL---"),
    ]
    # The server's local time: Berlin's, not that of the session.
    (((seconds),),) = tables.execute(
        "SET STATEMENT time_zone = @@GLOBAL.time_zone FOR"
        " SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, event_date, NOW()))) FROM vicidial_admin_log"
    )
    assert int(seconds or b"") < 1_000


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_batch_that_may_have_been_half_done_has_its_row(tables: Tables, new_api: NewApi) -> None:
    """The DELETE fails at the second lead. Only tables without rollback keep what was done before."""
    api = new_api(ADMIN_LOG="on")
    tables.live(1, 2, 3)
    before, _ = tables.both()
    tables.execute(
        "CREATE TRIGGER break_off BEFORE DELETE ON vicidial_list FOR EACH ROW"
        " IF OLD.lead_id = 2 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021; END IF"
    )
    is_half_done = tables.execute("SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE()"
                                  " AND table_name = 'vicidial_list' AND engine = 'MyISAM'")  # fmt: skip

    assert api.archive_all([3, 2, 1]).status_code == 503
    tables.execute("ALTER TABLE vicidial_list ADD COLUMN more INT")
    assert api.archive_all([3, 2]).status_code == 503  # before anything was changed
    tables.execute("ALTER TABLE vicidial_list DROP COLUMN more")

    if not is_half_done:
        assert (tables.both(), rows(tables)) == ((before, {}), [])
        return
    assert tables.both() == ({2: before[2], 3: before[3]}, before)
    (row,) = rows(tables)
    assert row[-2] == (
        "outcome not known: vicidial_list leads may have been copied to vicidial_list_archive and deleted|"
        "requested lead_ids 3 2 1|"
    )


def test_by_default_nothing_is_written(tables: Tables, api: Api) -> None:
    tables.live(1)
    api.archive_all([1])

    assert rows(tables) == []


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ("DROP TABLE vicidial_admin_log", "there is no table vicidial_admin_log: "),
        ("ALTER TABLE vicidial_admin_log DROP COLUMN event_notes", "vicidial_admin_log is not as Vicidial makes it: "),
    ],
)
def test_a_batch_does_not_fail_if_its_row_cannot_be_written(tables: Tables, new_api: NewApi, change: str, note: str) -> None:
    api = new_api(ADMIN_LOG="on")
    tables.live(1)
    live, _ = tables.both()
    tables.execute(change)
    with capture_logs() as log:
        answer = api.archive_all([1])

    assert (answer.status_code, answer.json()["delete_count"]) == (200, 1)
    assert tables.both() == ({}, live)
    assert [line["operation"] for line in log if line["event"] == "admin log row lost"] == ["archive"]
    assert "admin_log_failures_total" in api.get("/metrics").text
    assert notes(api) == [(f"{note}batches are not in the Admin Change Log", None)]


def test_a_table_that_somebody_locks_delays_the_answer_and_changes_nothing_else(tables: Tables, new_api: NewApi) -> None:
    api = new_api(ADMIN_LOG="on")
    tables.live(1)
    holder = tables.mariadb.connect(tables.database)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_admin_log WRITE")
        answer = api.archive_all([1])
    holder.close()

    assert (answer.status_code, answer.json()["delete_count"]) == (200, 1)
    assert rows(tables) == []


def test_a_table_that_somebody_alters_is_not_called_wrong(tables: Tables, new_api: NewApi) -> None:
    """ALTER TABLE waits for a transaction that has read the table, and everybody else waits for ALTER TABLE."""
    api = new_api(ADMIN_LOG="on")
    assert notes(api) == []
    waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata%'"
    with (
        ThreadPoolExecutor(1) as administrator,
        tables.mariadb.connect(tables.database, autocommit=False) as reader,
        tables.mariadb.connect(tables.database) as other,
        reader.cursor() as reading,
        other.cursor() as altering,
    ):
        reading.execute("SELECT * FROM vicidial_admin_log")
        change = "ALTER TABLE vicidial_admin_log MODIFY event_notes LONGTEXT, ALGORITHM = COPY"
        altered = administrator.submit(altering.execute, change)
        wait_until(lambda: tables.execute(waiting))
        found = notes(api)
        reader.rollback()
        altered.result()

    assert found == [("another session has locked vicidial_admin_log: batches are not in the Admin Change Log", None)]
    assert notes(api) == []


def test_the_account_needs_insert_on_the_table_and_nothing_else(tables: Tables, new_api: NewApi) -> None:
    tables.live(1)
    with account(tables) as granted:
        for table in ("vicidial_list", "vicidial_list_archive"):
            granted.grant("SELECT, INSERT, UPDATE, DELETE", table)
        granted.grant("REFERENCES, CREATE TEMPORARY TABLES", "*")
        for table in (*IN_USE_TABLES, "vicidial_lists"):
            granted.grant("SELECT", table)
        api = new_api(DATABASE_URL=granted.url, ADMIN_LOG="on")
        grant = f"GRANT INSERT ON `{tables.database}`.`vicidial_admin_log` TO {granted.name}"
        message = "the account may not write to vicidial_admin_log: batches are not in the Admin Change Log"
        assert notes(api) == [(message, grant)]

        tables.execute(grant)
        assert notes(api) == []
        api.archive_all([1])
    assert len(rows(tables)) == 1


def notes(api: Api) -> list[tuple[Any, Any]]:
    """Return the notes of /readyz, which is green."""
    response = api.get("/readyz")
    assert response.status_code == 200
    return [(note["message"], note["remedy"]) for note in response.json()["notes"]]
