"""/livez and /readyz: what they say of a database that is gone and of tables that do not fit, and how it is fixed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import pytest
from mariadb import free_port
from structlog.testing import capture_logs
from support.api import Api
from support.faults import DELETE, Bridge
from support.process import SLACK
from support.tables import Tables
from support.waiting import wait_until

from service.archive.refusals import LOCKED, REFUSAL_AGE, Refusals
from service.errors import DatabaseError, Problem

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


def problems(api: Api) -> list[dict[str, Any]]:
    """Return the problems that /readyz reports, and assert that the rest of its answer matches."""
    response = api.get("/readyz")
    answer = response.json()
    ready = not answer["problems"]
    assert (response.status_code, answer["message"]) == ((200, "ready") if ready else (503, "not ready"))
    assert response.headers.get("Retry-After") == (None if ready else "5")
    found: list[dict[str, Any]] = answer["problems"]
    return found


def obstacle(message: str, remedy: str | None = None, *operations: str) -> dict[str, Any]:
    """What is said of a problem that keeps these operations from working; both, if none is given."""
    return {"message": message, "remedy": remedy, "operations": list(operations) or ["archive", "dearchive"]}


def test_a_service_that_can_archive_is_alive_and_ready(tables: Tables, api: Api) -> None:
    assert api.get("/livez").json() == {"message": "alive"}
    assert api.get("/readyz").json() == {"message": "ready", "problems": [], "notes": [], "skipped_tables": []}
    assert tables.both() == ({}, {})


def test_without_a_database_the_service_is_alive_but_not_ready(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    before = tables.both()
    api = new_api(DATABASE_URL=f"mysql+asyncmy://user:secret-password@127.0.0.1:{free_port()}/{tables.database}")

    assert api.get("/livez").status_code == 200
    assert problems(api) == [obstacle("the database does not answer")]
    response = api.archive_all([1])
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json() == {"message": "the database could not process the batch; nothing was changed, repeat the request"}
    assert api.get("/livez").status_code == 200
    assert tables.both() == before


def test_what_the_database_says_when_it_refuses_is_for_the_log_only(tables: Tables, new_api: Callable[..., Api]) -> None:
    api = new_api(DATABASE_URL=tables.url.replace("//vicidial:", "//nobody:"))

    assert problems(api) == [obstacle("the database refuses; the log says why")]


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_missing_table_makes_readyz_red(tables: Tables, api: Api, table: str) -> None:
    assert problems(api) == []
    tables.execute(f"RENAME TABLE {table} TO elsewhere")

    assert problems(api) == [obstacle(f"Table '{tables.database}.{table}' doesn't exist")]

    tables.execute(f"RENAME TABLE elsewhere TO {table}")
    assert problems(api) == []


# How the tables come not to fit, what is said of it, and the statement that fixes it.
MISFITS = {
    "a column that the archive lacks": (
        [f"ALTER TABLE {LIST} ADD COLUMN loyalty_tier INT"],
        "vicidial_list_archive lacks the column loyalty_tier",
        "ALTER TABLE `vicidial_list_archive` ADD COLUMN `loyalty_tier` int(11) DEFAULT NULL AFTER `entry_list_id`",
        "archive",
    ),
    "a column with an odd name and a text that looks like SQL": (
        [f"ALTER TABLE {LIST} ADD COLUMN `a ``b;c` ENUM('x)','it''s,') NOT NULL DEFAULT 'x)' COMMENT '`, -- )'"],
        "vicidial_list_archive lacks the column a `b;c",
        "ALTER TABLE `vicidial_list_archive` ADD COLUMN `a ``b;c` enum('x)','it''s,') CHARACTER SET utf8mb3 COLLATE"
        " utf8mb3_unicode_ci NOT NULL DEFAULT 'x)' COMMENT '`, -- )' AFTER `entry_list_id`",
        "archive",
    ),
    "a TIMESTAMP that the archive has as a DATETIME": (
        [f"ALTER TABLE {ARCHIVE} MODIFY modify_date DATETIME"],
        "modify_date is TIMESTAMP in vicidial_list and DATETIME in vicidial_list_archive",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` MODIFY COLUMN"
        " `modify_date` timestamp NOT NULL"
        " DEFAULT current_timestamp() ON UPDATE current_timestamp()",
    ),
    "an archive without a key": (
        [f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY"],
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` ADD PRIMARY KEY (`lead_id`)",
    ),
    "an archive with a key of its own": (
        [f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY, ADD INDEX (lead_id), ADD COLUMN archive_id INT AUTO_INCREMENT PRIMARY KEY"],
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` ADD UNIQUE KEY (`lead_id`)",
    ),
    "a list whose key has a second column": (
        [f"ALTER TABLE {LIST} DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id)"],
        "lead_id is no unique key of vicidial_list: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list` ADD UNIQUE KEY (`lead_id`)",
    ),
    "a view in place of the archive": (
        [f"RENAME TABLE {ARCHIVE} TO archive", f"CREATE VIEW {ARCHIVE} AS SELECT * FROM archive"],
        "vicidial_list_archive is no table that keeps rows, but a view",
        None,
    ),
    "a view in place of the list": (
        [f"RENAME TABLE {LIST} TO list", f"CREATE VIEW {LIST} AS SELECT * FROM list"],
        "vicidial_list is no table that keeps rows, but a view",
        None,
    ),
}


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS.keys())
def test_tables_that_do_not_fit_are_fixed_with_the_remedy(tables: Tables, api: Api, misfit: Any) -> None:
    changes, message, remedy, *operations = misfit
    tables.live(1, 2)
    tables.archived(2, 3)
    assert problems(api) == []
    for change in changes:
        tables.execute(change)
    before = tables.both()

    assert problems(api) == [obstacle(message, remedy, *operations)]
    response = api.archive_all([1, 2])
    assert response.status_code == 503
    assert response.json()["message"] == (
        f"leads cannot be moved safely until an administrator mends this: {message}; no lead was deleted"
    )
    assert tables.both() == before

    if remedy:
        tables.execute(remedy)
        assert problems(api) == []
        assert api.archive_all([1, 2]).json()["delete_count"] == 2
        assert tables.execute(f"SELECT lead_id FROM {LIST}") == []
        assert tables.execute(f"SELECT lead_id FROM {ARCHIVE} ORDER BY lead_id") == [(b"1",), (b"2",), (b"3",)]


def test_all_problems_are_told_at_once(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN one INT, ADD COLUMN two VARCHAR(5) CHARACTER SET latin1")
    tables.execute(f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY")

    found = problems(api)

    assert [problem["message"] for problem in found] == [
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "vicidial_list_archive lacks the column one",
        "vicidial_list_archive lacks the column two",
    ]
    for problem in found:
        tables.execute(problem["remedy"])
    assert problems(api) == []


@pytest.mark.parametrize(("leads_in_use", "skipped"), [("keep", ["vicidial_callbacks", "vicidial_hopper"]), ("ignore", [])])
def test_tables_that_could_tell_of_leads_in_use_and_are_not_there_are_named(
    tables: Tables, new_api: Callable[..., Api], leads_in_use: str, skipped: list[str]
) -> None:
    tables.execute("DROP TABLE vicidial_hopper, vicidial_callbacks")

    answer = new_api(LEADS_IN_USE=leads_in_use).get("/readyz").json()

    assert answer == {"message": "ready", "problems": [], "notes": [], "skipped_tables": skipped}


def test_a_table_that_is_gone_for_a_while_is_looked_at_again_when_it_is_back(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    assert api.get("/readyz").json()["skipped_tables"] == []

    tables.execute("RENAME TABLE vicidial_hopper TO elsewhere")
    assert api.get("/readyz").json()["skipped_tables"] == ["vicidial_hopper"]
    assert api.archive_all([1]).json()["delete_count"] == 1

    tables.execute("RENAME TABLE elsewhere TO vicidial_hopper")
    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert api.get("/readyz").json()["skipped_tables"] == []
    assert tables.ids() == ([2], [1])


def test_readiness_is_answered_within_office_hours_too(new_api: Callable[..., Api]) -> None:
    hours = "Mon-Fri 00:00-24:00; Sat,Sun 00:00-23:59"  # all but a minute of the week
    assert problems(new_api(OFFICE_HOURS=hours, OFFICE_HOURS_TIMEZONE="UTC")) == []


def test_a_busy_pool_is_not_taken_for_a_silent_database(tables: Tables, new_api: Callable[..., Api]) -> None:
    """All connections of the pool wait for a locked lead. /readyz uses a connection of its own."""
    tables.live(1)
    api = new_api(DATABASE_POOL_SIZE="1", REQUEST_TIMEOUT="20")
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute(f"SELECT lead_id FROM {LIST} WHERE lead_id = 1 FOR UPDATE")
        cursor.fetchall()
        answers: list[int] = []
        batch = threading.Thread(target=lambda: answers.append(api.archive_all([1]).json()["delete_count"]))
        batch.start()
        tables.wait_until_a_lock_is_in_the_way()

        assert problems(api) == []

        assert batch.is_alive()
        holder.rollback()
    batch.join()
    holder.close()
    assert (answers, tables.ids()) == ([1], ([], [1]))


def test_the_database_is_looked_at_once_a_second_however_many_ask(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 3600.0)
    looks = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Com_show_create_table'"
    assert problems(api) == []
    before = tables.execute(looks)

    for _ in range(50):
        assert problems(api) == []

    assert tables.execute(looks) == before
    # A batch that is processed is no reason to look again, as long as nothing was in its way. One that is refused is.
    tables.live(2)
    assert api.archive_all([2]).json()["delete_count"] == 1
    before = tables.execute(looks)
    assert problems(api) == []
    assert tables.execute(looks) == before
    tables.live(1)
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN tier INT")
    assert api.archive_all([1]).status_code == 503
    assert [problem["message"] for problem in problems(api)] == ["vicidial_list_archive lacks the column tier"]
    assert tables.ids() == ([1], [2])


def test_a_batch_that_is_processed_shows_that_nothing_is_in_its_way(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the database: the last look has found nobody there."""
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 3600.0)
    tables.live(1)
    tables.execute(f"RENAME TABLE {ARCHIVE} TO elsewhere")
    assert len(problems(api)) == 1
    tables.execute(f"RENAME TABLE elsewhere TO {ARCHIVE}")
    assert len(problems(api)) == 1  # that is what the last look has found

    assert api.archive_all([1]).json()["delete_count"] == 1

    assert problems(api) == []
    assert tables.ids() == ([], [1])


@pytest.fixture
def bridge(tables: Tables) -> Iterator[Bridge]:
    with Bridge("127.0.0.1", 0, tables.mariadb.port) as bridge:
        yield bridge


@pytest.fixture
def over(tables: Tables, bridge: Bridge) -> str:
    """The DATABASE_URL over the bridge."""
    return bridge.over(tables.url)


def assert_no_batch_passes(api: Api, last: str) -> None:
    """Assert that /readyz says since when no batch was processed. last: how the last one failed."""
    (problem,) = problems(api)
    assert problem["operations"] == ["archive", "dearchive"]
    found = re.fullmatch(
        r"no batch was processed since (.+) UTC: each one failed in the database, the last one (.+)\. The log says why, and"
        " SHOW PROCESSLIST shows what batches wait for",
        problem["message"],
    )
    assert found, problem
    since = datetime.fromisoformat(f"{found[1]}+00:00")
    assert timedelta(0) <= datetime.now(UTC) - since < timedelta(minutes=1)
    assert found[2] == last


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_connection_that_is_lost_with_each_batch_makes_readyz_red(
    tables: Tables, new_api: Callable[..., Api], bridge: Bridge, over: str
) -> None:
    """As with a damaged page at which the server crashes."""
    tables.live(1, 2)
    api = new_api(DATABASE_URL=over)
    assert problems(api) == []
    before, _ = tables.both()
    bridge.cuts = DELETE

    assert api.archive_all([1]).status_code == 503
    assert problems(api) == []  # a single one
    for _ in range(2):
        assert api.archive_all([1]).status_code == 503
        assert_no_batch_passes(api, "with error 2013")
    live, archived = tables.both()
    assert live == before
    assert archived.items() <= before.items()

    bridge.cuts = None
    assert api.archive_all([2]).json()["delete_count"] == 1
    assert problems(api) == []
    live, archived = tables.both()
    assert (live, archived[2]) == ({1: before[1]}, before[2])


def test_a_connection_that_is_killed_with_each_batch_makes_readyz_red(tables: Tables, api: Api) -> None:
    """As with pt-kill."""
    tables.execute(f"CREATE TRIGGER killer BEFORE DELETE ON {LIST} FOR EACH ROW KILL CONNECTION_ID()")
    tables.live(1, 2)
    before, _ = tables.both()
    assert api.archive_all([1]).status_code == 503
    assert problems(api) == []

    assert api.archive_all([1]).status_code == 503

    assert_no_batch_passes(api, "with error 1927")
    assert tables.both() == (before, {})
    tables.execute("DROP TRIGGER killer")
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert problems(api) == []
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("at", [DELETE, re.compile(rb"\x03COMMIT$")], ids=["DELETE", "COMMIT"])
def test_a_single_batch_that_is_broken_off_makes_nothing_red(
    tables: Tables, new_api: Callable[..., Api], bridge: Bridge, over: str, at: re.Pattern[bytes]
) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    api = new_api(DATABASE_URL=over)
    for lead_ids in ([1], [2]):
        bridge.cuts = at
        assert api.archive_all(lead_ids).status_code == 503
        bridge.cuts = None
        assert problems(api) == []

        assert api.archive_all(lead_ids).json()["delete_count"] == 1
        assert problems(api) == []
    assert tables.both() == ({3: before[3]}, {lead_id: before[lead_id] for lead_id in (1, 2)})


def test_batches_that_are_broken_off_at_the_same_moment_make_nothing_red(tables: Tables, new_api: Callable[..., Api]) -> None:
    """As at a restart of the server. The next batch shows that all is well."""
    tables.live(1, 2, 3, 4)
    before, _ = tables.both()
    api = new_api(PACE="full")
    assert api.archive_all([4]).json()["delete_count"] == 1
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor, ThreadPoolExecutor(3) as clients:
        cursor.execute("BACKUP STAGE START")
        cursor.execute("BACKUP STAGE BLOCK_COMMIT")
        answers = [clients.submit(api.archive_all, [lead_id]) for lead_id in (1, 2, 3)]
        commits = "SELECT id FROM information_schema.processlist WHERE info = 'COMMIT'"
        wait_until(lambda: len(tables.execute(commits)) == len(answers))
        for (session,) in tables.execute(commits):
            tables.execute(f"KILL {int(session or 0)}")
        assert {answer.result().status_code for answer in answers} == {503}
        cursor.execute("BACKUP STAGE END")

    assert problems(api) == []
    live, archived = tables.both()
    assert {**live, **archived} == before
    assert not live.keys() & archived.keys()


def test_batches_that_all_take_too_long_make_readyz_red(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.execute(f"CREATE TRIGGER slow AFTER DELETE ON {LIST} FOR EACH ROW DO SLEEP(10)")
    tables.live(1, 2, 3)
    before = tables.both()
    api = new_api(REQUEST_TIMEOUT="1")
    for _ in range(2):
        assert api.archive_all([1, 2]).status_code == 503
        assert problems(api) == []  # somebody may keep lead 1 locked

    assert api.archive_all([3]).status_code == 503

    assert_no_batch_passes(api, "without an answer")
    assert tables.both() == before
    tables.execute("DROP TRIGGER slow")
    assert api.archive_all([1, 2, 3]).json()["delete_count"] == 3
    assert problems(api) == []
    assert tables.both() == ({}, before[0])


def test_batches_that_had_hardly_any_time_do_not_make_readyz_red(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that sends its bodies slowly leaves none, and the database is well."""
    monkeypatch.setattr("service.archive.mover.HURRIED", 1.0)
    tables.execute(f"CREATE TRIGGER slow AFTER DELETE ON {LIST} FOR EACH ROW DO SLEEP(10)")
    tables.live(1, 2, 3)
    before = tables.both()
    api = new_api(REQUEST_TIMEOUT="1")

    for lead_id in (1, 2, 3):
        assert api.archive_all([lead_id]).status_code == 503
        assert problems(api) == []

    assert tables.both() == before


CALLERS = 20


def test_many_gentle_callers_beside_a_locked_table_keep_readyz_red(tables: Tables, new_api: Callable[..., Api]) -> None:
    """Each batch that has its turn uses up the time of the next ones: they get hardly any, and the lock is the reason."""
    tables.live(*range(1, 10 * CALLERS + 1))
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="5", PACE="gentle")
    stop = threading.Event()

    def send(caller: int) -> set[int]:
        statuses = set()
        stop.wait(0.11 * caller)  # one after the other
        for number in itertools.count():
            if stop.wait(0.2):
                break
            statuses.add(api.archive_all([1 + 10 * caller + number % 10]).status_code)
        return statuses

    with (
        tables.mariadb.connect(tables.database) as other,
        other.cursor() as cursor,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        cursor.execute(f"LOCK TABLES {ARCHIVE} READ")
        answers = [threads.submit(send, caller) for caller in range(CALLERS)]
        try:
            wait_until(lambda: problems(api), 2 * 5 + SLACK)
            until = time.monotonic() + REFUSAL_AGE + 3
            while time.monotonic() < until:
                assert problems(api) == [obstacle(LOCKED.message)]
                time.sleep(0.5)
        finally:
            stop.set()
        assert set().union(*(answer.result() for answer in answers)) == {503}

    assert tables.both() == (before, {})
    wait_until(lambda: problems(api) == [])
    assert api.archive_all(list(before)).json()["delete_count"] == len(before)
    assert tables.both() == ({}, before)


def test_a_stream_of_gentle_batches_of_which_each_takes_too_long_keeps_readyz_red(
    tables: Tables, new_api: Callable[..., Api]
) -> None:
    """The one that has its turn leaves the next one hardly any time."""
    tables.execute(f"CREATE TRIGGER slow AFTER DELETE ON {LIST} FOR EACH ROW DO SLEEP(10)")
    tables.live(*range(1, 101))
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="2", PACE="gentle")

    with ThreadPoolExecutor(CALLERS) as threads:
        began, is_red, answers = time.monotonic(), [], []
        for lead_id in range(1, 81):  # for longer than a refusal is remembered
            answers.append(threads.submit(api.archive_all, [lead_id]))
            if time.monotonic() - began > 2 * 2 + 2:
                is_red.append(bool(problems(api)))
            time.sleep(0.2)
        assert {answer.result().status_code for answer in answers} == {503}

    assert set(is_red) == {True}
    assert problems(api)[0]["message"].startswith("no batch was processed since")
    tables.execute("DROP TRIGGER slow")
    assert tables.both() == (before, {})
    assert api.archive_all(list(before)).json()["delete_count"] == len(before)
    assert problems(api) == []
    assert tables.both() == ({}, before)


READS: dict[str, Callable[[Api], Any]] = {
    "find": lambda api: api.find(where={"statuses": ["NONE"]}),
    "compare": lambda api: api.compare(list(range(1, 5001))),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_search_or_comparison_that_somebody_ends_does_not_make_readyz_red(
    tables: Tables, new_api: Callable[..., Api], read: Callable[[Api], Any]
) -> None:
    """Such as an administrator's tool that ends long SELECTs."""
    tables.execute("INSERT INTO vicidial_list (lead_id, status, list_id) SELECT seq, 'SALE', 998 FROM seq_1_to_30000")
    before = tables.both()
    api = new_api(LEAD_IDS_LIMIT="10000")
    assert problems(api) == []
    stop = threading.Event()

    def kill() -> None:
        with tables.mariadb.connect() as other, other.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(
                    "SELECT id FROM information_schema.processlist "
                    f"WHERE db = '{tables.database}' AND command = 'Query' AND info LIKE '%{LIST}%'"
                )
                for (number,) in cursor.fetchall():
                    with contextlib.suppress(pymysql.Error):  # it has ended
                        cursor.execute(f"KILL QUERY {number}")

    with ThreadPoolExecutor(1) as threads, capture_logs() as log:
        killer = threads.submit(kill)
        try:
            wait_until(lambda: read(api).status_code == 503)
        finally:
            stop.set()
        killer.result()

    assert [line["code"] for line in log if line["event"] == "database error"] == [1317]
    assert problems(api) == []
    assert tables.both() == before
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids()[1] == [1]


@pytest.mark.parametrize("code", [1040, 1047, 1142, 1146, 1153, 1932])
def test_a_search_that_is_refused_as_a_batch_would_be_makes_readyz_red(code: int) -> None:
    async def said() -> Problem | None:
        async def is_locked() -> bool:
            return False

        refusals = Refusals()
        refusals.note(DatabaseError("SELECT command denied", code))
        return await refusals.problem(is_locked, None)  # type: ignore[arg-type]  # the tables are not asked for

    assert asyncio.run(said())


def test_a_commit_that_takes_too_long_makes_readyz_red(tables: Tables, new_api: Callable[..., Api]) -> None:
    """As with a replica for which COMMIT waits (semi-synchronous replication). It never waits for a lead."""
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="1")  # the server gives up the lock a moment later
    assert api.archive_all([2]).json()["delete_count"] == 1
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        cursor.execute("BACKUP STAGE START")
        cursor.execute("BACKUP STAGE BLOCK_COMMIT")

        answer = api.archive_all([1])

        assert (answer.status_code, "may have been applied" in answer.json()["message"]) == (503, True)
        assert_no_batch_passes(api, "without an answer")
        cursor.execute("BACKUP STAGE END")
    assert api.archive_all([1]).status_code == 200
    assert problems(api) == []
    assert tables.both() == ({}, before)


def test_a_silent_database_is_reported_within_six_seconds(
    new_api: Callable[..., Api], tables: Tables, bridge: Bridge, over: str
) -> None:
    api = new_api(DATABASE_URL=over)
    assert problems(api) == []
    bridge.passes.clear()
    began = time.monotonic()

    found = problems(api)

    assert time.monotonic() - began < 6
    assert found == [obstacle("the database does not answer")]
    bridge.passes.set()
    assert problems(api) == []
    assert tables.both() == ({}, {})
