"""Two batches side by side, where at least one table has no rollback: each counts what it has done itself, and no two of them
keep the dialler waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.remedies import ARCHIVE, LIST
from support.tables import Tables

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
    slowest, is_over = 0.0, threading.Event()

    def dial() -> None:
        nonlocal slowest
        while not is_over.is_set():
            began = time.monotonic()
            tables.run_elsewhere(f"UPDATE {LIST} SET called_count = called_count + 1 WHERE lead_id = 1000")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)

    with ThreadPoolExecutor(4) as threads:
        dialling = threads.submit(dial)
        try:
            batches = [threads.submit(api.dearchive_all, list(leads)) for leads in (range(1, 151), range(151, 301))]
            time.sleep(0.2)
            tables.run_elsewhere(statement.format(LIST))
            answers = [batch.result().json() for batch in batches]
        finally:
            is_over.set()
        dialling.result()

    assert slowest < 4
    assert [answer.get("delete_count") for answer in answers] == [150, 150]
    assert tables.ids() == ([*range(1, 301), 1000, 2000], [])
