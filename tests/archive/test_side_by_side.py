"""Two batches side by side, where at least one table has no rollback: each counts what it has done itself, and no two of them
keep the dialler waiting."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.auditor import read
from support.refusals import OFFICE_HOURS, OUTSIDE
from support.remedies import ARCHIVE, LIST
from support.settings import key_entry
from support.tables import Tables
from support.waiting import wait_until

NewApi = Callable[..., Api]

PACES = pytest.mark.parametrize("pace", ["full", "gentle"])
ONE_OR_TWO = pytest.mark.parametrize("services", [1, 2])

LEADS = list(range(1, 21))


def refuse_the_last(tables: Tables, table: str) -> None:
    """Refuse lead 20, and make the first INSERT wait, so that the other batch has looked before anything is inserted."""
    tables.execute("CREATE TABLE once (n INT) ENGINE = MyISAM")
    tables.execute(
        f"CREATE TRIGGER site BEFORE INSERT ON {table} FOR EACH ROW BEGIN"
        " IF NEW.lead_id = 1 AND NOT EXISTS (SELECT 1 FROM once) THEN INSERT INTO once VALUES (1); DO SLEEP(0.6); END IF;"
        " IF NEW.lead_id = 20 THEN SIGNAL SQLSTATE '45000'; END IF; END"
    )


@ONE_OR_TWO
@PACES
@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("InnoDB", "MyISAM"), ("MyISAM", "InnoDB")], ids="/".join)
def test_a_lead_is_counted_by_the_batch_that_has_inserted_it_also_if_a_row_fails(
    tables: Tables, new_api: NewApi, engines: tuple[str, str], way: str, pace: str, services: int
) -> None:
    source, target = (LIST, ARCHIVE) if way == "archive" else (ARCHIVE, LIST)
    tables.set_engines(*engines)
    tables.insert(source, *LEADS)
    refuse_the_last(tables, target)
    apis = [new_api(PACE=pace) for _ in range(services)]
    batch = {"lead_ids": LEADS, "insert_leads": True, "delete_leads": False}
    if way == "archive":
        batch["update_leads"] = False
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(getattr(apis[0], way), batch)
        tables.wait_for_a_trigger()
        second = threads.submit(getattr(apis[-1], way), batch)
        answers = [first.result(), second.result()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert sum(answer.json()["insert_count"] for answer in answers) == 19
    live, archived = tables.ids()
    assert (live, archived) == ((LEADS, LEADS[:-1]) if way == "archive" else (LEADS[:-1], LEADS))


@PACES
def test_a_lead_that_an_agent_has_called_since_is_no_damaged_copy(tables: Tables, new_api: NewApi, pace: str) -> None:
    """The INSERT fails at the next lead. The agent's call comes before the service asks what was inserted."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.archived(*LEADS)
    refuse_the_last(tables, LIST)
    apis = [new_api(PACE=pace) for _ in range(2)]
    with ThreadPoolExecutor(3) as threads, capture_logs() as lines:
        first = threads.submit(apis[0].dearchive_all, LEADS)
        tables.wait_for_a_trigger()
        second = threads.submit(apis[1].dearchive_all, LEADS)
        time.sleep(0.2)  # until it waits for the table
        call = threads.submit(tables.run_elsewhere, f"UPDATE {LIST} SET status = 'CALLED' WHERE lead_id = 19")
        answers = [first.result().json(), second.result().json()]
        call.result()

    assert sum(answer["insert_count"] for answer in answers) == 19
    assert [line for line in lines if "damaged" in line["event"]] == []
    live, archived = tables.both()
    assert sorted({*live, *archived}) == LEADS
    assert b"CALLED" in live[19]


@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("Aria", "Aria"), ("InnoDB", "MyISAM")], ids="/".join)
def test_a_lead_that_comes_back_at_once_was_deleted_also_if_a_row_has_failed(
    tables: Tables, new_api: NewApi, tmp_path: Path, engines: tuple[str, str], way: str
) -> None:
    source = LIST if way == "archive" else ARCHIVE
    leads = list(range(1, 241))
    tables.set_engines(*engines)
    tables.insert(source, *leads)
    tables.execute(
        f"CREATE TRIGGER site BEFORE DELETE ON {source} FOR EACH ROW BEGIN"
        " IF OLD.lead_id = 10 THEN SIGNAL SQLSTATE '45000'; END IF; IF OLD.lead_id = 120 THEN DO SLEEP(0.8); END IF; END"
    )
    audit = tmp_path / "audit.jsonl"
    gentle, other = new_api(AUDIT_LOG=str(audit), PACE="gentle"), new_api(PACE="full")
    move, back = ("archive_all", "dearchive_all") if way == "archive" else ("dearchive_all", "archive_all")
    with ThreadPoolExecutor(1) as threads:
        answering = threads.submit(getattr(gentle, move), leads)
        tables.wait_for_a_trigger()
        time.sleep(1)  # until the batch rests after this DELETE
        assert getattr(other, back)([2]).json()["delete_count"] in {0, 1}
        body = answering.result().json()

    live, archived = tables.ids()
    there, gone = (live, archived) if way == "archive" else (archived, live)
    assert set(there) <= {2, 10}
    assert {*there, *gone} == set(leads)
    assert (body["delete_count"], body["remaining_lead_ids"]) == (239, [10])
    assert read(audit)[-1]["deleted_lead_ids"] == [lead_id for lead_id in leads if lead_id != 10]


def dial(tables: Tables, is_over: threading.Event) -> float:
    """Update a live lead, again and again. Return the seconds of the slowest update."""
    slowest = 0.0
    while not is_over.is_set():
        began = time.monotonic()
        tables.run_elsewhere(f"UPDATE {LIST} SET called_count = called_count + 1 WHERE lead_id = 1000")
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
    return slowest


@pytest.mark.parametrize("statement", ["OPTIMIZE TABLE {}", "LOCK TABLES {} WRITE"])
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_a_batch_that_asks_what_it_has_done_lets_go_of_the_tables_again(
    tables: Tables, new_api: NewApi, way: str, statement: str
) -> None:
    """A trigger waits for a row of the site. Both batches are in the middle of a statement when the administrator comes."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.execute("CREATE TABLE count_of_the_site (n INT) ENGINE = InnoDB")
    tables.execute("INSERT INTO count_of_the_site VALUES (0)")
    tables.live(1000)
    leads = list(range(1, 61))
    tables.archived(*leads, status="OLD")
    table, event = (LIST, "INSERT") if way == "dearchive" else (ARCHIVE, "UPDATE")
    if way == "archive":
        tables.live(*leads)
    tables.execute(f"CREATE TRIGGER site AFTER {event} ON {table} FOR EACH ROW UPDATE count_of_the_site SET n = n + 1")
    api = new_api(PACE="full", REQUEST_TIMEOUT="12")
    move = api.archive_all if way == "archive" else api.dearchive_all
    is_over = threading.Event()
    with (
        ThreadPoolExecutor(4) as threads,
        tables.mariadb.connect(tables.database, autocommit=False) as site,
        site.cursor() as cursor,
    ):
        cursor.execute("SELECT * FROM count_of_the_site FOR UPDATE")
        batches = [threads.submit(move, leads[:30]), threads.submit(move, leads[30:])]
        dialling = threads.submit(dial, tables, is_over)
        time.sleep(4.4)  # both have been in the middle of a statement
        try:
            tables.run_elsewhere(statement.format(LIST))
            site.rollback()
            answers = [batch.result().json() for batch in batches]
        finally:
            is_over.set()

    assert dialling.result() < 4
    assert [answer.get("delete_count") for answer in answers] == [30, 30]
    live, archived = tables.ids()
    assert (live, archived) == (([1000], leads) if way == "archive" else ([*leads, 1000], []))


@pytest.mark.parametrize("at", [1.5, 2.4])
def test_waits_and_rests_of_a_batch_do_not_add_up_in_front_of_the_dialler(tables: Tables, new_api: NewApi, at: float) -> None:
    """Each statement waits for less than a second for a table that shows leads in use."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.execute("ALTER TABLE vicidial_callbacks ENGINE = MyISAM")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (5000, 'INACTIVE')")
    leads = list(range(1, 241))
    tables.live(*leads, 1000)
    api = new_api(PACE="gentle")
    is_over = threading.Event()

    def write_callbacks() -> None:
        while not is_over.is_set():
            tables.run_elsewhere("UPDATE vicidial_callbacks SET status = 'INACTIVE' WHERE SLEEP(0.7) = 0")
            time.sleep(0.15)

    with ThreadPoolExecutor(3) as threads:
        dialling, writing = threads.submit(dial, tables, is_over), threads.submit(write_callbacks)
        try:
            batch = threads.submit(api.archive_all, leads)
            time.sleep(at)
            tables.run_elsewhere(f"LOCK TABLES {LIST} WRITE")
            answer = batch.result().json()
        finally:
            is_over.set()
        writing.result()

    assert dialling.result() < 2.2
    assert (answer["delete_count"], tables.ids()) == (240, ([1000], leads))


WANTED = {
    "ALTER TABLE": "ALTER TABLE {} ADD COLUMN added INT, ALGORITHM = COPY",
    "OPTIMIZE TABLE": "OPTIMIZE TABLE {}",
    "LOCK TABLES": "LOCK TABLES {} WRITE",
}


@pytest.mark.parametrize("statement", WANTED.values(), ids=WANTED.keys())
@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("MyISAM", "InnoDB")], ids="/".join)
def test_two_batches_and_an_administrator_do_not_wait_for_each_other(
    tables: Tables,
    new_api: NewApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    engines: tuple[str, str],
) -> None:
    """Both have looked at the tables. The first one finds the administrator before it; the second one waits for it."""
    tables.set_engines(*engines)
    tables.archived(*range(1, 301), 2000)
    tables.live(1000)
    api = new_api(AUDIT_LOG=str(tmp_path / "audit.jsonl"), REQUEST_TIMEOUT="12")
    assert api.dearchive_all([2000]).status_code == 200
    flush = os.fdatasync

    def flush_slowly(file: Any) -> None:
        time.sleep(0.3)
        flush(file)

    monkeypatch.setattr(os, "fdatasync", flush_slowly)
    is_over = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        dialling = threads.submit(dial, tables, is_over)
        try:
            batches = [threads.submit(api.dearchive_all, list(leads)) for leads in (range(1, 151), range(151, 301))]
            time.sleep(0.2)
            tables.run_elsewhere(statement.format(LIST))
            answers = [batch.result().json() for batch in batches]
        finally:
            is_over.set()

    assert dialling.result() < 4
    assert [answer.get("delete_count") for answer in answers] == [150, 150]
    assert tables.ids() == ([*range(1, 301), 1000, 2000], [])


NEXT_KEY = "another-key-for-the-tests"

OTHERS = f'[[keys]]\nname = "others"\nsha256 = "{hashlib.sha256(NEXT_KEY.encode()).hexdigest()}"\n'


REFUSALS = {
    "revoked": (401, "unable to validate api user"),
    "narrowed": (503, "the API key was changed while the request waited; nothing was changed, repeat the request"),
    "office hours": (403, "api cannot be executed during office hours time condition"),
}


@pytest.mark.parametrize("change", REFUSALS)
@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("InnoDB", "MyISAM"), ("InnoDB", "InnoDB")], ids="/".join)
def test_a_batch_that_has_waited_is_asked_again_whether_it_may_change_anything(
    tables: Tables, new_api: NewApi, keys_file: Path, tmp_path: Path, engines: tuple[str, str], change: str
) -> None:
    """It waits for another batch that writes. On InnoDB, its own statements wait, and it is asked before COMMIT."""
    tables.set_engines(*engines)
    tables.live(1, 2)
    slow = 2 if engines == ("InnoDB", "InnoDB") else 1
    tables.execute(
        f"CREATE TRIGGER site BEFORE INSERT ON {ARCHIVE} FOR EACH ROW"
        f" BEGIN IF NEW.lead_id = {slow} THEN DO SLEEP(3); END IF; END"
    )
    keys_file.write_text(key_entry() + OTHERS)
    time_of_day = [OUTSIDE]
    audit = tmp_path / "audit.jsonl"
    first = new_api(lambda: time_of_day[0], PACE="full", AUDIT_LOG=str(audit), **OFFICE_HOURS)
    second = Api(first.client)
    first.headers["Authorization"] = f"Key={NEXT_KEY}"
    with ThreadPoolExecutor(2) as threads:
        writing = threads.submit(first.archive_all, [1])
        if slow == 1:
            tables.wait_for_a_trigger()
        else:
            writing.result()
        waiting = threads.submit(second.archive_all, [2])
        wait_until(lambda: sum(line["event"] == "intent" for line in read(audit)) == 2)  # it was asked once
        if change == "revoked":
            keys_file.write_text(OTHERS)
        elif change == "narrowed":
            keys_file.write_text(key_entry([5]) + OTHERS)
        else:
            time_of_day[0] = OUTSIDE + timedelta(days=1)  # a Monday
        assert writing.result().json()["delete_count"] == 1
        response = waiting.result()

    assert (response.status_code, response.json()["message"]) == REFUSALS[change]
    assert tables.ids() == ([2], [1])
    # In any order: the second batch is refused as soon as the first one has committed, while that writes its record.
    assert sorted(line["outcome"] for line in read(audit) if line["event"] == "outcome") == ["committed", "rolled back"]
