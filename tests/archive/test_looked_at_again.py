"""Without rollback, a question about what a failed statement has done may wait for a lock, and lets go of everything. Then the
tables are looked at again, before anything else is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.tables import Tables

NewApi = Callable[..., Api]

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"

ENGINES = pytest.mark.parametrize("tables", ["MyISAM", "Aria"], indirect=True)
PACES = pytest.mark.parametrize("pace", ["full", "gentle"])

LONG = "UPDATE {} SET comments = 'x' WHERE lead_id = 90 AND SLEEP({}) = 0"
"""A statement that keeps a table locked for some seconds."""

FIRST_TIME = "NOT EXISTS (SELECT 1 FROM once) THEN INSERT INTO once VALUES (1); DO SLEEP(0.7); END IF"
"""A part of a trigger, so that others can come while a statement runs."""


def trigger(tables: Tables, table: str, body: str) -> None:
    tables.execute("CREATE TABLE once (n INT) ENGINE = MyISAM")
    tables.execute(f"CREATE TRIGGER site BEFORE INSERT ON {table} FOR EACH ROW {body}")


def precious(tables: Tables, table: str) -> dict[int, bytes | None]:
    """Return the column that was added, by lead_id."""
    rows = tables.execute(f"SELECT lead_id, added FROM {table}")
    return {int(lead_id or b""): value for lead_id, value in rows}


ERROR = f"IF NEW.lead_id = 3 THEN IF {FIRST_TIME}; SIGNAL SQLSTATE '45000'; END IF"
DAMAGE = f"IF NEW.lead_id = 3 THEN SET NEW.status = 'BAD'; IF {FIRST_TIME}; END IF"


@ENGINES
@PACES
@pytest.mark.parametrize(
    ("way", "source", "target", "body"), [("archive", LIST, ARCHIVE, ERROR), ("dearchive", ARCHIVE, LIST, DAMAGE)]
)
def test_a_table_that_is_altered_meanwhile_loses_no_data(
    tables: Tables, new_api: NewApi, pace: str, way: str, source: str, target: str, body: str
) -> None:
    """A column comes to the source that the target does not have. The site writes into it at once."""
    for lead_id in range(1, 7):
        tables.insert(source, lead_id)
    tables.insert(target, 90)
    trigger(tables, target, body)
    api = new_api(PACE=pace)
    move = api.archive_all if way == "archive" else api.dearchive_all
    with ThreadPoolExecutor(3) as threads:
        batch = threads.submit(move, [1, 2, 3, 4, 5, 6])
        tables.wait_for_a_trigger()
        report = threads.submit(tables.run_elsewhere, LONG.format(target, 2.5))
        time.sleep(0.1)
        tables.run_elsewhere(f"ALTER TABLE {source} ADD COLUMN added VARCHAR(20) DEFAULT 'precious'")
        report.result()
        answer = batch.result()

    assert answer.status_code == 503
    assert precious(tables, source) == dict.fromkeys(range(1, 7), b"precious")


@ENGINES
@PACES
def test_a_damaged_copy_to_whose_new_column_somebody_may_have_written_stays(
    tables: Tables, new_api: NewApi, pace: str
) -> None:
    """While the service waits to delete it, a column is added. Its fingerprint does not show what the site writes there."""
    for lead_id in range(1, 6):
        tables.insert(ARCHIVE, lead_id)
    tables.archived(90)
    trigger(tables, LIST, DAMAGE)
    _, archived = tables.both()
    api = new_api(PACE=pace)
    with ThreadPoolExecutor(3) as threads, capture_logs() as lines:
        batch = threads.submit(api.dearchive_all, [1, 2, 3, 4, 5])
        tables.wait_for_a_trigger()
        report = threads.submit(tables.run_elsewhere, LONG.format(ARCHIVE, 3))
        time.sleep(0.1)
        tables.run_elsewhere(f"ALTER TABLE {LIST} ADD COLUMN added VARCHAR(20)")
        tables.run_elsewhere(f"UPDATE {LIST} SET added = 'precious', modify_date = modify_date WHERE lead_id = 3")
        report.result()
        answer = batch.result()

    assert (answer.status_code, answer.json()["remaining_lead_ids"]) == (200, [3])
    assert precious(tables, LIST) == {1: None, 2: None, 3: b"precious", 4: None, 5: None}
    live, left = tables.both()
    assert b"BAD" in live[3]
    assert left.keys() == {3, 90}
    assert left[3] == archived[3]
    assert [line["lead_ids"] for line in lines if line["event"] == "damaged copies left"] == [[3]]


@ENGINES
def test_a_damaged_copy_is_deleted_also_if_a_lock_comes_first(tables: Tables, new_api: NewApi) -> None:
    for lead_id in range(1, 6):
        tables.insert(ARCHIVE, lead_id)
    tables.archived(90)
    trigger(tables, LIST, DAMAGE)
    _, archived = tables.both()
    api = new_api(PACE="full")
    with ThreadPoolExecutor(3) as threads, capture_logs() as lines:
        batch = threads.submit(api.dearchive_all, [1, 2, 3, 4, 5])
        tables.wait_for_a_trigger()
        tables.run_elsewhere(LONG.format(ARCHIVE, 3))
        answer = batch.result()

    assert (answer.status_code, answer.json()["remaining_lead_ids"]) == (200, [3])
    live, left = tables.both()
    assert live.keys() == {1, 2, 4, 5}
    assert left[3] == archived[3]
    assert [line["lead_ids"] for line in lines if "damaged" in line["event"]] == [[3]]


@ENGINES
@PACES
def test_the_dialler_waits_for_no_report_on_the_archive(tables: Tables, new_api: NewApi, pace: str) -> None:
    """What limits the waits of a batch holds in its further transactions, too."""
    tables.live(1, 2, 3, 4, 5, 6, 95)
    tables.archived(90)
    trigger(tables, ARCHIVE, f"{ERROR[:-6]} ELSEIF NEW.lead_id = 6 THEN DO SLEEP(0.6); END IF")
    api = new_api(PACE=pace)
    slowest, over = 0.0, threading.Event()

    def dial() -> None:
        nonlocal slowest
        with tables.mariadb.connect(tables.database) as dialler, dialler.cursor() as cursor:
            while not over.is_set():
                began = time.monotonic()
                cursor.execute(f"UPDATE {LIST} SET called_count = called_count + 1 WHERE lead_id = 95")
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.03)

    with ThreadPoolExecutor(4) as threads:
        batch = threads.submit(api.archive_all, [1, 2, 3, 4, 5, 6])
        tables.wait_for_a_trigger()
        tables.run_elsewhere(LONG.format(ARCHIVE, 2.5))
        tables.wait_for_a_trigger()
        dialling = threads.submit(dial)
        tables.run_elsewhere(LONG.format(ARCHIVE, 6))
        answer = batch.result()
        over.set()
        dialling.result()

    assert (answer.status_code, answer.json()["remaining_lead_ids"]) == (200, [3])
    assert tables.ids() == ([3, 95], [1, 2, 4, 5, 6, 90])
    assert slowest < 3


@pytest.mark.parametrize("tables", ["MyISAM", "InnoDB"], indirect=True)
@pytest.mark.parametrize("number", [0, 1205, 1213])
def test_a_batch_whose_leads_all_fail_is_refused_also_if_a_lock_came_in_between(
    tables: Tables, new_api: NewApi, number: int
) -> None:
    """Error 1105 does not tell that a row is the reason."""
    tables.execute(f"ALTER TABLE {ARCHIVE} ENGINE = MyISAM")
    tables.live(1, 2, 3)
    before = tables.both()
    first = "NEW.lead_id = 3 AND NOT EXISTS (SELECT 1 FROM once) THEN INSERT INTO once VALUES (1)"
    lock = f"IF {first}; SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}; END IF; " if number else ""
    trigger(tables, ARCHIVE, f"BEGIN {lock}SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1105; END")

    assert new_api(PACE="full").archive_all([1, 2, 3]).status_code == 503
    assert tables.both() == before


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("number", [0, 1205, 1213])
@pytest.mark.parametrize(("way", "source", "target"), [("archive", LIST, ARCHIVE), ("dearchive", ARCHIVE, LIST)])
def test_a_batch_some_of_whose_leads_fail_is_answered_also_if_a_lock_came_in_between(
    tables: Tables, new_api: NewApi, number: int, way: str, source: str, target: str
) -> None:
    for lead_id in range(1, 6):
        tables.insert(source, lead_id)
    first = "NEW.lead_id = 3 AND NOT EXISTS (SELECT 1 FROM once) THEN INSERT INTO once VALUES (1)"
    lock = f"IF {first}; SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}; END IF; " if number else ""
    fails = "IF NEW.lead_id > 2 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1105; END IF"
    trigger(tables, target, f"BEGIN {lock}{fails}; END")
    api = new_api(PACE="full")

    answer = (api.archive_all if way == "archive" else api.dearchive_all)([1, 2, 3, 4, 5])

    assert answer.status_code == 200
    body = answer.json()
    assert (body["insert_count"], body["delete_count"], body["remaining_lead_ids"]) == (2, 2, [3, 4, 5])
    live, archived = tables.ids()
    assert (live, archived) == (([3, 4, 5], [1, 2]) if way == "archive" else ([1, 2], [3, 4, 5]))
