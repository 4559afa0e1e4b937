"""While somebody has locked a table that a batch needs, the dialler can write to the leads of the batch, and /readyz says
why the batch is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from support.api import Api
from support.auditor import StuckDisk
from support.remedies import problems
from support.settings import key_entry
from support.tables import Tables
from support.waiting import wait_until

from service.archive.readiness import Readiness
from service.archive.refusals import LOCKED

NewApi = Callable[..., Api]

TIMEOUT = 12
"""REQUEST_TIMEOUT. Without brief waits, a batch would wait 4 seconds for a lock."""

PATIENCE = 2
"""Seconds that the dialler waits for the lock of a row or a table."""


@contextmanager
def lock(tables: Tables, *statements: str) -> Iterator[None]:
    """Hold locks in another session."""
    with tables.mariadb.connect(tables.database, autocommit=False) as other, other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield
        other.rollback()
        cursor.execute("UNLOCK TABLES")


def dial(tables: Tables, batch: Future[Any]) -> int:
    """Update lead 1 until the batch is answered. Return how often. Raises MySQLError for an update that waits too long."""
    updates = 0
    with tables.mariadb.connect(tables.database) as dialler, dialler.cursor() as cursor:
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {PATIENCE}, lock_wait_timeout = {PATIENCE}")
        while not batch.done():
            updates += cursor.execute(f"UPDATE vicidial_list SET called_count = {updates + 1} WHERE lead_id = 1")
            time.sleep(0.02)
    return updates


def called_count(tables: Tables) -> int:
    ((count,),) = tables.execute("SELECT called_count FROM vicidial_list WHERE lead_id = 1")
    return int(count or b"")


HOLDERS = {
    "the hopper": (["LOCK TABLES vicidial_hopper WRITE"], {}),
    "the live agents": (["LOCK TABLES vicidial_live_agents WRITE"], {}),
    "the callbacks": (["LOCK TABLES vicidial_callbacks WRITE"], {}),
    "the archive": (["LOCK TABLES vicidial_list_archive WRITE"], {}),
    "the archive, for reading": (["LOCK TABLES vicidial_list_archive READ"], {}),
    "the lists": (["LOCK TABLES vicidial_lists WRITE"], {"where": {"campaign_ids": ["X"]}}),
    "a lead of the archive": (["SELECT * FROM vicidial_list_archive WHERE lead_id = 2 FOR UPDATE"], {}),
    "another lead of the batch": (["SELECT * FROM vicidial_list WHERE lead_id = 2 FOR UPDATE"], {}),
    "the copy of a lead that is not committed": (
        ["INSERT INTO vicidial_list_archive (lead_id, phone_number) VALUES (3, '')"],
        {},
    ),
}


@pytest.mark.parametrize(("statements", "fields"), HOLDERS.values(), ids=HOLDERS.keys())
def test_the_dialler_does_not_wait_with_a_batch_that_waits_for_a_lock(
    tables: Tables, new_api: NewApi, statements: list[str], fields: dict[str, Any]
) -> None:
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) VALUES (998, 'X')")
    tables.live(1, 2, 3)
    tables.archived(2, status="NEW")
    api = new_api(REQUEST_TIMEOUT=str(TIMEOUT))
    body = {**api.ALL, "lead_ids": [1, 2, 3], **fields}
    assert problems(api) == []
    _, copies = tables.both()
    with ThreadPoolExecutor(1) as client, lock(tables, *statements):
        batch = client.submit(api.archive, body)
        updates = dial(tables, batch)
        answer = batch.result()
        found = [problem["message"] for problem in problems(api)]

    assert (answer.status_code, "nothing was changed" in answer.json()["message"]) == (503, True)
    assert found == ([LOCKED.message] if "LOCK TABLES" in statements[0] else [])
    assert updates == called_count(tables) > 0
    live, archived = tables.both()
    assert (list(live), archived) == ([1, 2, 3], copies)

    assert api.archive(body).json()["delete_count"] == 3
    assert problems(api) == []
    assert tables.both() == ({}, live)


def test_a_lock_that_is_released_when_the_time_of_a_look_is_over_makes_nothing_red(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the lock, which is gone, nor a database that does not answer."""
    is_locked = Readiness._is_locked
    assert problems(api) == []
    monkeypatch.setattr("service.api.health.READINESS_TIMEOUT", 1)
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:

        async def released(readiness: Readiness) -> bool | None:
            cursor.execute("UNLOCK TABLES")
            return await is_locked(readiness)

        monkeypatch.setattr(Readiness, "_is_locked", released)
        cursor.execute("LOCK TABLES vicidial_list WRITE")
        assert problems(api) == []


def test_a_locked_table_of_agents_means_that_they_are_logged_in(tables: Tables, new_api: NewApi, path: Any) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api(AUDIT_LOG=str(path), LEADS_IN_USE="ignore")
    with lock(tables, "LOCK TABLES vicidial_live_agents WRITE"):
        answer = api.archive_all([1, 2])
        assert problems(api) == []

    assert (answer.status_code, answer.json()["delete_count"]) == (200, 2)
    assert json.loads(path.read_text().splitlines()[1])["pace"] == "gentle"
    assert tables.both() == ({}, before)


def archive_beside_a_long_update_of_the_hopper(tables: Tables, api: Api, path: Any, disk: StuckDisk) -> tuple[Any, int]:
    """Archive leads 1 and 3. The UPDATE begins after the batch has looked at the hopper, and before the DELETE does. Return
    the answer, and how often the dialler could update lead 1 meanwhile."""
    with ThreadPoolExecutor(2) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        batch = threads.submit(api.archive_all, [1, 3])
        wait_until(lambda: path.exists() and path.read_text())
        update = threads.submit(cursor.execute, "UPDATE vicidial_hopper SET lead_id = lead_id WHERE SLEEP(5) = 0")
        tables.wait_for_a_trigger()
        disk.released.set()
        updates = dial(tables, batch)
        update.result()
        return batch.result(), updates


@pytest.mark.parametrize("in_use", [False, True], ids=["none is in use", "one is in use nearby"])
def test_a_long_update_of_the_hopper_does_not_keep_the_dialler_from_the_leads(
    tables: Tables, new_api: NewApi, path: Any, disk: StuckDisk, in_use: bool
) -> None:
    tables.execute("ALTER TABLE vicidial_hopper ENGINE = MyISAM")
    tables.execute(f"INSERT INTO vicidial_hopper (lead_id) VALUES ({2 if in_use else 9})")
    tables.live(1, 3)
    api = new_api(AUDIT_LOG=str(path), REQUEST_TIMEOUT="30")
    answer, updates = archive_beside_a_long_update_of_the_hopper(tables, api, path, disk)

    assert (answer.status_code, answer.json()["delete_count"]) == (200, 2)
    assert_moved_with(updates, tables)


def assert_moved_with(updates: int, tables: Tables) -> None:
    """Assert that leads 1 and 3 were moved, and lead 1 with everything that the dialler has written."""
    assert updates > 0
    live, archived = tables.both()
    assert (live, list(archived)) == ({}, [1, 3])
    assert tables.execute("SELECT called_count FROM vicidial_list_archive WHERE lead_id = 1") == [(str(updates).encode(),)]


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_long_update_of_the_hopper_does_not_keep_the_dialler_from_a_table_without_rows_to_lock(
    tables: Tables, new_api: NewApi, path: Any, disk: StuckDisk
) -> None:
    """A DELETE that waits for the hopper may have locked vicidial_list already: MariaDB locks tables in the order in which
    they lie in memory, which is often that in which they were opened."""
    tables.execute("FLUSH TABLES")
    tables.live(1, 3)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (9)")
    api = new_api(AUDIT_LOG=str(path), REQUEST_TIMEOUT="30")
    answer, updates = archive_beside_a_long_update_of_the_hopper(tables, api, path, disk)

    if answer.json()["remaining_lead_ids"] == [1]:  # the dialler has changed it between INSERT and DELETE
        assert answer.json()["delete_count"] == 1
        answer = api.archive_all([1, 3])
        assert (answer.json()["update_count"], answer.json()["delete_count"]) == (1, 1)
    else:
        assert answer.json()["delete_count"] == 2
    assert_moved_with(updates, tables)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("first", [True, False], ids=["opened first", "opened last"])
def test_a_batch_does_not_keep_agents_waiting_while_the_callbacks_are_written(
    tables: Tables, new_api: NewApi, first: bool
) -> None:
    names = ["vicidial_callbacks", "vicidial_live_agents"]
    for name in names:
        tables.execute(f"ALTER TABLE {name} ENGINE = MyISAM")
    prepare(tables)
    tables.live(3)
    leads, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="30", PACE="full")
    assert api.archive({**api.ALL, "lead_ids": [1], "delete_leads": False}).json()["update_count"] == 0
    tables.execute("FLUSH TABLES")
    for name in names if first else names[::-1]:
        tables.execute(f"SELECT 1 FROM {name} LIMIT 1")
    with ThreadPoolExecutor(2) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        update = threads.submit(cursor.execute, "UPDATE vicidial_callbacks SET list_id = list_id WHERE SLEEP(3) = 0")
        tables.wait_for_a_trigger()
        answer = threads.submit(api.archive_all, [2, 3])
        longest = write_until(tables, answer)
        update.result()

    assert (answer.result().status_code, answer.result().json()["delete_count"]) == (200, 2)
    assert longest < 0.7
    assert tables.both() == ({1: leads[1]}, leads)


@pytest.mark.parametrize("has_read", [True, False], ids=["the tables are known", "the first batch"])
@pytest.mark.parametrize("table", ["vicidial_list_archive", "vicidial_callbacks"])
def test_a_batch_of_some_lists_does_not_keep_an_alteration_waiting_while_another_table_is_locked(
    tables: Tables, new_api: NewApi, tmp_path: Any, table: str, has_read: bool
) -> None:
    """Which leads the key may see is the first question of the batch."""
    keys_file = tmp_path / "keys.toml"
    keys_file.touch(mode=0o600)
    keys_file.write_text(key_entry([998]))
    prepare(tables)
    api = new_api(API_KEYS_FILE=str(keys_file), REQUEST_TIMEOUT="30")
    if has_read:
        assert api.archive_all([2]).json()["delete_count"] == 1
    with ThreadPoolExecutor(1) as client:
        with lock(tables, f"LOCK TABLES {table} WRITE"):
            answer = client.submit(api.archive_all, [1])
            time.sleep(0.5)
            began = time.monotonic()
            tables.execute("ALTER TABLE vicidial_list ALTER COLUMN comments SET DEFAULT 'none'")
            took = time.monotonic() - began
            assert not answer.done()
        assert (answer.result().status_code, answer.result().json()["delete_count"]) == (200, 1)
    assert took < PATIENCE
    assert tables.ids() == ([] if has_read else [2], [1, 2])


READS: dict[str, tuple[str, Callable[[Api], Any]]] = {
    "find": ("vicidial_lists", lambda api: api.find(where={"campaign_ids": ["X"]})),
    "compare": ("vicidial_list_archive", lambda api: api.compare([1, 2])),
    "compare, beside a table of leads in use": ("vicidial_callbacks", lambda api: api.compare([1, 2])),
}


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize(("table", "read"), READS.values(), ids=READS.keys())
@pytest.mark.parametrize("first", [True, False], ids=["opened first", "opened last"])
def test_who_looks_at_leads_does_not_keep_the_dialler_from_a_table_while_another_one_is_written(
    tables: Tables, new_api: NewApi, table: str, read: Callable[[Api], Any], first: bool
) -> None:
    """MariaDB locks the tables of a statement in the order in which they lie in memory."""
    prepare(tables)
    api = new_api(REQUEST_TIMEOUT="30")
    others = ["vicidial_list", "vicidial_live_agents"]
    before = read(api).json()
    rows = tables.both()
    tables.execute("FLUSH TABLES")
    for name in [table, *others] if first else [*others, table]:
        tables.execute(f"SELECT 1 FROM {name} LIMIT 1")
    with ThreadPoolExecutor(2) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        update = threads.submit(cursor.execute, f"UPDATE {table} SET list_id = list_id WHERE SLEEP(3) = 0")
        tables.wait_for_a_trigger()
        answer = threads.submit(read, api)
        longest = write_until(tables, answer)
        update.result()

    assert (answer.result().status_code, answer.result().json()) == (200, before)
    assert longest < 1
    assert tables.both() == rows


@pytest.mark.parametrize(("table", "read"), list(READS.values())[::2], ids=list(READS)[::2])
def test_who_looks_at_leads_does_not_keep_an_alteration_waiting_while_another_table_is_locked(
    tables: Tables, new_api: NewApi, table: str, read: Callable[[Api], Any]
) -> None:
    """Behind an ALTER TABLE that waits, the dialler waits, too."""
    prepare(tables)
    api = new_api(REQUEST_TIMEOUT="30")
    before = read(api).json()
    with ThreadPoolExecutor(1) as client:
        with lock(tables, f"LOCK TABLES {table} WRITE"):
            answer = client.submit(read, api)
            time.sleep(0.5)
            began = time.monotonic()
            tables.execute("ALTER TABLE vicidial_list ALTER COLUMN comments SET DEFAULT 'none'")
            took = time.monotonic() - began
            time.sleep(1)
            assert not answer.done()
        assert (answer.result().status_code, answer.result().json()) == (200, before)
    assert took < 1


def test_who_looks_at_leads_is_refused_if_a_table_stays_locked(tables: Tables, new_api: NewApi) -> None:
    prepare(tables)
    api = new_api(REQUEST_TIMEOUT="2")
    for table, read in READS.values():
        with lock(tables, f"LOCK TABLES {table} WRITE"):
            began = time.monotonic()
            answer = read(api)
        assert (answer.status_code, 1 < time.monotonic() - began < 4) == (503, True), table


def prepare(tables: Tables) -> None:
    """Two leads in both tables, an agent and a callback."""
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) VALUES (998, 'X')")
    tables.execute("INSERT INTO vicidial_live_agents (user, status, campaign_id, lead_id) VALUES ('1', 'READY', 'X', 0)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, list_id, status) VALUES (9, 998, 'INACTIVE')")
    tables.live(1, 2)
    tables.archived(1, 2)


def write_until(tables: Tables, answer: Future[Any]) -> float:
    """Write to the leads and the agents as the dialler does, until a request is answered. Return the seconds that the slowest
    write took."""
    longest = 0.0
    with tables.mariadb.connect(tables.database) as dialler, dialler.cursor() as cursor:
        while not answer.done():
            for write in (
                "UPDATE vicidial_list SET called_count = called_count WHERE lead_id = 1",
                "UPDATE vicidial_live_agents SET status = status WHERE user = '1'",
            ):
                began = time.monotonic()
                cursor.execute(write)
                longest = max(longest, time.monotonic() - began)
            time.sleep(0.02)
    return longest


ENGINES = {
    "MyISAM": ("MyISAM", "MyISAM"),
    "the archive is InnoDB": ("MyISAM", "InnoDB"),
    "the list is InnoDB": ("InnoDB", "MyISAM"),
}

OBSTACLES = {
    "a report on the archive": ("SELECT SLEEP(5) FROM vicidial_list_archive WHERE lead_id + 0 = 3", "gentle"),
    "a locked archive": ("LOCK TABLES vicidial_list_archive READ", "full"),
}


@pytest.mark.parametrize("engines", ENGINES.values(), ids=ENGINES.keys())
@pytest.mark.parametrize(("obstacle", "pace"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_a_batch_that_waits_without_row_locks_does_not_keep_an_alteration_waiting(
    tables: Tables, new_api: NewApi, engines: tuple[str, str], obstacle: str, pace: str
) -> None:
    """OPTIMIZE TABLE, which runs every night, waits for what the batch has read, and the dialler waits behind it."""
    tables.live(1, 2)
    tables.archived(2, 3, 4, status="OLD")
    tables.set_engines(*engines)
    tables.execute("DELETE FROM vicidial_list_archive WHERE lead_id = 4")  # with a hole, MyISAM does not insert beside readers
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="30", PACE=pace)
    with ThreadPoolExecutor(2) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        began = time.monotonic()
        report = threads.submit(cursor.execute, obstacle)
        time.sleep(0.5)
        answer = threads.submit(api.archive_all, [1, 2])
        time.sleep(1)
        took = []
        for statement in ("OPTIMIZE TABLE vicidial_list", "UPDATE vicidial_list SET called_count = called_count"):
            since = time.monotonic()
            tables.execute(statement)
            took.append(time.monotonic() - since)
        report.result()
        time.sleep(max(0, began + 5 - time.monotonic()))
        cursor.execute("UNLOCK TABLES")

    assert (answer.result().status_code, answer.result().json()["delete_count"]) == (200, 2)
    assert max(took) < PATIENCE
    live, archived = tables.both()
    assert live == {}
    assert {lead_id: archived[lead_id] for lead_id in before} == before


NO_BATCH = "no batch was processed since "


@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("InnoDB", "MyISAM"), ("MyISAM", "MyISAM")], ids="-".join)
def test_a_locked_table_that_only_a_trigger_uses_makes_readyz_red(
    tables: Tables, new_api: NewApi, pair: tuple[str, str]
) -> None:
    """No look can find it. But somebody who keeps a single lead locked does not stop different batches."""
    tables.set_engines(*pair)
    tables.execute("CREATE TABLE note (lead_id INT) ENGINE = MyISAM")
    tables.execute("CREATE TRIGGER note AFTER DELETE ON vicidial_list FOR EACH ROW INSERT INTO note VALUES (OLD.lead_id)")
    tables.live(1, 2, 3)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="2")
    with lock(tables, "LOCK TABLES note READ"):
        for batches, is_red in (([1], False), ([1, 2], pair[0] == "MyISAM"), ([2, 3], True)):
            assert api.archive_all(batches).status_code == 503
            found = [problem["message"] for problem in problems(api)]
            assert ([message[: len(NO_BATCH)] for message in found] == [NO_BATCH], found == []) == (is_red, not is_red)
    live, copies = tables.both()
    assert live == before
    assert copies.items() <= before.items()

    assert api.archive_all([1, 2, 3]).json()["delete_count"] == 3
    assert problems(api) == []
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("InnoDB", "MyISAM")], ids="-".join)
def test_one_lead_that_somebody_keeps_locked_makes_nothing_red(tables: Tables, new_api: NewApi, pair: tuple[str, str]) -> None:
    tables.set_engines(*pair)
    tables.live(1, 2, 3, 4)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="2")
    with lock(tables, "SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE"):
        for lead_ids in ([1, 2], [1, 3], [1, 2, 3]):
            assert api.archive_all(lead_ids).status_code == 503
            assert problems(api) == []
        assert api.archive_all([4]).json()["delete_count"] == 1
        assert api.archive_all([1]).status_code == 503
        assert problems(api) == []
    live, copies = tables.both()
    assert before[1] == live[1]
    assert {**copies, **live} == before

    assert api.archive_all([1, 2, 3]).status_code in {200, 404}
    assert problems(api) == []
    assert tables.both() == ({}, before)


def test_when_a_lock_is_gone_readyz_is_green_at_once_however_many_batches_it_stopped(tables: Tables, new_api: NewApi) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="2")
    with lock(tables, "LOCK TABLES vicidial_list_archive READ"):
        for lead_id in (1, 2):
            assert api.archive_all([lead_id]).status_code == 503
            assert [problem["message"] for problem in problems(api)] == [LOCKED.message]

    assert problems(api) == []
    assert tables.both() == (before, {})
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("table", ["vicidial_hopper", "vicidial_list"])
def test_a_lock_that_keeps_a_look_waiting_is_reported_within_six_seconds(tables: Tables, api: Api, table: str) -> None:
    tables.live(1)
    before = tables.both()
    assert problems(api) == []
    with lock(tables, f"LOCK TABLES {table} WRITE"):
        began = time.monotonic()
        found = [problem["message"] for problem in problems(api)]
        took = time.monotonic() - began

    assert (found, took < 6) == ([LOCKED.message], True), took
    assert problems(api) == []
    assert tables.both() == before
