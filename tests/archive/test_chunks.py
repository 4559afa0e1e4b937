"""Tables without rollback: leads are changed a few at a time, and the dialler does not wait for the archive's indexes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from itertools import count, product
from pathlib import Path
from typing import Any

import pymysql
import pytest
from mariadb import PrivateMariaDB
from structlog.testing import capture_logs
from support.api import Api
from support.auditor import answer, read
from support.tables import Tables
from support.waiting import wait_until

from service.api.error_responses import MAY_BE_APPLIED
from service.archive import chunks
from service.archive.chunks import Chunks, Sizes
from service.archive.lead_ids import LeadIDs
from service.archive.pace import Turn
from service.archive.row_changes import Changes, Run
from service.database.pauses import Pauses
from service.database.pool import ATTEMPTS
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK, LOCK_WAIT_TIMEOUT
from service.tables.chunk_table import NAME
from service.tables.definitions import TablePair

GONE = (
    "leads of the batch were deleted or moved by another program while it was processed; the batch may have been applied to "
    "the others. Send the same request again: the answer names those that are gone"
)
PAIRS = [pair for pair in product(["InnoDB", "MyISAM", "Aria"], repeat=2) if pair != ("InnoDB", "InnoDB")]
FEW_PAIRS = [("MyISAM", "MyISAM"), ("Aria", "Aria"), ("MyISAM", "InnoDB"), ("InnoDB", "MyISAM")]
"""For tests of what is counted: with and without rollback, on either side."""
ACCOUNT = "'no_temporary_tables'@'127.0.0.1'"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that a few leads need many, of all kinds."""
    monkeypatch.setattr(chunks, "FULL", Sizes(chunk=5, joined=2, delete=3))


def use_engines(tables: Tables, live: str, archive: str) -> None:
    tables.execute(f"ALTER TABLE vicidial_list ENGINE = {live}")
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {archive}")


def fill(tables: Tables) -> dict[int, Any]:
    """Leads in every state. Return what the archive holds once 1 to 17 are archived."""
    tables.live(*range(1, 18), comments="é and ' and \\ ", date_of_birth="0000-00-00")
    tables.archived(2, 9, 16, status="NEW")
    tables.archived(4, 11, comments="é and ' and \\ ", date_of_birth="0000-00-00")
    live, archived = tables.both()
    return archived | live


COUNTS = {"select_count": 17, "insert_count": 12, "update_count": 3, "delete_count": 17, "remaining_lead_ids": []}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_batch_of_many_chunks_is_answered_like_one(tables: Tables, api: Api, pair: tuple[str, str]) -> None:
    use_engines(tables, *pair)
    expected = fill(tables)

    there = api.archive_all(list(range(1, 18))).json()
    assert tables.both() == ({}, expected)
    back = api.dearchive_all(list(range(1, 18))).json()

    assert {name: there[name] for name in COUNTS} == COUNTS
    assert (back["insert_count"], back["delete_count"], back["remaining_lead_ids"]) == (17, 17, [])
    assert tables.both() == (expected, {})


@pytest.fixture
def without_temporary_tables(
    tables: Tables, mariadb: PrivateMariaDB, new_api: Callable[..., Api]
) -> Iterator[Callable[[], Api]]:
    """An API whose account may not create temporary tables."""
    tables.execute(f"CREATE OR REPLACE USER {ACCOUNT} IDENTIFIED BY 'secret'")
    tables.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables.database}.* TO {ACCOUNT}")
    url = f"mysql+asyncmy://no_temporary_tables:secret@127.0.0.1:{mariadb.port}/{tables.database}"
    yield lambda: new_api(DATABASE_URL=url)
    tables.execute(f"DROP USER {ACCOUNT}")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_an_account_that_may_not_create_temporary_tables(tables: Tables, without_temporary_tables: Callable[[], Api]) -> None:
    expected = fill(tables)
    api = without_temporary_tables()

    answer = api.archive_all(list(range(1, 18))).json()

    assert {name: answer[name] for name in COUNTS} == COUNTS
    assert tables.both() == ({}, expected)
    assert api.get("/readyz").status_code == 200


@contextmanager
def stopped(tables: Tables, timing: str) -> Iterator[None]:
    """A batch stops at a trigger of the archive until the end of the block."""
    with tables.mariadb.connect(tables.database) as holder, holder.cursor() as cursor:
        cursor.execute(f"SELECT GET_LOCK('{tables.database}', 10)")
        tables.execute(
            f"CREATE TRIGGER stop {timing} ON vicidial_list_archive FOR EACH ROW"
            f" DO GET_LOCK('{tables.database}', 20), RELEASE_LOCK('{tables.database}')"
        )
        yield


def is_stopped(tables: Tables) -> bool:
    return bool(
        tables.execute(f"SELECT 1 FROM information_schema.processlist WHERE db = '{tables.database}' AND state = 'User lock'")
    )


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_the_dialler_writes_while_leads_are_written_into_the_archive(tables: Tables, api: Api) -> None:
    """On the way, the dialler writes to a lead of the batch and to another one, and does not wait."""
    tables.live(1, 2, 3, 9)
    before, _ = tables.both()
    with ThreadPoolExecutor(1) as client, tables.mariadb.connect(tables.database) as dialler:
        with stopped(tables, "BEFORE INSERT"), dialler.cursor() as cursor:
            batch = client.submit(api.archive_all, [1, 2, 3])
            wait_until(lambda: is_stopped(tables))
            cursor.execute("SET lock_wait_timeout = 1, max_statement_time = 1")
            for lead_id in (2, 9):
                cursor.execute("UPDATE vicidial_list SET status = 'XFER' WHERE lead_id = %s", [lead_id])
            assert not batch.done()
        answer = batch.result().json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 2, [2])
    assert tables.ids() == ([2, 9], [1, 2, 3])
    assert tables.execute("SELECT status FROM vicidial_list") == [(b"XFER",), (b"XFER",)]
    _, archived = tables.both()
    assert archived == {lead_id: before[lead_id] for lead_id in (1, 2, 3)}


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_newer_data_that_another_batch_has_archived_is_not_overwritten(tables: Tables, api: Api) -> None:
    """Between the look of a batch and its UPDATE, the lead is called and archived by somebody else."""
    tables.live(1, 2)
    tables.archived(1, status="OLD")
    with ThreadPoolExecutor(1) as client, stopped(tables, "BEFORE INSERT"):
        batch = client.submit(api.archive_all, [1, 2])
        wait_until(lambda: is_stopped(tables))
        with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
            cursor.execute("UPDATE vicidial_list SET status = 'XFER' WHERE lead_id = 1")
            cursor.execute("DELETE FROM vicidial_list WHERE lead_id = 1")
    answer = batch.result().json()

    assert answer["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])
    assert tables.execute("SELECT status FROM vicidial_list_archive WHERE lead_id = 1") == [(b"OLD",)]


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_batch_that_only_reads_vicidial_list_waits_for_no_reader(tables: Tables, api: Api) -> None:
    """SELECT ... FOR UPDATE would wait for a write lock on the table, and the dialler behind it."""
    tables.live(1, 2)
    before, _ = tables.both()
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_list READ")
        answer = api.archive({**api.ALL, "delete_leads": False, "lead_ids": [1, 2]}).json()

    assert answer["insert_count"] == 2
    assert tables.both() == (before, before)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_no_temporary_table_is_left(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(*range(1, 18))
    api = new_api(DATABASE_POOL_SIZE="1")
    for lead_id in range(1, 18):
        assert api.archive_all([lead_id]).json()["delete_count"] == 1

    with pytest.raises(pymysql.err.ProgrammingError, match=NAME):
        tables.execute(f"SELECT 1 FROM {NAME}")
    ((left,),) = tables.execute(f"SELECT COUNT(*) FROM information_schema.tables WHERE table_name = '{NAME}'")
    assert int(left or b"") == 0


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_that_gets_into_use_between_two_chunks_stays(tables: Tables, api: Api) -> None:
    tables.live(*range(1, 18))
    tables.execute(
        "CREATE TRIGGER dial BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 1 THEN INSERT INTO vicidial_hopper (lead_id) VALUES (8); END IF"
    )

    answer = api.archive_all(list(range(1, 18))).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (16, 16, [8])
    assert tables.ids() == ([8], [lead_id for lead_id in range(1, 18) if lead_id != 8])


@pytest.fixture
def delete_meanwhile(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have somebody delete a lead while the first ones are being copied: the temporary table has been filled."""

    def delete(victim: int) -> None:
        stage = Chunks._stage

        async def deleted_afterwards(*arguments: Any) -> Mapping[str, str] | None:
            source = await stage(*arguments)
            tables.execute(f"DELETE FROM vicidial_list WHERE lead_id = {victim}")
            return source

        monkeypatch.setattr(Chunks, "_stage", deleted_afterwards)

    return delete


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("victim", [3, 17], ids=["of the same chunk", "of a later chunk"])
@pytest.mark.parametrize("deletes", [True, False], ids=["move", "copy"])
def test_a_lead_that_somebody_deletes_meanwhile_is_in_the_answer_to_the_repeat(
    tables: Tables,
    new_api: Callable[..., Api],
    tmp_path: Path,
    delete_meanwhile: Callable[[int], None],
    victim: int,
    deletes: bool,
) -> None:
    """The batch before it is not answered as if the lead had been archived before. The audit does not claim the lead."""
    api = new_api(AUDIT_LOG=str(tmp_path / "audit.log"))
    asked = list(range(1, 18))
    others = [lead_id for lead_id in asked if lead_id != victim]
    tables.live(*asked)
    before, _ = tables.both()
    copies = {lead_id: before[lead_id] for lead_id in others}
    delete_meanwhile(victim)
    batch = {**api.ALL, "delete_leads": deletes, "lead_ids": asked}

    response = api.archive(batch)

    in_archive = victim == 3  # the temporary table of its chunk had it already
    if in_archive:
        copies[victim] = before[victim]
    assert tables.both() == ({} if deletes else {lead_id: before[lead_id] for lead_id in others}, copies)
    outcome = json.loads((tmp_path / "audit.log").read_text().splitlines()[-1])
    assert outcome["outcome"] == "committed"
    assert outcome["deleted_lead_ids"] == (others if deletes else [])
    if in_archive:
        assert (response.status_code, outcome["gone_lead_ids"]) == (200, [])
        return
    assert (response.status_code, outcome["gone_lead_ids"]) == (503, [victim])
    assert [line["moved"] for line in answer(read(tmp_path / "audit.log"), victim)] == ["gone"] * deletes
    assert response.json() == {"message": GONE}
    again = api.archive(batch)
    assert (again.status_code, again.json()["lead_ids"]) == (404, [victim])


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("reason", ["a trigger", "a lock", "a lock at the second lead"])
def test_a_lead_that_somebody_deletes_after_a_delete_has_failed_is_not_counted(
    tables: Tables, new_api: Callable[..., Api], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """The archive has an older copy of lead 3, and a copy of lead 4 that the batch has just made."""
    api = new_api(AUDIT_LOG=str(tmp_path / "audit.log"))
    tables.live(1, 2, 3, 4, 5)
    tables.archived(3, status="OLD")
    live, archived = tables.both()
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    finished = Changes._finished

    async def deleted_before(*arguments: Any) -> LeadIDs:
        holder.rollback()
        tables.execute("DELETE FROM vicidial_list WHERE lead_id IN (3, 4)")
        return await finished(*arguments)

    if reason == "a trigger":
        tables.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON vicidial_list FOR EACH ROW"
            " IF OLD.lead_id = 2 THEN SIGNAL SQLSTATE '45000'; END IF"
        )
    else:
        tables.execute("ALTER TABLE vicidial_hopper ENGINE = InnoDB")
        if reason == "a lock at the second lead":
            tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (5)")  # so that each lead is looked up
        with holder.cursor() as cursor:
            cursor.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    monkeypatch.setattr(Changes, "_finished", deleted_before)

    response = api.archive({**api.ALL, "update_leads": False, "lead_ids": [1, 2, 3, 4, 5]})

    stays = {"a trigger": [2], "a lock": [], "a lock at the second lead": [5]}[reason]
    moved = [lead_id for lead_id in (1, 2, 5) if lead_id not in stays]
    copies = {lead_id: live[lead_id] for lead_id in (1, 2, 4, 5) if reason == "a trigger" or lead_id not in stays}
    assert tables.both() == ({lead_id: live[lead_id] for lead_id in stays}, copies | archived)
    assert response.status_code == 200
    assert (response.json()["delete_count"], response.json()["remaining_lead_ids"]) == (len(moved), stays)
    assert json.loads((tmp_path / "audit.log").read_text().splitlines()[-1])["deleted_lead_ids"] == moved
    holder.close()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_in_use_that_somebody_deletes_meanwhile_is_in_the_answer_to_the_repeat(
    tables: Tables, api: Api, delete_meanwhile: Callable[[int], None]
) -> None:
    """It was not about to be deleted, and is not left behind either."""
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    delete_meanwhile(2)

    response = api.archive_all([1, 2])

    assert (response.status_code, response.json()) == (503, {"message": GONE})
    assert tables.both() == ({}, {1: before[1]})
    assert api.archive_all([1, 2]).json()["lead_ids"] == [2]


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_that_is_erased_while_the_batch_waits_for_others_does_not_come_back(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, pace: str
) -> None:
    """Before the batch may write, somebody erases the lead from both tables."""
    api = new_api(PACE=pace)
    tables.live(1, 2)
    before, _ = tables.both()
    writing = Turn.writing

    def erased_meanwhile(turn: Turn, *, has_changed: bool) -> AbstractAsyncContextManager[None]:
        for table in ("vicidial_list", "vicidial_list_archive"):
            tables.execute(f"DELETE FROM {table} WHERE lead_id = 2")
        return writing(turn, has_changed=has_changed)

    monkeypatch.setattr(Turn, "writing", erased_meanwhile)

    response = api.archive_all([1, 2])

    assert tables.both() == ({}, {1: before[1]})
    assert (response.status_code, response.json()) == (503, {"message": GONE})
    assert api.archive_all([1, 2]).json()["lead_ids"] == [2]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize(
    "change",
    ["RENAME TABLE vicidial_list_archive TO moved_away, narrow TO vicidial_list_archive", "DROP TABLE vicidial_lists"],
    ids=["a column is gone", "no lists"],
)
def test_tables_that_stop_to_fit_between_two_chunks(tables: Tables, api: Api, change: str) -> None:
    """The first chunk has been deleted. The answer does not say that no lead was."""
    tables.live(*range(1, 18))
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) VALUES (998, 'X')")
    tables.execute("CREATE TABLE narrow LIKE vicidial_list_archive")
    tables.execute("ALTER TABLE narrow DROP COLUMN owner")
    before, _ = tables.both()
    batch = {**api.ALL, "lead_ids": list(range(1, 18)), "where": {"campaign_ids": ["X"]}}
    with ThreadPoolExecutor(2) as clients:
        with tables.mariadb.connect(tables.database) as holder, holder.cursor() as cursor:
            cursor.execute(f"SELECT GET_LOCK('{tables.database}', 10)")
            tables.execute(
                "CREATE TRIGGER stop AFTER DELETE ON vicidial_list FOR EACH ROW"
                f" DO IF(OLD.lead_id = 5, GET_LOCK('{tables.database}', 20) + RELEASE_LOCK('{tables.database}'), 0)"
            )
            answer = clients.submit(api.archive, batch)
            wait_until(lambda: is_stopped(tables))
            altered = clients.submit(tables.execute, change)
            time.sleep(0.5)  # until it waits for the batch, which has the lock on the definitions
        altered.result()
        response = answer.result()

    assert response.status_code == 503
    assert response.json()["message"].endswith(f"; {MAY_BE_APPLIED}")
    assert "mends this" in response.json()["message"]
    assert list(tables.rows("vicidial_list")) == list(range(6, 18))
    archived = tables.rows("moved_away" if "moved_away" in change else "vicidial_list_archive")
    assert archived == {lead_id: before[lead_id] for lead_id in range(1, 6)}


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("first", ["vicidial_list", "vicidial_list_archive"])
@pytest.mark.parametrize("archived", [[], [1, 2]], ids=["INSERT", "UPDATE"])
def test_the_dialler_does_not_wait_with_a_batch_for_a_report_on_the_archive(
    tables: Tables, new_api: Callable[..., Api], first: str, archived: list[int]
) -> None:
    """MariaDB locks the tables of a statement in the order in which they lie in memory."""
    tables.live(1, 2, 9)
    tables.archived(8, *archived, status="OLD")
    leads, copies = tables.both()
    api = new_api(REQUEST_TIMEOUT="30")
    assert api.archive({**api.ALL, "delete_leads": False, "lead_ids": [8]}).status_code == 200
    tables.execute("FLUSH TABLES")
    for name in (first, "vicidial_list", "vicidial_list_archive"):
        tables.execute(f"SELECT 1 FROM {name} LIMIT 1")
    with ThreadPoolExecutor(2) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as report:
        reading = threads.submit(report.execute, "SELECT SLEEP(3) FROM vicidial_list_archive LIMIT 1")
        tables.wait_for_a_trigger()
        batch = threads.submit(api.archive_all, [1, 2])
        longest = 0.0
        while not batch.done():
            began = time.monotonic()
            tables.execute("UPDATE vicidial_list SET status = status WHERE lead_id = 9")
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.02)
        reading.result()

    answer = batch.result().json()
    assert (batch.result().status_code, answer["insert_count"] + answer["update_count"], answer["delete_count"]) == (200, 2, 2)
    assert longest < 1
    assert tables.both() == ({9: leads[9]}, {1: leads[1], 2: leads[2], 8: copies[8]})


MIXED = [(live, archive) for live, archive in PAIRS if "InnoDB" in (live, archive)]


def assert_moved(tables: Tables, path: Path, response: Any, expected: dict[int, Any], *, back: bool = False) -> None:
    """Assert that leads 1 to 17 were moved as if nothing had been in the way. expected: what fill() has returned."""
    body = response.json()
    counts = {**COUNTS, "insert_count": 17, "update_count": 0} if back else COUNTS
    assert response.status_code == 200, body
    assert {name: body.get(name, 0) for name in counts} == counts
    assert tables.both() == ((expected, {}) if back else ({}, expected))
    outcome = read(path)[-1]
    assert (outcome["outcome"], outcome["deleted_lead_ids"]) == ("committed", list(range(1, 18)))


class Maintenance:
    """A statement that wants both tables for itself. It comes before the service sends something for the nth time."""

    def __init__(self, tables: Tables, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
        self.begins_at = 0
        self._tables = tables
        self._statement = statement
        self._sent = 0
        self._threads = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        send = Transaction._send

        def send_later(*arguments: Any, **options: Any) -> Any:
            self._sent += 1
            if self._sent == self.begins_at:
                self._running = self._threads.submit(self._run)
                wait_until(self._waits_or_is_over)
            return send(*arguments, **options)

        monkeypatch.setattr(Transaction, "_send", send_later)

    def _run(self) -> None:
        with self._tables.mariadb.connect(self._tables.database) as session, session.cursor() as cursor:
            cursor.execute(self._statement)

    def _waits_or_is_over(self) -> bool:
        assert self._running
        waiting = "SELECT 1 FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'"
        return self._running.done() or bool(self._tables.execute(waiting))

    def comes_in(self, batch: Callable[[], Any], moment: int) -> tuple[Any, bool]:
        """Return the answer to a batch, and whether the statement came while the batch was running."""
        self._sent, self.begins_at, self._running = 0, moment, None
        response = batch()
        self.begins_at = 0
        if self._running is None:
            return response, False
        self._running.result()
        return response, True


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("statement", ["LOCK TABLES {} WRITE, {} WRITE", "OPTIMIZE TABLE {}, {}"], ids=["LOCK", "OPTIMIZE"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_maintenance_of_both_tables_at_any_moment_only_delays_a_batch(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    statement: str,
) -> None:
    """It waits for what the batch has read, and the batch, which is about to write, waits for it. MariaDB ends the transaction
    of the batch: a deadlock."""
    # As long as an UPDATE that does not wait is repeated.
    monkeypatch.setattr("service.archive.row_changes.LONGEST_WAIT", 0.05)
    api = new_api(AUDIT_LOG=str(path))
    use_engines(tables, *pair)
    statement = statement.format("vicidial_list", "vicidial_list_archive")
    maintenance = Maintenance(tables, monkeypatch, statement)
    asked = list(range(1, 18))
    for moment in count(1):
        expected = fill(tables)
        there, is_there = maintenance.comes_in(lambda: api.archive_all(asked), moment)
        assert_moved(tables, path, there, expected)
        back, is_back = maintenance.comes_in(lambda: api.dearchive_all(asked), moment)
        assert_moved(tables, path, back, expected, back=True)
        tables.execute("DELETE FROM vicidial_list")
        if not is_there and not is_back:
            break
    assert moment > 10


def fail_once(
    tables: Tables, timing: str, event: str, table: str, condition: str = "@lead_id % 3 = 0", number: int = DEADLOCK
) -> None:
    """Let a statement fail with an error number when it comes to a lead for the first time. Which ones have failed is in a
    MyISAM table, so it survives a rollback."""
    row = "OLD" if event == "DELETE" else "NEW"
    tables.execute("CREATE TABLE IF NOT EXISTS failures (event VARCHAR(6), lead_id INT) ENGINE = MyISAM")
    tables.execute(
        f"CREATE TRIGGER fail_{event} {timing} {event} ON {table} FOR EACH ROW"
        f" IF {condition.replace('@', f'{row}.')}"
        f" AND NOT EXISTS (SELECT 1 FROM failures WHERE event = '{event}' AND lead_id = {row}.lead_id) THEN"
        f" INSERT INTO failures VALUES ('{event}', {row}.lead_id);"
        f" SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}; END IF"
    )


BeforeEachPause = Callable[[Callable[[], object]], None]


@pytest.fixture
def before_each_pause(monkeypatch: pytest.MonkeyPatch) -> BeforeEachPause:
    """before_each_pause(then) has then() called before each pause: a lock was in the way, and the batch has let go."""

    def call(then: Callable[[], object]) -> None:
        pause = Pauses.pause

        async def call_and_pause(pauses: Pauses) -> None:
            then()
            await pause(pauses)

        monkeypatch.setattr(Pauses, "pause", call_and_pause)

    return call


NUMBERS = {"a deadlock": DEADLOCK, "a lock": LOCK_WAIT_TIMEOUT}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_after_a_deadlock_or_a_lock_in_the_middle_of_a_statement_what_was_done_counts(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    timing: str,
    pace: str,
    number: int,
) -> None:
    monkeypatch.setattr(chunks, "GENTLE", chunks.FULL)
    api = new_api(AUDIT_LOG=str(path), PACE=pace)
    use_engines(tables, *pair)
    expected = fill(tables)
    fail_once(tables, timing, "INSERT", "vicidial_list_archive", number=number)
    # A lock makes an UPDATE of tables without row locks fail before its first row.
    update_number = number if pair in MIXED else DEADLOCK
    fail_once(tables, timing, "UPDATE", "vicidial_list_archive", "@lead_id IN (2, 16)", update_number)
    fail_once(tables, timing, "DELETE", "vicidial_list", number=number)

    response = api.archive_all(list(range(1, 18)))

    assert_moved(tables, path, response, expected)
    failed = tables.execute("SELECT event, COUNT(*) FROM failures GROUP BY event ORDER BY event")
    assert failed == [(b"DELETE", b"5"), (b"INSERT", b"4"), (b"UPDATE", b"2")]


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_lead_that_is_changed_while_its_chunk_waits_counts_once(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    pace: str,
    before_each_pause: BeforeEachPause,
) -> None:
    """Vicidial resets the list when the leads are copied, but not deleted yet: each copy is updated once more. And somebody
    deletes a copy."""
    api = new_api(AUDIT_LOG=str(path), PACE=pace)
    use_engines(tables, *pair)
    fill(tables)
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id = 1", LOCK_WAIT_TIMEOUT)

    def reset() -> None:
        tables.run_elsewhere("UPDATE vicidial_list SET called_since_last_reset = 'D', modify_date = modify_date")
        tables.run_elsewhere("DELETE FROM vicidial_list_archive WHERE lead_id = 3")

    before_each_pause(reset)

    response = api.archive_all(list(range(1, 18)))

    monkeypatch.undo()
    live, archived = tables.both()
    assert (sorted(live), sorted(archived)) == ([], list(range(1, 18)))
    assert tables.execute("SELECT DISTINCT called_since_last_reset FROM vicidial_list_archive") == [(b"D",)]
    assert {name: response.json()[name] for name in COUNTS} == {**COUNTS, "update_count": 5}
    assert (read(path)[-1]["insert_count"], read(path)[-1]["update_count"]) == (12, 5)


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("pair", FEW_PAIRS, ids="-".join)
def test_a_lead_that_is_brought_back_twice_counts_once(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    pace: str,
    before_each_pause: BeforeEachPause,
) -> None:
    """Somebody deletes a lead that was brought back, while it is in both tables."""
    api = new_api(AUDIT_LOG=str(path), PACE=pace)
    use_engines(tables, *pair)
    tables.archived(*range(1, 18))
    _, before = tables.both()
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list_archive", "@lead_id = 1", LOCK_WAIT_TIMEOUT)

    def delete() -> None:
        tables.run_elsewhere("DELETE FROM vicidial_list WHERE lead_id = 3")

    before_each_pause(delete)

    answer = api.dearchive_all(list(range(1, 18))).json()

    monkeypatch.undo()
    assert (answer["select_count"], answer["insert_count"], answer["delete_count"]) == (17, 17, 17)
    assert tables.both() == (before, {})
    assert (read(path)[-1]["insert_count"], read(path)[-1]["delete_count"]) == (17, 17)


@pytest.mark.parametrize("pair", MIXED, ids="-".join)
def test_leads_whose_copies_were_rolled_back_count_when_they_are_copied_again(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    before_each_pause: BeforeEachPause,
) -> None:
    """In the second chunk, a trigger refuses lead 18, so the INSERT is halved, and a lock is in the way of lead 20. When the
    chunk is tried again, each part of it is committed by itself."""
    monkeypatch.setattr(chunks, "GENTLE", Sizes(chunk=10, joined=5, delete=5))
    api = new_api(AUDIT_LOG=str(path), PACE="gentle")
    use_engines(tables, *pair)
    tables.live(*range(1, 21))
    before, _ = tables.both()
    fail_once(tables, "BEFORE", "INSERT", "vicidial_list_archive", "@lead_id = 20", LOCK_WAIT_TIMEOUT)
    tables.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 18 THEN SIGNAL SQLSTATE '45000'; END IF"
    )

    def be_slow() -> None:
        monkeypatch.setattr(chunks, "LONGEST_KEPT", 0.0)

    before_each_pause(be_slow)

    answer = api.archive_all(list(range(1, 21))).json()

    monkeypatch.undo()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (19, 19, [18])
    assert tables.both() == ({18: before.pop(18)}, before)
    assert (read(path)[-1]["insert_count"], read(path)[-1]["delete_count"]) == (19, 19)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_lead_that_matches_again_when_its_chunk_is_tried_again_is_not_named_as_unmatched(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    before_each_pause: BeforeEachPause,
) -> None:
    """A lock is in the way of the DELETE twice. In between, the dialler has lead 3."""
    api = new_api(AUDIT_LOG=str(path), PACE="full")
    use_engines(tables, *pair)
    tables.live(1, 2, 3, status="SALE")
    before, _ = tables.both()
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id IN (1, 2)", LOCK_WAIT_TIMEOUT)
    statuses = iter(["QUEUE", "SALE"])

    def change() -> None:
        status = next(statuses)
        tables.run_elsewhere(f"UPDATE vicidial_list SET status = '{status}', modify_date = modify_date WHERE lead_id = 3")

    before_each_pause(change)

    response = api.archive({**api.ALL, "lead_ids": [1, 2, 3], "where": {"statuses": ["SALE"]}}).json()

    monkeypatch.undo()
    assert next(statuses, None) is None
    assert (response["insert_count"], response["delete_count"]) == (3, 3)
    assert (response["remaining_lead_ids"], response["unmatched_lead_ids"]) == ([], [])
    assert tables.both() == ({}, before)
    assert (read(path)[-1]["deleted_lead_ids"], read(path)[-1]["unmatched_lead_ids"]) == ([1, 2, 3], [])


CHANGES_OF_A_LEAD = {
    "unmatched": {"status": "INCALL"},
    "reused": {"entry_date": "2025-01-01 00:00:00", "phone_number": "7"},
}


@pytest.mark.parametrize("change", CHANGES_OF_A_LEAD)
@pytest.mark.parametrize("pair", [pair for pair in FEW_PAIRS if pair[0] != "InnoDB"], ids="-".join)
def test_a_lead_that_was_deleted_is_not_named_if_somebody_brings_another_one_back(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    change: str,
    before_each_pause: BeforeEachPause,
) -> None:
    """A lock is in the way of the second part of the DELETE. Before the chunk is tried again, lead 1 is in the list again."""
    monkeypatch.setattr(chunks, "GENTLE", Sizes(chunk=10, joined=5, delete=2))
    api = new_api(AUDIT_LOG=str(path), PACE="gentle")
    use_engines(tables, *pair)
    tables.live(1, 2, 3, status="SALE", entry_date="2024-01-01 00:00:00")
    before, _ = tables.both()
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id = 3", LOCK_WAIT_TIMEOUT)

    def bring_back() -> None:
        if tables.ids()[0] == [3]:
            tables.live(1, **{"status": "SALE", **CHANGES_OF_A_LEAD[change]})

    before_each_pause(bring_back)

    response = api.archive({**api.ALL, "lead_ids": [1, 2, 3], "where": {"statuses": ["SALE"]}}).json()

    monkeypatch.undo()
    live, archived = tables.both()
    assert (sorted(live), archived) == ([1], before)
    assert (response["select_count"], response["insert_count"], response["delete_count"]) == (3, 3, 3)
    named = ("remaining_lead_ids", "unmatched_lead_ids", "reused_lead_ids")
    assert [response[name] for name in named] == [[], [], []]
    assert [read(path)[-1][name] for name in ("deleted_lead_ids", *named)] == [[1, 2, 3], [], [], []]


@pytest.mark.parametrize("pair", [pair for pair in FEW_PAIRS if pair[1] != "InnoDB"], ids="-".join)
def test_a_copy_that_a_trigger_refuses_to_update_and_somebody_deletes_does_not_count(
    tables: Tables, new_api: Callable[..., Api], path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    api = new_api(AUDIT_LOG=str(path))
    use_engines(tables, *pair)
    tables.live(1, 2, 3)
    tables.archived(1, 2, 3, status="OLD")
    before, archived = tables.both()
    tables.execute("CREATE TRIGGER refuse BEFORE UPDATE ON vicidial_list_archive FOR EACH ROW SIGNAL SQLSTATE '45000'")
    finished = Changes._finished

    async def delete_a_copy(self: Changes, *arguments: Any) -> LeadIDs:
        tables.run_elsewhere("DELETE FROM vicidial_list_archive WHERE lead_id = 1")
        return await finished(self, *arguments)

    monkeypatch.setattr(Changes, "_finished", delete_a_copy)

    answer = api.archive_all([1, 2, 3]).json()

    monkeypatch.undo()
    assert (answer["update_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 0, [1, 2, 3])
    assert tables.both() == (before, {2: archived[2], 3: archived[3]})
    assert read(path)[-1]["update_count"] == 0


@pytest.fixture
def between_statements(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """between_statements(then) has then(name) called before a statement is sent that changes leads."""

    def call(then: Callable[[str], object]) -> None:
        send_first = Changes._send_first

        def send(self: Changes, transaction: Transaction, pair: TablePair, runs: Sequence[Run]) -> None:
            then(runs[0].statement.name)
            send_first(self, transaction, pair, runs)

        monkeypatch.setattr(Changes, "_send_first", send)

    return call


@pytest.mark.parametrize("change", ["match no more", "are copied by others"])
@pytest.mark.parametrize("pair", FEW_PAIRS, ids="-".join)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_leads_that_an_insert_had_recorded_before_it_was_rolled_back_count_only_if_they_are_copied(
    tables: Tables,
    new_api: Callable[..., Api],
    pair: tuple[str, str],
    way: str,
    change: str,
    between_statements: Callable[[Callable[[str], object]], None],
) -> None:
    """A trigger refuses lead 20 of 40. Before the INSERT is sent again, others change leads 1 to 5."""
    use_engines(tables, *(pair if way == "archive" else pair[::-1]))
    source, target = ("vicidial_list", "vicidial_list_archive")[:: 1 if way == "archive" else -1]
    leads = list(range(1, 41))
    tables.insert(source, *leads, status="NEW")
    tables.execute("CREATE TABLE of_the_site (id INT)")  # so no temporary table takes new leads
    tables.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON {target} FOR EACH ROW"
        " IF NEW.lead_id = 20 AND NOT EXISTS (SELECT 1 FROM of_the_site) THEN"
        " SIGNAL SQLSTATE '45000'; END IF"
    )
    statements = {
        "match no more": f"UPDATE {source} SET status = 'SALE', modify_date = modify_date WHERE lead_id < 6",
        "are copied by others": f"INSERT IGNORE INTO {target} SELECT * FROM {source} WHERE lead_id < 6",
    }
    inserts: list[str] = []
    own = 0

    def change_leads(name: str) -> None:
        nonlocal own
        inserts.extend([name] if name.startswith("insert") else [])
        if len(inserts) == 2:
            own = len(tables.ids()[1 if way == "archive" else 0])
            tables.run_elsewhere(statements[change])

    api = new_api(PACE="gentle")
    between_statements(change_leads)
    body = {"insert_leads": True, "delete_leads": False, "lead_ids": leads, "where": {"statuses": ["NEW"]}}

    answer = api.dearchive(body) if way == "dearchive" else api.archive(body | {"update_leads": False})

    copies = tables.ids()[1 if way == "archive" else 0]
    others = 5 - min(own, 5) if change == "are copied by others" else 0
    assert len(inserts) > 2
    assert answer.json()["insert_count"] == len(copies) - others


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("pair", FEW_PAIRS, ids="-".join)
def test_a_row_that_a_trigger_has_given_another_lead_id_counts(
    tables: Tables, new_api: Callable[..., Api], pair: tuple[str, str], pace: str
) -> None:
    use_engines(tables, *pair)
    tables.live(1, 2, 3)
    tables.execute(
        "CREATE TRIGGER renumber BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id < 3 THEN SET NEW.lead_id = NEW.lead_id + 1000; END IF"
    )

    answer = new_api(PACE=pace).archive_all([1, 2, 3]).json()

    assert tables.ids() == ([1, 2], [3, 1001, 1002])
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 1, [1, 2])


@pytest.mark.parametrize("pair", [pair for pair in FEW_PAIRS if pair[0] != "InnoDB"], ids="-".join)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vicidial_list SET comments = 'edited', modify_date = modify_date WHERE lead_id IN (2, 3)",
        "DELETE FROM vicidial_list WHERE lead_id = 10",
        "SELECT 1",
    ],
)
def test_copies_that_a_check_has_not_kept_as_they_were_count_whatever_happens_after_the_update(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    pair: tuple[str, str],
    change: str,
    between_statements: Callable[[Callable[[str], object]], None],
) -> None:
    use_engines(tables, *pair)
    leads = list(range(1, 11))
    tables.archived(*leads, status="OLD")
    tables.execute("ALTER TABLE vicidial_list_archive ADD CHECK (lead_id <> 10 OR status = 'OLD')")
    tables.live(*leads)
    api = new_api(PACE="gentle", AUDIT_LOG=str(path))
    between_statements(lambda name: tables.run_elsewhere(change) if name == "delete_leads" else None)

    answer = api.archive_all(leads).json()

    assert (answer["update_count"], read(path)[-1]["update_count"]) == (9, 9)


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("pair", FEW_PAIRS, ids="-".join)
def test_copies_that_never_become_equal_count_once_however_often_they_are_updated(
    tables: Tables, new_api: Callable[..., Api], path: Path, pair: tuple[str, str], pace: str
) -> None:
    """A trigger changes each copy, a CHECK keeps one as it is, and a lock is in the way of three leads that can be deleted."""
    use_engines(tables, *pair)
    old, new = list(range(1, 11)), [11, 12, 13]
    tables.archived(*old, status="OLD")
    tables.execute("ALTER TABLE vicidial_list_archive ADD CHECK (lead_id <> 10 OR status = 'OLD')")
    tables.execute("CREATE TRIGGER site BEFORE UPDATE ON vicidial_list_archive FOR EACH ROW SET NEW.owner = OLD.owner + 1")
    tables.live(*old, *new)
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id > 10", LOCK_WAIT_TIMEOUT)

    answer = new_api(PACE=pace, AUDIT_LOG=str(path)).archive_all([*old, *new]).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (3, 9, 3)
    assert answer["remaining_lead_ids"] == old
    assert (tables.ids(), read(path)[-1]["update_count"]) == ((old, [*old, *new]), 9)
    # Once for each attempt.
    assert tables.execute("SELECT DISTINCT owner + 0 FROM vicidial_list_archive WHERE lead_id < 10") == [(b"4",)]


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("pair", [pair for pair in FEW_PAIRS if pair[1] != "InnoDB"], ids="-".join)
def test_a_lock_in_the_way_of_the_question_what_was_updated_only_delays_a_batch(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str], pace: str
) -> None:
    """A CHECK has kept a copy as it was, so the service asks which ones. It lets go of everything before it asks again."""
    monkeypatch.setattr(chunks, "GENTLE", Sizes(chunk=10, joined=3, delete=3))
    use_engines(tables, *pair)
    leads = list(range(1, 11))
    tables.archived(*leads, status="OLD")
    tables.execute("ALTER TABLE vicidial_list_archive ADD CHECK (lead_id <> 2 OR status = 'OLD')")
    tables.live(*leads)
    before, archived = tables.both()
    updated = Changes._updated

    async def let_go_before(self: Changes, transaction: Transaction, *arguments: Any) -> LeadIDs:
        await transaction.let_go()
        return await updated(self, transaction, *arguments)

    monkeypatch.setattr(Changes, "_updated", let_go_before)

    answer = new_api(PACE=pace).archive_all(leads)

    assert (answer.status_code, answer.json().get("remaining_lead_ids")) == (200, [2])
    assert (answer.json()["update_count"], answer.json()["delete_count"]) == (9, 9)
    assert tables.both() == ({2: before[2]}, {**before, 2: archived[2]})


@pytest.mark.parametrize("pair", [("MyISAM", "MyISAM"), ("Aria", "Aria")], ids="-".join)
def test_copies_that_a_check_has_not_kept_count_once_if_a_list_reset_comes_before_the_delete(
    tables: Tables, new_api: Callable[..., Api], path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    """Vicidial has changed all leads before the service asks which copies were updated. So they are updated once more."""
    use_engines(tables, *pair)
    leads = list(range(1, 26))
    tables.archived(*leads, status="OLD")
    tables.execute("ALTER TABLE vicidial_list_archive ADD CHECK (lead_id > 5 OR status = 'OLD')")
    tables.live(*leads)
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id = 6", LOCK_WAIT_TIMEOUT)
    finished_before = Changes._finished_before

    async def reset_before(*arguments: Any) -> LeadIDs:
        tables.run_elsewhere("UPDATE vicidial_list SET called_since_last_reset = 'D', modify_date = modify_date")
        return await finished_before(*arguments)

    monkeypatch.setattr(Changes, "_finished_before", reset_before)

    answer = new_api(PACE="full", AUDIT_LOG=str(path)).archive_all(leads).json()

    assert (answer["update_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (20, 20, [1, 2, 3, 4, 5])
    assert tables.ids() == ([1, 2, 3, 4, 5], leads)
    assert read(path)[-1]["update_count"] == 20


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("step", ["insert", "update"])
@pytest.mark.parametrize("pair", [pair for pair in FEW_PAIRS if pair[0] != "InnoDB"], ids="-".join)
def test_a_lead_counts_when_it_is_copied_not_when_a_statement_leaves_it_out(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    step: str,
    pace: str,
    before_each_pause: BeforeEachPause,
) -> None:
    """While the leads are copied, the dialler has leads 1 to 5. A lock is in the way of the DELETE. Then they match again."""
    api = new_api(AUDIT_LOG=str(path), PACE=pace)
    use_engines(tables, *pair)
    tables.live(*range(1, 18), status="SALE")
    if step == "update":
        tables.archived(*range(1, 18), status="NEW")
    before, _ = tables.both()
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id = 17", LOCK_WAIT_TIMEOUT)
    change = Chunks._change
    statuses = iter(["INCALL", "SALE"])

    async def change_after_a_call(self: Chunks, *arguments: Any, **options: Any) -> None:
        status = next(statuses, None)
        if status == "INCALL":
            set_status(status)
        await change(self, *arguments, **options)

    def set_status(status: str) -> None:
        tables.run_elsewhere(f"UPDATE vicidial_list SET status = '{status}', modify_date = modify_date WHERE lead_id < 6")

    monkeypatch.setattr(Chunks, "_change", change_after_a_call)
    before_each_pause(lambda: set_status("SALE"))

    answer = api.archive({**api.ALL, "lead_ids": list(range(1, 18)), "where": {"statuses": ["SALE"]}}).json()

    monkeypatch.undo()
    assert next(statuses, None) is None
    assert tables.both() == ({}, before)
    assert (answer[f"{step}_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (17, 17, [])
    assert read(path)[-1][f"{step}_count"] == 17


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_after_a_deadlock_on_the_way_back_what_was_done_counts(
    tables: Tables, new_api: Callable[..., Api], path: Path, pair: tuple[str, str], timing: str
) -> None:
    api = new_api(AUDIT_LOG=str(path))
    use_engines(tables, *pair)
    tables.archived(*range(1, 18))
    _, expected = tables.both()
    fail_once(tables, timing, "INSERT", "vicidial_list")
    fail_once(tables, timing, "DELETE", "vicidial_list_archive")

    response = api.dearchive_all(list(range(1, 18)))

    assert_moved(tables, path, response, expected, back=True)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
@pytest.mark.parametrize("pair", [("InnoDB", "Aria"), ("InnoDB", "MyISAM"), ("MyISAM", "MyISAM")], ids="-".join)
def test_after_a_deadlock_or_a_lock_while_damaged_copies_are_deleted_the_counts_are_those_of_the_rows(
    tables: Tables, new_api: Callable[..., Api], pair: tuple[str, str], number: int
) -> None:
    """Copies that were rolled back are inserted again."""
    api = new_api()
    use_engines(tables, *pair)
    tables.archived(*range(1, 6))
    _, before = tables.both()
    tables.execute(
        "CREATE TRIGGER damage BEFORE INSERT ON vicidial_list FOR EACH ROW"
        " IF NEW.lead_id = 3 THEN SET NEW.status = 'BAD'; END IF"
    )
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "TRUE", number)

    response = api.dearchive_all([1, 2, 3, 4, 5])

    assert (response.status_code, response.json()["insert_count"], response.json()["delete_count"]) == (200, 4, 4)
    assert response.json()["remaining_lead_ids"] == [3]
    assert tables.both() == ({lead_id: before[lead_id] for lead_id in (1, 2, 4, 5)}, {3: before[3]})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("moment", range(1, 7))
@pytest.mark.parametrize("pair", MIXED, ids="-".join)
def test_a_deadlock_at_a_commit_has_rolled_back_what_was_not_permanent(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[str, str],
    moment: int,
) -> None:
    api = new_api(AUDIT_LOG=str(path))
    use_engines(tables, *pair)
    expected = fill(tables)
    assert api.compare([1]).status_code == 200  # the definitions are read
    commits = count(1)
    commit = Transaction.commit

    async def commit_or_not(transaction: Transaction) -> None:
        if next(commits) == moment:
            await transaction.connection.rollback()
            raise DatabaseError("Deadlock found", DEADLOCK, outcome_known=not transaction.changes_may_persist)
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", commit_or_not)

    response = api.archive_all(list(range(1, 18)))

    assert next(commits) > moment + 1
    assert_moved(tables, path, response, expected)


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_what_a_batch_asks_after_its_last_change_is_asked_again_after_a_deadlock(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    before, _ = tables.both()
    select_each = Transaction._select_each
    deadlocks = 0

    async def select_or_not(transaction: Transaction, *arguments: Any) -> Any:
        nonlocal deadlocks
        if transaction._insists and deadlocks < 3:
            deadlocks += 1
            raise DatabaseError("Deadlock found", DEADLOCK, outcome_known=not transaction.changes_may_persist)
        return await select_each(transaction, *arguments)

    monkeypatch.setattr(Transaction, "_select_each", select_or_not)

    response = api.archive_all([1, 2])

    assert deadlocks == 3
    assert (response.status_code, response.json()["delete_count"], response.json()["remaining_lead_ids"]) == (200, 1, [2])
    assert tables.both() == ({2: before[2]}, {1: before[1]})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("event", "table", "lead_id", "moved"),
    [("INSERT", "vicidial_list_archive", 1, 0), ("DELETE", "vicidial_list", 8, 7)],
    ids=["nothing was changed", "a part was moved"],
)
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_deadlocks_without_an_end_end_the_batch(
    tables: Tables, new_api: Callable[..., Api], path: Path, event: str, table: str, lead_id: int, moved: int
) -> None:
    api = new_api(AUDIT_LOG=str(path))
    asked = list(range(1, 18))
    tables.live(*asked)
    before, _ = tables.both()
    tables.execute("CREATE TABLE failures (lead_id INT) ENGINE = MyISAM")
    row = "OLD" if event == "DELETE" else "NEW"
    tables.execute(
        f"CREATE TRIGGER fail BEFORE {event} ON {table} FOR EACH ROW IF {row}.lead_id = {lead_id} THEN"
        f" INSERT INTO failures VALUES (1); SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {DEADLOCK}; END IF"
    )

    response = api.archive_all(asked)

    message = response.json()["message"]
    assert (response.status_code, MAY_BE_APPLIED in message, "nothing was changed" in message) == (503, moved > 0, moved == 0)
    assert len(tables.execute("SELECT * FROM failures")) == ATTEMPTS
    live, archived = tables.both()
    assert live == {number: before[number] for number in asked[moved:]}
    assert archived == {number: before[number] for number in archived}
    assert set(asked) == {*live, *archived}
    assert read(path)[-1]["outcome"] == ("not known" if moved else "rolled back")


@pytest.mark.parametrize("pace", ["full", "gentle"])
def test_a_lead_that_is_brought_back_while_its_batch_waits_is_neither_deleted_nor_counted_again(
    tables: Tables, new_api: Callable[..., Api], pace: str
) -> None:
    """The DELETE has deleted some leads when it meets a row that somebody has locked. Its chunk is tried again."""
    use_engines(tables, "InnoDB", "MyISAM")
    lead_ids = list(range(1, 41))
    tables.live(*lead_ids)
    tables.archived(*lead_ids)
    live, archived = tables.both()
    api = new_api(PACE=pace, REQUEST_TIMEOUT="60")
    with ThreadPoolExecutor(1) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("SELECT 1 FROM vicidial_list WHERE lead_id = 40 FOR UPDATE")
        batch = threads.submit(api.dearchive_all, lead_ids)
        wait_until(lambda: len(tables.ids()[1]) < 40)
        deleted = [lead_id for lead_id in (1, 2, 3) if lead_id not in tables.ids()[1]]
        tables.execute("INSERT IGNORE INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE lead_id IN (1, 2, 3)")
        other.rollback()
        answer = batch.result().json()

    assert deleted
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (40, [])
    assert tables.both() == (live, {lead_id: archived[lead_id] for lead_id in deleted})


@pytest.mark.parametrize("operation", ["archive", "dearchive"])
def test_a_batch_that_others_stop_says_so_once(tables: Tables, new_api: Callable[..., Api], operation: str) -> None:
    """It has changed something, so it is not run again as a whole."""
    api = new_api(REQUEST_TIMEOUT="60")
    if operation == "archive":
        use_engines(tables, "InnoDB", "MyISAM")
        tables.live(1, 2)
    else:
        use_engines(tables, "MyISAM", "InnoDB")
        tables.archived(1, 2)
    rows = {**tables.both()[0], **tables.both()[1]}
    with ThreadPoolExecutor(1) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        other.begin()
        source = "vicidial_list" if operation == "archive" else "vicidial_list_archive"
        cursor.execute(f"SELECT 1 FROM {source} WHERE lead_id = 2 FOR UPDATE")
        with capture_logs() as log:
            batch = threads.submit(getattr(api, f"{operation}_all"), [1, 2])
            wait_until(lambda: "batch does not get on" in [line["event"] for line in log])
            for _ in range(5):
                tables.wait_until_a_lock_is_in_the_way()
            other.rollback()
            assert batch.result().json()["delete_count"] == 2

    assert [line["code"] for line in log if line["event"] == "batch does not get on"] == [1205]
    assert tables.both() == (({}, rows) if operation == "archive" else (rows, {}))


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """between(do) has something done between the first chunk of a batch and the second one."""

    def set_up(do: Callable[[], object]) -> None:
        todo = iter([do])
        rest = Turn.rest

        async def do_and_rest(turn: Turn) -> None:
            for each in todo:
                each()
            await rest(turn)

        monkeypatch.setattr(Turn, "rest", do_and_rest)

    return set_up


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("pair", [("InnoDB", "MyISAM"), ("MyISAM", "InnoDB"), ("InnoDB", "Aria")], ids="-".join)
def test_a_chunk_whose_statements_have_waited_lets_go_of_the_tables(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    """Somebody wants to alter vicidial_list, and the dialler waits behind that. Here, each statement has waited too long."""
    use_engines(tables, *pair)
    tables.live(*range(1, 10))
    tables.archived(*range(1, 10), status="OLD")
    before, _ = tables.both()
    api = new_api(PACE="full")
    monkeypatch.setattr("service.archive.chunks.LONGEST_KEPT", 0.0)
    altered: list[int] = []
    rest = Turn.rest

    async def alter_and_rest(turn: Turn) -> None:
        tables.run_elsewhere(f"SET STATEMENT lock_wait_timeout = 0 FOR ALTER TABLE vicidial_list COMMENT = '{len(altered)}'")
        altered.append(len(tables.ids()[0]))
        await rest(turn)

    monkeypatch.setattr(Turn, "rest", alter_and_rest)
    answer = api.archive_all(list(range(1, 10))).json()

    assert (answer["update_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (9, 9, [])
    assert tables.both() == ({}, before)
    assert len(altered) > 4


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize("pair", [("InnoDB", "MyISAM"), ("MyISAM", "InnoDB"), ("InnoDB", "Aria")], ids="-".join)
def test_a_column_that_is_added_between_copy_and_delete_is_compared(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str], way: str
) -> None:
    """The copies are committed before the DELETE, so somebody may alter the tables in between."""
    use_engines(tables, *pair)
    source, target = (
        ("vicidial_list", "vicidial_list_archive") if way == "archive" else ("vicidial_list_archive", "vicidial_list")
    )
    tables.insert(source, 1, 2, 3)
    commit = Chunks._commit
    commits = []

    async def alter_after_the_first(chunks: Chunks, pair: TablePair) -> None:
        await commit(chunks, pair)
        commits.append(1)
        if len(commits) == 1:
            for table in (source, target):
                tables.run_elsewhere(f"ALTER TABLE {table} ADD COLUMN note VARCHAR(9) NOT NULL DEFAULT ''")
            tables.run_elsewhere(f"UPDATE {source} SET note = 'kept', modify_date = modify_date WHERE lead_id < 3")

    monkeypatch.setattr("service.archive.chunks.LONGEST_KEPT", 1000.0)
    monkeypatch.setattr(Chunks, "_commit", alter_after_the_first)
    answer = (api.archive_all if way == "archive" else api.dearchive_all)([1, 2, 3]).json()

    assert len(commits) > 1
    rows = [row for table in (target, source) for row in tables.execute(f"SELECT lead_id, note FROM {table}")]
    notes = {row[0]: row[1] for row in rows}
    assert notes == {b"1": b"kept", b"2": b"kept", b"3": b""}
    assert sorted(tables.rows(source)) == answer["remaining_lead_ids"]


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("archive", ["MyISAM", "Aria"])
def test_a_lead_whose_delete_was_rolled_back_and_that_is_changed_then_stays_and_is_named(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    archive: str,
    pace: str,
    before_each_pause: BeforeEachPause,
) -> None:
    """The archive does not take lead 1. So when the chunk begins again, its INSERT has nothing to do, and its DELETE comes
    after a COMMIT."""
    use_engines(tables, "InnoDB", archive)
    leads = list(range(1, 11))
    tables.live(*leads)
    before, _ = tables.both()
    tables.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 1 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    fail_once(tables, "BEFORE", "DELETE", "vicidial_list", "@lead_id = 10", LOCK_WAIT_TIMEOUT)
    before_each_pause(lambda: tables.run_elsewhere("UPDATE vicidial_list SET comments = 'edited' WHERE lead_id = 5"))

    api = new_api(PACE=pace, AUDIT_LOG=str(path))
    answer = api.archive({"lead_ids": leads, "insert_leads": True, "update_leads": False, "delete_leads": True}).json()

    live, archived = tables.both()
    assert (sorted(live), archived) == ([1, 5], {lead_id: before[lead_id] for lead_id in leads[1:]})
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (9, 8, [1, 5])
    assert read(path)[-1]["deleted_lead_ids"] == [lead_id for lead_id in leads if lead_id not in (1, 5)]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("archive", ["MyISAM", "Aria"])
def test_leads_whose_delete_was_rolled_back_after_others_were_committed_do_not_count(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, archive: str, path: Path
) -> None:
    """The lock of lead 5 is in the way of a statement that has deleted lead 4 already."""
    use_engines(tables, "InnoDB", archive)
    tables.live(1, 2, 3, 4, 5)
    before, _ = tables.both()
    monkeypatch.setattr("service.archive.chunks.LONGEST_KEPT", 0.0)
    api = new_api(PACE="full", AUDIT_LOG=str(path))
    with ThreadPoolExecutor(1) as thread, tables.mariadb.connect(tables.database, autocommit=False) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 5 FOR UPDATE")
        batch = thread.submit(api.archive_all, [1, 2, 3, 4, 5])
        tables.wait_until_a_lock_is_in_the_way()
        wait_until(lambda: tables.ids()[0] == [4, 5])
        time.sleep(0.3)  # it is tried again meanwhile
        other.rollback()
        answer = batch.result().json()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (5, [])
    assert tables.both() == ({}, before)
    assert read(path)[-1]["deleted_lead_ids"] == [1, 2, 3, 4, 5]


DISAPPEARS = {
    "update": ({"insert_leads": True, "update_leads": True}, "DELETE FROM vicidial_list_archive WHERE lead_id = 11"),
    "insert, and another copy is deleted": ({"insert_leads": True}, "DELETE FROM vicidial_list_archive WHERE lead_id = 12"),
}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("flags", "and_then"), DISAPPEARS.values(), ids=DISAPPEARS.keys())
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_that_disappears_is_noticed_whatever_the_counts_are(
    tables: Tables, new_api: Callable[..., Api], between: Any, flags: dict[str, bool], and_then: str
) -> None:
    lead_ids = list(range(1, 13))
    tables.live(*lead_ids)
    tables.archived(*(lead_ids if "update_leads" in flags else [12]), status="OLD")
    api = new_api(PACE="full")

    def disappear() -> None:
        tables.execute("DELETE FROM vicidial_list WHERE lead_id = 11")
        tables.execute(and_then)

    between(disappear)
    body = {"update_leads": False, "delete_leads": False, "lead_ids": lead_ids, **flags}

    answer = api.archive(body)

    assert (answer.status_code, answer.json()["message"]) == (503, GONE)
    assert api.archive(body).json()["lead_ids"] == [11]
    assert [11 in ids for ids in tables.ids()] == [False, False]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("delete_leads", [True, False])
@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_id_that_is_given_out_again_between_two_chunks_is_named(
    tables: Tables, new_api: Callable[..., Api], between: Any, delete_leads: bool
) -> None:
    lead_ids = list(range(1, 13))
    tables.live(*lead_ids, entry_date="2020-01-01 10:00:00")
    tables.archived(*lead_ids, entry_date="2020-01-01 10:00:00", status="OLD")
    _, archived = tables.both()
    api = new_api(PACE="full")

    def give_out_again() -> None:
        tables.execute("DELETE FROM vicidial_list WHERE lead_id = 11")
        tables.live(11, entry_date="2024-01-01 10:00:00", phone_number="999")

    between(give_out_again)

    answer = api.archive({**Api.ALL, "delete_leads": delete_leads, "lead_ids": lead_ids}).json()

    assert (answer["update_count"], answer["reused_lead_ids"]) == (11, [11])
    assert answer["remaining_lead_ids"] == ([11] if delete_leads else [])
    assert tables.rows("vicidial_list_archive")[11] == archived[11]
    assert (11 in tables.ids()[0]) is True
