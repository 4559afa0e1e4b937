"""The audit: for every lead that leaves its table, a line that was on disk before it could, and one of what came of it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs
from support.api import KEY, Api
from support.auditor import Line, answer, ask, read
from support.fixtures import ReadSettings
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables

from service.access.keys import Key
from service.api.context import AppContext
from service.api.leads import move
from service.app import create_context
from service.archive.mover import Mover
from service.archive.row_changes import Changes
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK
from service.observability import audit_file
from service.observability.audit_file import AuditFile
from service.observability.audit_log import Audit, Outcome
from service.observability.metrics import AUDIT_FAILURES
from service.server.serve import STOP_MARGIN

UNWRITABLE = "the audit log cannot be written: "
FIELDS: dict[str, Any] = {**Api.ALL, "lead_ids": [1]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """AUDIT_LOG. There is no such file yet."""
    folder = tmp_path / "audit"
    folder.mkdir()
    return folder / "audit.jsonl"


@pytest.fixture
def audited(new_api: Callable[..., Api], path: Path) -> Api:
    return new_api(AUDIT_LOG=str(path))


@pytest.fixture
def context(environment: dict[str, str], settings_from: ReadSettings, path: Path) -> AppContext:
    return create_context(settings_from({**environment, "AUDIT_LOG": str(path)}))


def events(*files: Path) -> list[tuple[str, str | None]]:
    """event and outcome of each line."""
    return [(line["event"], line.get("outcome")) for line in read(*files)]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


BOTH = [("intent", None), ("outcome", "committed")]


# --- what is recorded ----------------------------------------------------------------------------------------------------


def test_each_batch_leaves_its_intent_and_its_outcome(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(3, 1, comments="Secret-Comment")
    tables.archived(2)
    before, archived = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")

    response = audited.archive_all([3, 2, 1])
    assert audited.dearchive_all([1]).status_code == 200

    assert tables.both() == (before, archived)
    intent, outcome, back, back_outcome = read(path)
    common = {"operation": "archive", "request_id": response.headers["X-Request-ID"], "key": "tests"}
    assert intent.pop("time") < outcome.pop("time") < back.pop("time") < back_outcome.pop("time")
    batch = intent.pop("batch_id")
    assert outcome.pop("batch_id") == batch
    assert intent == {"event": "intent", **common, **Api.ALL, "lead_ids": [3, 2, 1], "leaving_lead_ids": [1]}
    counts = {name: value for name, value in response.json().items() if name != "message"}
    assert outcome == {"event": "outcome", **common, "outcome": "committed", **counts, "deleted_lead_ids": [1]}
    assert (back["event"], back["operation"], back["leaving_lead_ids"]) == ("intent", "dearchive", [1])
    assert (back_outcome["outcome"], back_outcome["deleted_lead_ids"]) == ("committed", [1])
    assert back["batch_id"] == back_outcome["batch_id"] != batch
    text = path.read_text()
    for secret in (KEY, hashlib.sha256(KEY.encode()).hexdigest(), tables.mariadb.password, "Secret", "2125550101"):
        assert secret not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_batch_that_is_refused_beforehand_leaves_no_line(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    before = tables.both()

    assert audited.archive_all([1, 2]).status_code == 404
    assert audited.archive_all([]).status_code == 400
    tables.execute("ALTER TABLE vicidial_list ADD COLUMN tier INT FIRST")
    assert audited.archive_all([1]).status_code == 503
    tables.execute("ALTER TABLE vicidial_list DROP COLUMN tier")

    assert tables.both() == before
    assert not path.exists()


def test_without_a_file_the_same_two_lines_go_to_the_log(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    with (
        ServiceProcess(environment) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        assert Api(client).archive_all([2, 1]).json()["delete_count"] == 2
        assert Api(client).dearchive_all([2]).json()["delete_count"] == 1
        assert service.stop() == 0
        log, lines = service.log, [line for line in service.log_lines if "batch_id" in line]

    assert tables.ids() == ([2], [1])
    assert tables.rows("vicidial_list") | tables.rows("vicidial_list_archive") == before
    assert [(line["event"], line.get("outcome")) for line in lines] == [
        ("archive intended", None),
        ("leads archived", "committed"),
        ("dearchive intended", None),
        ("leads dearchived", "committed"),
    ]
    assert (lines[0]["leaving_lead_ids"], lines[1]["deleted_lead_ids"]) == ([1, 2], [1, 2])
    assert lines[1]["lead_ids"] == [2, 1]
    (tmp_path / "audit.jsonl").write_text(log)
    assert [(line["operation"], line["moved"]) for line in ask(tmp_path, 2)] == [("archive", True), ("dearchive", True)]
    assert [(line["operation"], line["moved"]) for line in ask(tmp_path, 1)] == [("archive", True)]


# --- the order of things -------------------------------------------------------------------------------------------------


def test_the_intent_is_on_disk_before_anything_is_changed(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    tables.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    seen = []
    flush = os.fdatasync

    def look_first(descriptor: int) -> None:
        seen.append((events(path)[-1][0], tables.both()))
        flush(descriptor)

    monkeypatch.setattr("os.fdatasync", look_first)
    assert audited.archive_all([1]).json()["delete_count"] == 1

    assert seen == [("intent", (before, {})), ("outcome", ({}, before))]


def test_the_folder_of_a_new_file_is_on_disk_too(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1, 2, 3, 4)
    synced = []
    flush = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    monkeypatch.setattr("os.fsync", remember)
    assert audited.archive_all([1]).status_code == 200
    assert synced == [str(path.parent)]
    assert audited.archive_all([2]).status_code == 200
    assert synced == [str(path.parent)]
    path.rename(path.with_suffix(".1"))
    assert audited.archive_all([3]).status_code == 200
    assert synced == [str(path.parent)] * 2
    path.unlink()
    assert audited.archive_all([4]).status_code == 200
    assert synced == [str(path.parent)] * 3
    assert tables.ids() == ([], [1, 2, 3, 4])


# --- what cannot be recorded is not done ---------------------------------------------------------------------------------


def remove_the_folder(path: Path) -> Callable[[], object]:
    path.parent.rename(path.parent.with_name("away"))
    return lambda: path.parent.with_name("away").rename(path.parent)


def make_a_fifo(path: Path) -> Callable[[], object]:
    os.mkfifo(path)
    return path.unlink


def make_a_folder(path: Path) -> Callable[[], object]:
    path.mkdir()
    return path.rmdir


def lead_to_a_full_device(path: Path) -> Callable[[], object]:
    path.symlink_to("/dev/full")
    return path.unlink


def lock_the_file(path: Path) -> Callable[[], object]:
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file.close


@pytest.mark.parametrize(
    ("obstruct", "reason"),
    [
        (remove_the_folder, "No such file or directory"),
        (make_a_fifo, "it is no regular file"),
        (make_a_folder, "Is a directory"),
        (lead_to_a_full_device, "it is no regular file"),
        (lock_the_file, "somebody else holds its lock (flock)"),
    ],
)
def test_a_batch_whose_intent_cannot_be_written_is_refused(
    tables: Tables,
    audited: Api,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    obstruct: Callable[[Path], Callable[[], object]],
    reason: str,
) -> None:
    monkeypatch.setattr(audit_file, "LOCK_TIMEOUT", 0.2)
    tables.live(1)
    before, _ = tables.both()
    failures = AUDIT_FAILURES._value.get()
    mend = obstruct(path)

    for response in (audited.archive_all([1]), audited.archive_all([1])):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.json()["message"] == (
            f"{UNWRITABLE}{reason}; nothing was changed, repeat the request when an administrator has mended it"
        )
        (problem,) = audited.get("/readyz").json()["problems"]
        assert problem == {"message": f"{UNWRITABLE}{reason}", "remedy": None, "operations": ["archive", "dearchive"]}
    assert tables.both() == (before, {})
    assert AUDIT_FAILURES._value.get() == failures + 4
    mend()

    assert audited.get("/readyz").status_code == 200
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    assert events(path) == [("writable again", None), *BOTH]


def test_a_full_disk_refuses_batches_and_leaves_no_half_line(tables: Tables, environment: dict[str, str], path: Path) -> None:
    tables.live(*range(1, 101))
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "AUDIT_LOG": str(path)}, stderr=os.open(os.devnull, os.O_WRONLY)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        api = Api(client)
        assert api.archive_all([1]).status_code == 200
        content = path.read_bytes()
        _, hard = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (len(content) + 100, hard))
        response = api.archive_all(list(range(2, 101)))
        assert (response.status_code, response.json()["message"].split(";")[0]) == (503, f"{UNWRITABLE}File too large")
        assert len(tables.rows("vicidial_list")) == 99
        assert path.read_bytes() == content
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert api.archive_all(list(range(2, 101))).json()["delete_count"] == 99
    assert tables.both() == ({}, before)
    assert events(path) == [*BOTH, *BOTH]


class StuckDisk:
    """A disk that does not answer while `stuck` says so of what is flushed."""

    def __init__(self) -> None:
        self.stuck: Callable[[int], bool] = lambda _: True
        self.released = threading.Event()
        self.waiting = 0
        self._flush = os.fdatasync

    def flush(self, descriptor: int) -> None:
        if self.stuck(descriptor):
            self.waiting += 1
            assert self.released.wait(PATIENCE)
        self._flush(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckDisk]:
    disk = StuckDisk()
    monkeypatch.setattr("os.fdatasync", disk.flush)
    yield disk
    disk.released.set()


def test_a_disk_that_stands_still_delays_nobody(
    tables: Tables, audited: Api, path: Path, disk: StuckDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "TIMEOUT", 0.5)
    submitted = []
    submit = AuditFile.submit

    def count_intents(file: AuditFile, record: dict[str, Any]) -> Any:
        submitted.extend([record] * (record["event"] == "intent"))
        return submit(file, record)

    monkeypatch.setattr(AuditFile, "submit", count_intents)
    batches = 2 * audit_file.THREADS
    tables.live(*range(1, batches + 1))
    before, _ = tables.both()
    with ThreadPoolExecutor(batches) as executor:
        for _ in range(2):
            answers = executor.map(lambda lead_id: audited.archive_all([lead_id]), range(1, batches + 1))
            for response in answers:
                assert response.status_code == 503
                assert response.json()["message"].startswith(f"{UNWRITABLE}{audit_file.STANDS_STILL}; nothing was changed")
            # Rows that are still locked would make this wait, and fail.
            tables.execute("SET SESSION innodb_lock_wait_timeout = 1")
            tables.execute("SELECT * FROM vicidial_list FOR UPDATE")
            assert audited.get("/livez").status_code == 200
            assert audited.compare([1]).status_code == 200
            assert audited.get("/readyz").json()["problems"][0]["message"] == f"{UNWRITABLE}{audit_file.STANDS_STILL}"
    assert disk.waiting == audit_file.THREADS  # no other thread has waited for the disk
    assert len(submitted) == batches  # those of the second round were refused without a wait
    assert tables.both() == (before, {})
    disk.released.set()

    wait_until(lambda: audited.get("/readyz").status_code == 200)
    assert audited.archive_all([1]).json()["delete_count"] == 1
    # What was written after all is not taken for something that was done.
    for lead_id in before:
        assert [line["moved"] for line in answer(read(path), lead_id) if line["moved"] is not False] == [True] * (lead_id == 1)


def test_an_answer_does_not_wait_for_an_outcome_that_the_disk_does_not_take(
    tables: Tables, audited: Api, path: Path, disk: StuckDisk
) -> None:
    tables.live(1)
    before, _ = tables.both()
    disk.stuck = lambda _: events(path)[-1][0] == "outcome"

    assert audited.archive_all([1]).json()["delete_count"] == 1

    assert tables.both() == ({}, before)
    assert not disk.released.is_set()
    disk.released.set()
    wait_until(lambda: events(path) == BOTH)


def test_an_outcome_that_cannot_be_written_is_in_the_log(tables: Tables, environment: dict[str, str], path: Path) -> None:
    tables.live(1)
    before, _ = tables.both()
    # The intent is written, and then there is no room for the outcome.
    tables.execute("CREATE TRIGGER t BEFORE DELETE ON vicidial_list FOR EACH ROW SET @slept = SLEEP(2)")
    with (
        ServiceProcess({**environment, "AUDIT_LOG": str(path)}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as executor,
    ):
        request = executor.submit(Api(client).archive_all, [1])
        wait_until(lambda: tables.execute("SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'"))
        path.unlink()
        path.mkdir()
        assert request.result().json()["delete_count"] == 1
        wait_until(lambda: "audit line lost" in service.log)
        (lost,) = [line for line in service.log_lines if line["event"] == "audit line lost"]

    assert (lost["error"], lost["outcome"], lost["deleted_lead_ids"], lost["key"]) == (
        "Is a directory", "committed", [1], "tests"
    )  # fmt: skip
    assert lost["request_id"] == request.result().headers["X-Request-ID"]
    assert tables.both() == ({}, before)


SLOW_DISK = """
import time
from service.observability import audit_file
append = audit_file.append
def wait(descriptor, line):
    time.sleep({seconds} * (b'"event":"outcome"' in line))
    append(descriptor, line)
audit_file.append = wait
from service.__main__ import main
main([])
"""


def on_a_slow_disk(seconds: float) -> tuple[str, ...]:
    """What Python is to run so that an outcome takes so long."""
    return "-c", SLOW_DISK.format(seconds=seconds)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_loses_no_outcome_without_a_word(tables: Tables, environment: dict[str, str], path: Path, workers: str) -> None:
    tables.live(1)
    before, _ = tables.both()
    settings = {**environment, "AUDIT_LOG": str(path), "WORKERS": workers, "REQUEST_TIMEOUT": "2"}
    with ServiceProcess(settings, on_a_slow_disk(2 * PATIENCE)) as service:
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            response = Api(client).archive_all([1])
        assert response.json()["delete_count"] == 1
        started = time.monotonic()
        assert service.stop() == 0
        # REQUEST_TIMEOUT and a second, and STOP_MARGIN.
        assert time.monotonic() - started < 2 + 1 + STOP_MARGIN + SLACK
        (lost,) = [line for line in service.log_lines if line["event"] == "audit line lost"]
        assert not [line for line in service.log_lines if line["event"] == "worker does not stop"]
        assert not service.anything_left()

    assert (lost["error"], lost["outcome"], lost["deleted_lead_ids"]) == (audit_file.ENDED, "committed", [1])
    assert lost["request_id"] == response.headers["X-Request-ID"]
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_waits_for_an_outcome(tables: Tables, environment: dict[str, str], path: Path, workers: str) -> None:
    tables.live(1)
    before, _ = tables.both()
    settings = {**environment, "AUDIT_LOG": str(path), "WORKERS": workers}
    with ServiceProcess(settings, on_a_slow_disk(1)) as service:
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
        assert "audit line lost" not in service.log
    assert events(path) == BOTH
    assert tables.both() == ({}, before)


def test_lines_after_the_end_are_lost_with_a_word(path: Path) -> None:
    async def end() -> str | None:
        file = AuditFile(path)
        await file.drain(is_more_to_come=lambda: False)
        return file.submit({}).result()

    assert asyncio.run(end()) == audit_file.ENDED


def test_the_end_waits_for_the_outcome_of_a_batch_that_is_cut_off(path: Path) -> None:
    async def end() -> None:
        audit = Audit(path)
        batch = audit.batch("archive", "tests", FIELDS)
        await batch.intend([1])
        drained = asyncio.create_task(audit.drain())
        await asyncio.sleep(0.1)
        assert not drained.done()
        await batch.conclude(Outcome.NOT_KNOWN, {})
        await drained

    with capture_logs() as log:
        asyncio.run(end())

    assert events(path) == [("intent", None), ("outcome", "not known")]
    assert log == []


# --- the file ------------------------------------------------------------------------------------------------------------


def test_a_line_after_a_torn_one_is_whole(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    path.write_bytes(b'{"event":"intent"}\n{"event":"inte')

    assert audited.archive_all([1]).status_code == 200

    first, torn, *rest = path.read_bytes().splitlines()
    assert (first, torn, len(rest)) == (b'{"event":"intent"}', b'{"event":"inte', 2)
    assert events(path)[1:] == BOTH
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize(
    ("rotate", "kept"),
    [
        (lambda path: path.rename(path.with_name("audit.jsonl.1")), True),
        (lambda path: path.unlink(), False),
        (lambda path: os.truncate(path, 0), False),
    ],
    ids=["rename", "remove", "cut off"],
)
def test_the_file_may_be_replaced_at_any_moment(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch, rotate: Callable[[Path], object], kept: bool
) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    flush = os.fdatasync
    rotations = iter([rotate])

    def flush_and_rotate(descriptor: int) -> None:
        flush(descriptor)
        for rotation in rotations:
            rotation(path)

    monkeypatch.setattr("os.fdatasync", flush_and_rotate)
    assert audited.archive_all([1]).status_code == 200
    assert events(path) == BOTH  # the intent, though it was written just before
    rotate(path)
    assert audited.archive_all([2]).status_code == 200

    assert events(path) == BOTH
    assert tables.both() == ({}, before)
    if kept:
        assert [line["moved"] for line in ask(path.parent, 2)] == [True]


def test_several_workers_append_whole_lines(tables: Tables, environment: dict[str, str], path: Path) -> None:
    leads = range(1, 301)
    tables.live(*leads)
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "AUDIT_LOG": str(path), "WORKERS": "2"}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(8) as executor,
    ):
        answers = list(executor.map(lambda first: Api(client).archive_all(list(range(first, first + 10))), leads[::10]))
        assert [response.status_code for response in answers] == [200] * 30
        lines = read(path)

    assert tables.both() == ({}, before)
    assert len(lines) == len(path.read_bytes().splitlines()) == 60
    for kind in ("intent", "outcome"):
        of_kind = [line for line in lines if line["event"] == kind]
        assert {line["request_id"] for line in of_kind} == {answer.headers["X-Request-ID"] for answer in answers}
    assert sorted(lead_id for line in lines for lead_id in line.get("deleted_lead_ids", [])) == list(leads)


def test_reading_the_settings_makes_no_file(settings_from: ReadSettings, environment: dict[str, str], path: Path) -> None:
    """Commands run as root: the file would be root's, and the service could not write to it."""
    assert path == settings_from({**environment, "AUDIT_LOG": str(path)}).AUDIT_LOG

    assert not path.exists()


def test_a_file_system_that_cannot_lock_is_refused(tables: Tables, audited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.live(1)
    before, _ = tables.both()

    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("fcntl.flock", cannot)
    response = audited.archive_all([1])

    assert response.status_code == 503
    assert response.json()["message"].startswith(f"{UNWRITABLE}Operation not supported; nothing was changed")
    assert tables.both() == (before, {})


# --- the outcome is right, whichever way out -----------------------------------------------------------------------------


def test_the_outcome_of_a_commit_that_was_not_confirmed_is_not_known(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    commit = Transaction.commit

    async def commit_and_lose_the_answer(transaction: Transaction) -> None:
        deletes = transaction._writes
        await commit(transaction)
        if deletes:
            raise DatabaseError("lost connection", 2013, outcome_known=False)

    monkeypatch.setattr(Transaction, "commit", commit_and_lose_the_answer)
    response = audited.archive_all([1])

    assert (response.status_code, response.json()["message"].split(",")[0]) == (
        503, "the database did not confirm the batch"
    )  # fmt: skip
    assert tables.both() == ({}, before)
    assert events(path) == [("intent", None), ("outcome", "not known")]
    # The repeat finds it gone, and does not claim it.
    monkeypatch.undo()
    assert audited.archive_all([1]).json()["delete_count"] == 0
    assert read(path)[2]["leaving_lead_ids"] == read(path)[3]["deleted_lead_ids"] == []
    (asked,) = ask(path.parent, 1)
    assert (asked["request_id"], asked["moved"]) == (response.headers["X-Request-ID"], None)


def test_a_batch_that_the_database_takes_back_is_rolled_back(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    before, _ = tables.both()
    tables.execute("CREATE TRIGGER t BEFORE INSERT ON vicidial_list_archive FOR EACH ROW SIGNAL SQLSTATE '08S01'"
                   " SET MYSQL_ERRNO = 1030")  # fmt: skip

    assert audited.archive_all([1]).status_code == 503

    assert tables.both() == (before, {})
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


@pytest.fixture
def deadlock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """deadlock(meanwhile): the first attempt of a batch ends in a deadlock, and something is done before the second."""

    def prepare(meanwhile: Callable[[], object]) -> None:
        change, look = Changes.run, Mover._look
        attempts = []

        async def fail_once(changes: Changes, *arguments: Any) -> Any:
            attempts.append(1)
            if len(attempts) == 1:
                raise DatabaseError("Deadlock found", DEADLOCK)
            return await change(changes, *arguments)

        async def look_later(mover: Mover, *arguments: Any) -> Any:
            if len(attempts) == 1:
                meanwhile()
            return await look(mover, *arguments)

        monkeypatch.setattr(Changes, "run", fail_once)
        monkeypatch.setattr(Mover, "_look", look_later)

    return prepare


def test_each_attempt_tells_which_leads_it_is_about_to_delete(
    tables: Tables, audited: Api, path: Path, deadlock: Callable[[Callable[[], object]], None]
) -> None:
    tables.live(1, 2)
    tables.archived(2)
    deadlock(lambda: tables.execute("DELETE FROM vicidial_list WHERE lead_id = 2"))

    assert audited.archive_all([1, 2]).json()["delete_count"] == 1

    first, second, outcome = read(path)
    assert (first["leaving_lead_ids"], second["leaving_lead_ids"], outcome["deleted_lead_ids"]) == ([1, 2], [1], [1])
    assert first["batch_id"] == second["batch_id"] == outcome["batch_id"]
    assert tables.ids() == ([], [1, 2])
    assert ask(path.parent, 2) == []
    assert [line["moved"] for line in ask(path.parent, 1)] == [True]


def test_a_lead_that_is_gone_when_the_batch_is_tried_anew_was_not_moved(
    tables: Tables, audited: Api, path: Path, deadlock: Callable[[Callable[[], object]], None]
) -> None:
    tables.live(1)
    deadlock(lambda: tables.execute("DELETE FROM vicidial_list WHERE lead_id = 1"))

    assert audited.archive_all([1]).status_code == 404

    assert tables.both() == ({}, {})
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


def test_a_defect_leaves_the_outcome_open(tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.live(1)
    before, _ = tables.both()

    async def fail(*_: object) -> None:
        raise RuntimeError("the defect")

    monkeypatch.setattr(Changes, "run", fail)

    assert audited.archive_all([1]).status_code == 500
    assert tables.both() == (before, {})
    assert events(path) == [("intent", None), ("outcome", "not known")]


def test_copies_that_last_are_no_rollback(tables: Tables, new_api: Callable[..., Api], path: Path) -> None:
    """With one table that cannot roll back, each statement is committed by itself: a batch may end between two of them."""
    tables.execute("ALTER TABLE vicidial_list ENGINE = MyISAM")
    tables.live(1)
    before, _ = tables.both()
    tables.execute("CREATE TRIGGER t BEFORE DELETE ON vicidial_list FOR EACH ROW SIGNAL SQLSTATE '08S01'"
                   " SET MYSQL_ERRNO = 1030")  # fmt: skip

    assert new_api(AUDIT_LOG=str(path)).archive_all([1]).status_code == 503

    assert tables.both() == (before, before)
    assert events(path) == [("intent", None), ("outcome", "not known")]


def test_a_batch_that_is_cancelled_has_an_outcome(tables: Tables, context: AppContext, path: Path) -> None:
    tables.live(1)
    tables.archived(1, status="NEW")
    before = tables.both()
    other = tables.mariadb.connect(tables.database, autocommit=False)

    async def cancel_while_it_waits_for_a_row() -> None:
        await context.database.connect()
        task = asyncio.create_task(archive(context))
        await asyncio.to_thread(tables.wait_for_a_lock_wait)
        assert events(path) == [("intent", None)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await context.database.disconnect()

    with other.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list_archive WHERE lead_id = 1 FOR UPDATE")
        asyncio.run(cancel_while_it_waits_for_a_row())
    other.close()

    assert tables.both() == before
    assert events(path) == [("intent", None), ("outcome", "not known")]


def test_an_outcome_is_written_even_if_the_batch_is_cancelled_meanwhile(
    tables: Tables, context: AppContext, path: Path, disk: StuckDisk
) -> None:
    """As when a stop cuts off what has not ended in time."""
    tables.live(1)
    before, _ = tables.both()
    disk.stuck = lambda _: events(path)[-1][0] == "outcome"

    async def cancel_while_it_waits_for_the_disk() -> None:
        await context.database.connect()
        task = asyncio.create_task(archive(context))
        await asyncio.to_thread(wait_until, lambda: disk.waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await context.database.disconnect()

    asyncio.run(cancel_while_it_waits_for_the_disk())
    disk.released.set()

    wait_until(lambda: events(path) == BOTH)
    assert tables.both() == ({}, before)


def test_a_batch_that_runs_out_of_time_waiting_for_the_disk_is_rolled_back(
    tables: Tables, context: AppContext, path: Path, disk: StuckDisk
) -> None:
    tables.live(1)
    before, _ = tables.both()
    started = time.monotonic()

    async def archive_with_little_time() -> None:
        await context.database.connect()
        with pytest.raises(DatabaseError):
            await archive(context, 0.3)
        await context.database.disconnect()

    asyncio.run(archive_with_little_time())

    assert time.monotonic() - started < 1 + SLACK
    assert tables.both() == (before, {})
    disk.released.set()
    wait_until(lambda: sorted(events(path)) == [("intent", None), ("outcome", "rolled back")])


async def archive(context: AppContext, seconds: float = PATIENCE) -> None:
    key = Key("tests", b"")
    deadline = asyncio.get_running_loop().time() + seconds
    await move(context, context.archive, "archive", key=key, fields=FIELDS, deadline=deadline)


# --- the question --------------------------------------------------------------------------------------------------------

TIMES = (f"2026-01-01T00:00:{second:02}.000000Z" for second in range(60))


def line(event: str, batch: str, operation: str = "archive", **fields: Any) -> Line:
    common = {"event": event, "time": next(TIMES), "batch_id": batch, "operation": operation}
    return {**common, "request_id": batch, "key": "k", **fields}


def test_the_documented_question_is_answered_from_any_lines(tmp_path: Path) -> None:
    lines = [
        line("intent", "taken back", leaving_lead_ids=[1, 2]),
        line("outcome", "taken back", outcome="rolled back"),
        line("intent", "left alone", leaving_lead_ids=[1, 2]),
        line("outcome", "left alone", outcome="committed", deleted_lead_ids=[2]),
        line("intent", "killed", leaving_lead_ids=[1]),
        line("intent", "repeated", leaving_lead_ids=[]),
        line("outcome", "repeated", outcome="committed", deleted_lead_ids=[]),
        line("intent", "back", "dearchive", leaving_lead_ids=[1]),
        line("writable again", ""),
        line("outcome", "back", "dearchive", outcome="committed", deleted_lead_ids=[1]),
        line("intent", "unconfirmed", leaving_lead_ids=[1]),
        line("outcome", "unconfirmed", outcome="not known"),
    ]
    texts = [json.dumps(line) for line in lines]
    texts.insert(3, '{"event":"outcome","batch_id":"killed","outcome":"rolled')
    (tmp_path / "audit.jsonl.1").write_text("\n".join(texts[:5]) + "\n17\n")
    os.utime(tmp_path / "audit.jsonl.1", (0, 0))
    (tmp_path / "audit.jsonl").write_text("\n".join(texts[5:]) + "\n")

    asked = {lead_id: ask(tmp_path, lead_id) for lead_id in (1, 2, 3)}

    assert [(line["request_id"], line["operation"], line["moved"]) for line in asked[1]] == [
        ("taken back", "archive", False),
        ("left alone", "archive", False),
        ("killed", "archive", None),
        ("back", "dearchive", True),
        ("unconfirmed", "archive", None),
    ]
    assert [(line["request_id"], line["moved"]) for line in asked[2]] == [("taken back", False), ("left alone", True)]
    assert asked[3] == []
    assert all(line["key"] == "k" and line["time"] for line in asked[1])
    for lead_id, expected in asked.items():
        assert answer(lines, lead_id) == expected
