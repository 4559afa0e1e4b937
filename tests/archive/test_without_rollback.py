"""Without rollback, what was changed stays changed. The answer and the audit say so, and a lock does not undo a part of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.auditor import ask, events, read
from support.remedies import ARCHIVE, LIST
from support.tables import Tables

from service.api.error_responses import MAY_BE_APPLIED
from service.mariadb_errors import LOCK_WAIT_TIMEOUT

NewApi = Callable[..., Api]

PACES = pytest.mark.parametrize("pace", ["full", "gentle"])

ONCE = "IF NOT EXISTS (SELECT 1 FROM once) THEN INSERT INTO once VALUES (1); {}; END IF"
"""A part of a trigger that runs once."""


@pytest.fixture
def once(tables: Tables) -> None:
    tables.execute("CREATE TABLE once (n INT) ENGINE = MyISAM")


@PACES
@pytest.mark.parametrize("event", ["INSERT", "DELETE"])
@pytest.mark.usefixtures("once")
def test_what_a_trigger_has_written_to_a_table_with_rollback_stays_if_a_lock_comes(
    tables: Tables, new_api: NewApi, pace: str, event: str
) -> None:
    tables.set_engines("MyISAM", "MyISAM")
    leads = list(range(1, 201))
    tables.live(*leads)
    tables.archived(999)
    tables.execute("CREATE TABLE log_of_the_site (lead_id INT) ENGINE = InnoDB")
    table, row = (ARCHIVE, "NEW") if event == "INSERT" else (LIST, "OLD")
    tables.execute(
        f"CREATE TRIGGER site AFTER {event} ON {table} FOR EACH ROW BEGIN INSERT INTO log_of_the_site VALUES ({row}.lead_id);"
        f" {ONCE.format('DO SLEEP(0.6)')}; END"
    )
    api = new_api(PACE=pace)
    with ThreadPoolExecutor(2) as threads:
        batch = threads.submit(api.archive_all, leads)
        tables.wait_for_a_trigger()
        long = f"UPDATE {ARCHIVE} SET comments = 'x' WHERE lead_id = 999 AND SLEEP(2.5) = 0"
        report = threads.submit(tables.run_elsewhere, long)
        answer = batch.result().json()
        report.result()

    assert (answer["insert_count"], answer["delete_count"]) == (200, 200)
    assert tables.ids() == ([], [*leads, 999])
    assert sorted(int(lead_id or b"") for (lead_id,) in tables.execute("SELECT lead_id FROM log_of_the_site")) == leads


@pytest.mark.parametrize(("number", "seconds"), [(1213, 20), (1205, 4)])
def test_a_copy_that_was_overwritten_and_is_not_equal_was_changed_nevertheless(
    tables: Tables, new_api: NewApi, tmp_path: Path, number: int, seconds: int
) -> None:
    """The archive cannot hold the comment. The next copy cannot be written at all."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.live(1, 2, comments="too long for the archive")
    tables.archived(1, 2, status="OLD", comments="old")
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(10)")
    tables.execute(
        f"CREATE TRIGGER site BEFORE UPDATE ON {ARCHIVE} FOR EACH ROW"
        f" IF NEW.lead_id = 2 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}; END IF"
    )
    audit = tmp_path / "audit.jsonl"

    answer = new_api(AUDIT_LOG=str(audit), PACE="full", REQUEST_TIMEOUT=str(seconds)).archive_all([1, 2])

    assert answer.status_code == 503
    assert answer.json()["message"].endswith(MAY_BE_APPLIED)
    assert events(audit) == [("intent", None), ("outcome", "not known")]
    assert tables.execute(f"SELECT comments FROM {ARCHIVE} ORDER BY lead_id") == [(b"too long f",), (b"old",)]
    assert tables.ids() == ([1, 2], [1, 2])


def test_a_batch_that_can_only_update_and_waits_in_vain_lets_others_go_first(tables: Tables, new_api: NewApi) -> None:
    """It is certain that nothing was changed, so the whole batch is run again."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.live(1, 2)
    tables.archived(1, 2, status="OLD")
    before = tables.both()
    api = new_api(PACE="full", REQUEST_TIMEOUT="5")
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor, capture_logs() as lines:
        cursor.execute(f"LOCK TABLES {ARCHIVE} READ")
        assert api.archive_all([1, 2]).status_code == 503
        assert tables.both() == before

    assert {line["code"] for line in lines if line["event"] == "transaction retried"} == {LOCK_WAIT_TIMEOUT}
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.ids() == ([], [1, 2])


@PACES
@pytest.mark.parametrize("engines", [("MyISAM", "InnoDB"), ("InnoDB", "MyISAM"), ("MyISAM", "MyISAM")], ids="/".join)
@pytest.mark.usefixtures("once")
def test_a_batch_during_which_the_tables_get_row_locks_names_each_lead_that_it_has_deleted_or_none(
    tables: Tables, new_api: NewApi, tmp_path: Path, engines: tuple[str, str], pace: str
) -> None:
    tables.set_engines(*engines)
    leads = list(range(1, 481))
    tables.live(*leads)
    tables.archived(470, status="OLD")
    tables.execute(f"CREATE TRIGGER site AFTER DELETE ON {LIST} FOR EACH ROW {ONCE.format('DO SLEEP(1)')}")
    audit = tmp_path / "audit.jsonl"
    api = new_api(AUDIT_LOG=str(audit), PACE=pace)
    batch = {"lead_ids": leads, "insert_leads": True, "update_leads": False, "delete_leads": True}
    with ThreadPoolExecutor(3) as threads:
        answering = threads.submit(api.archive, batch)
        tables.wait_for_a_trigger()
        tables_without = [table for table, engine in zip((LIST, ARCHIVE), engines, strict=True) if engine != "InnoDB"]
        list(threads.map(lambda table: tables.run_elsewhere(f"ALTER TABLE {table} ENGINE = InnoDB"), tables_without))
        answer = answering.result()

    live, archived = tables.ids()
    deleted = set(leads).difference(live)
    assert deleted <= set(archived)
    outcome = read(audit)[-1]
    if answer.status_code == 200:
        assert set(outcome["deleted_lead_ids"]) == deleted
    else:
        assert answer.json()["message"].endswith(MAY_BE_APPLIED)
        assert outcome["outcome"] == "not known"
        assert [line["moved"] for lead_id in (1, 480) for line in ask(tmp_path, lead_id)] == [None, None]
    repeated = api.archive(batch).json()
    assert repeated["remaining_lead_ids"] == [470]
    assert tables.ids() == ([470], leads)
