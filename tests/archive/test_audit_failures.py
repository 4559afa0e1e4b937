"""A batch whose intent the audit log does not take is refused, and an outcome that it does not take is in the log."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.auditor import BOTH, StuckDisk, answer, ask, events, read
from support.paths import ROOT
from support.process import PATIENCE, SLACK, ServiceProcess, clean
from support.remedies import problems
from support.tables import Tables
from support.waiting import wait_until

from service.archive.readiness import MAX_AGE
from service.errors import AuditError
from service.observability import appending, audit_file
from service.observability.audit_file import AuditFile, Failure
from service.observability.audit_log import Audit, Outcome
from service.observability.metrics import AUDIT_FAILURES
from service.server.serve import STOP_MARGIN

UNWRITABLE = "the audit log cannot be written: "


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
        (
            lock_the_file,
            "its lock (flock) is held, by another program or by a process of this service that waits for the disk",
        ),
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
    monkeypatch.setattr(appending, "LOCK_TIMEOUT", 0.2)
    tables.live(1)
    before, _ = tables.both()
    clear = obstruct(path)

    for _ in range(2):
        failures = AUDIT_FAILURES._value.get()
        response = audited.archive_all([1])
        assert AUDIT_FAILURES._value.get() == failures + 1
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.json()["message"] == (
            f"{UNWRITABLE}{reason}; nothing was changed, repeat the request when an administrator has mended it"
        )
        (problem,) = audited.get("/readyz").json()["problems"]
        assert problem == {"message": f"{UNWRITABLE}{reason}", "remedy": None, "operations": ["archive", "dearchive"]}
    assert tables.both() == (before, {})
    clear()

    assert audited.get("/readyz").status_code == 200
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    assert events(path) == [("writable again", None), *BOTH]


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
        # A line of /readyz would fit, and so would the line of a batch that is refused without a change.
        for _ in range(2):
            (problem,) = api.get("/readyz").json()["problems"]
            assert problem["message"] == f"{UNWRITABLE}File too large"
            assert path.read_bytes() == content
            time.sleep(MAX_AGE)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert api.get("/readyz").status_code == 200
        assert api.archive_all(list(range(2, 101))).json()["delete_count"] == 99
    assert tables.both() == ({}, before)
    assert events(path) == [*BOTH, ("writable again", None), *BOTH]


def test_a_short_line_does_not_show_that_there_is_room_for_a_long_one(path: Path) -> None:
    async def write() -> list[str | None]:
        audit = Audit(path)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        try:
            with pytest.raises(AuditError):
                await audit.batch("archive", "tests", {"lead_ids": list(range(1000))}).intend([])
            await audit.batch("archive", "tests", {"lead_ids": [1]}).intend([])
            said = [await audit.problem(), await audit.problem()]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        return [*said, await audit.problem()]

    assert asyncio.run(write()) == ["File too large", "File too large", None]
    assert events(path) == [("intent", None), ("writable again", None)]


def test_a_disk_that_stands_still_delays_nobody(
    tables: Tables, audited: Api, path: Path, disk: StuckDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "TIMEOUT", 0.5)
    submitted = []
    submit = AuditFile.submit

    def count_intents(file: AuditFile, record: dict[str, Any], length: int = 0) -> Any:
        submitted.extend([record] * (record["event"] == "intent"))
        return submit(file, record, length)

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


def test_an_intent_that_nobody_waits_for_is_not_written_into_the_next_file(
    tables: Tables, audited: Api, path: Path, disk: StuckDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is renamed while its disk stands still. After the outcome, the intent would be a batch that nobody knows of."""
    monkeypatch.setattr(audit_file, "TIMEOUT", 0.5)
    tables.live(1)
    before = tables.both()
    intents: list[int] = []

    def stuck(descriptor: int) -> bool:
        intents.append(descriptor)
        return len(intents) == 1

    disk.stuck = stuck
    rotated = path.with_name(f"{path.name}.1")
    with ThreadPoolExecutor(1) as client:
        refused = client.submit(audited.archive_all, [1])
        wait_until(lambda: disk.waiting == 1)
        path.rename(rotated)
        assert refused.result().status_code == 503
        wait_until(lambda: path.exists() and events(path) == [("outcome", "rolled back")])
        disk.released.set()

    assert tables.both() == before
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert events(rotated) == [("intent", None)]
    assert events(path) == [("outcome", "rolled back"), *BOTH]
    assert [line["moved"] for line in ask(path.parent, 1)] == [False, True]


def test_an_intent_after_the_outcome_of_its_batch_is_no_news(path: Path) -> None:
    common = {"batch_id": "b", "operation": "archive", "request_id": "r", "key": "k", "time": "2026-01-01T00:00:00Z"}
    intent = {"event": "intent", **common, "leaving_lead_ids": [1]}
    outcome = {"event": "outcome", **common, "outcome": "rolled back"}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (intent, outcome, intent)))

    assert [line["moved"] for line in ask(path.parent, 1)] == [False]
    assert [line["moved"] for line in answer(read(path), 1)] == [False]


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


# --- a failure after the line has reached the file -----------------------------------------------------------------------


def fail(what: str, *, at: Callable[[Any], bool] = lambda _: True, times: int = 1) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what makes a function of `os` fail so many times, for arguments for which `at` is true."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        function, errors = getattr(os, what), [OSError(errno.EIO, os.strerror(errno.EIO)) for _ in range(times)]

        def fail_or_call(first: Any, *rest: Any, **named: Any) -> Any:
            if errors and at(first):
                raise errors.pop()
            return function(first, *rest, **named)

        monkeypatch.setattr(os, what, fail_or_call)

    return patch


def refuse_the_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has no room for the last byte, and what was written cannot be taken back: a file with chattr +a."""
    write, refused = os.write, [True]

    def write_short(descriptor: int, data: bytes) -> int:
        if refused and data.endswith(b"}\n"):
            return write(descriptor, data[:-1])
        if refused and data == b"\n":
            refused.clear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_short)
    fail("ftruncate")(monkeypatch)


@pytest.mark.parametrize(
    "obstruct",
    [
        fail("fdatasync"),
        fail("stat", at=lambda path: isinstance(path, Path) and path.name == "audit.jsonl"),
        refuse_the_line_end,
    ],
    ids=["flush", "stat of the file", "last byte"],
)
def test_an_intent_that_may_be_in_the_file_is_followed_by_its_outcome(
    tables: Tables,
    audited: Api,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    obstruct: Callable[[pytest.MonkeyPatch], None],
) -> None:
    tables.live(1)
    before, _ = tables.both()
    obstruct(monkeypatch)

    response = audited.archive_all([1])

    assert response.status_code == 503
    assert "; nothing was changed, repeat the request" in response.json()["message"]
    assert tables.both() == (before, {})
    wait_until(lambda: events(path) == [("intent", None), ("outcome", "rolled back")], SLACK)
    assert [line["moved"] for line in answer(read(path), 1)] == [False]
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)


@pytest.mark.parametrize(
    "obstruct",
    [
        fail("fsync"),
        fail("stat", at=lambda path: isinstance(path, Path) and path.name == "audit"),
        fail("open", at=lambda path: isinstance(path, Path) and path.name == "audit"),
    ],
    ids=["flush", "stat", "open"],
)
def test_no_line_is_written_if_the_folder_cannot_be_brought_to_disk(
    tables: Tables,
    audited: Api,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    obstruct: Callable[[pytest.MonkeyPatch], None],
) -> None:
    tables.live(1)
    before, _ = tables.both()
    obstruct(monkeypatch)

    assert audited.archive_all([1]).status_code == 503
    assert (tables.both(), read(path)) == ((before, {}), [])
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert (tables.both(), events(path)) == (({}, before), BOTH)


def rename_the_folder_at(event: str, path: Path, monkeypatch: pytest.MonkeyPatch, *, back: float | None) -> Path:
    """Rename the folder when a line with this event is flushed, and make it again after some seconds. Return its new name."""
    flush, elsewhere = os.fdatasync, path.parent.with_name("elsewhere")

    def flush_and_rename(descriptor: int) -> None:
        flush(descriptor)
        if not elsewhere.exists() and events(path)[-1][0] == event:
            path.parent.rename(elsewhere)
            if back is not None:
                threading.Timer(back, path.parent.mkdir).start()

    monkeypatch.setattr(os, "fdatasync", flush_and_rename)
    return elsewhere / path.name


def test_an_intent_in_a_folder_that_was_renamed_has_its_outcome_in_the_log(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    elsewhere = rename_the_folder_at("intent", path, monkeypatch, back=None)

    with capture_logs() as log:
        response = audited.archive_all([1])
        wait_until(lambda: any("outcome" in line for line in log))

    assert response.json()["message"].startswith(f"{UNWRITABLE}No such file or directory; nothing was changed")
    assert tables.both() == (before, {})
    (intent,) = [line for line in read(elsewhere) if line["event"] == "intent"]
    (lost,) = [line for line in log if "outcome" in line]
    assert (lost["event"], lost["outcome"], lost["batch_id"]) == ("audit line lost", "rolled back", intent["batch_id"])


@pytest.mark.parametrize("event", ["intent", "outcome"])
def test_a_line_is_written_again_while_its_folder_is_replaced(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    tables.live(1)
    before, _ = tables.both()
    elsewhere = rename_the_folder_at(event, path, monkeypatch, back=0.02)

    with capture_logs() as log:
        assert audited.archive_all([1]).json()["delete_count"] == 1
        wait_until(lambda: path.exists() and events(path)[-1:] == BOTH[1:])

    assert tables.both() == ({}, before)
    assert events(elsewhere) == (BOTH[:1] if event == "intent" else BOTH)
    assert events(path) == (BOTH if event == "intent" else BOTH[1:])
    assert not [line for line in log if line["event"] == "audit line lost"]


# --- an outcome that is late, or lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["intent", "outcome"])
def test_a_line_for_which_there_is_no_memory_counts_as_lost(
    tables: Tables, audited: Api, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    tables.live(1)
    before, _ = tables.both()
    failures = AUDIT_FAILURES._value.get()
    append = appending.append

    def fail(descriptor: int, line: appending.Line) -> None:
        if f'"event":"{event}"'.encode() in line.data:
            raise MemoryError
        append(descriptor, line)

    monkeypatch.setattr(audit_file, "append", fail)
    with capture_logs() as log:
        response = audited.archive_all([1])
        wait_until(lambda: event == "intent" or any(line["event"] == "audit line lost" for line in log))

    assert AUDIT_FAILURES._value.get() == failures + 1
    if event == "intent":
        assert response.status_code == 503
        assert response.json()["message"].startswith(f"{UNWRITABLE}MemoryError()")
        assert tables.both() == (before, {})
        return
    assert response.json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    (lost,) = [line for line in log if line["event"] == "audit line lost"]
    assert (lost["error"], lost["outcome"], lost["deleted_lead_ids"]) == ("MemoryError()", "committed", [1])


def test_an_outcome_for_which_there_is_no_memory_at_all_is_in_the_log(
    tables: Tables, audited: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    failures = AUDIT_FAILURES._value.get()
    write = AuditFile._write

    def fail(file: AuditFile, line: appending.Line) -> Failure | None:
        if b'"event":"outcome"' in line.data:
            raise MemoryError
        return write(file, line)

    monkeypatch.setattr(AuditFile, "_write", fail)
    with capture_logs() as log:
        assert audited.archive_all([1]).json()["delete_count"] == 1
        wait_until(lambda: any(line["event"] == "audit line lost" for line in log))

    (lost,) = [line for line in log if line["event"] == "audit line lost"]
    assert (lost["error"], lost["outcome"], lost["deleted_lead_ids"]) == ("MemoryError()", "committed", [1])
    assert AUDIT_FAILURES._value.get() == failures + 1
    assert tables.both() == ({}, before)


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
        tables.wait_for_a_trigger()
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
from service.archive.readiness import MAX_AGE
from service.errors import AuditError
from service.observability import audit_file
append = audit_file.append
def wait(descriptor, line):
    time.sleep({seconds} * (b'"event":"outcome"' in line.data))
    append(descriptor, line)
audit_file.append = wait
from service.__main__ import main
main([])
"""


def on_a_slow_disk(seconds: float) -> tuple[str, ...]:
    """Return the arguments of Python that start a service whose outcomes take this many seconds to write."""
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
    async def end() -> Failure | None:
        file = AuditFile(path)
        await file.drain(is_more_to_come=lambda: False)
        return file.submit({}).result()

    assert asyncio.run(end()) == Failure(audit_file.ENDED)


def test_the_end_waits_for_the_outcome_of_a_batch_that_is_cut_off(path: Path) -> None:
    async def end() -> None:
        audit = Audit(path)
        batch = audit.batch("archive", "tests", {**Api.ALL, "lead_ids": [1]})
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


def test_a_file_that_cannot_be_written_is_told_before_this_process_has_tried_it(
    tables: Tables, audited: Api, path: Path
) -> None:
    """With several workers, each is asked for /readyz, and most have not written the last line."""
    assert audited.get("/readyz").status_code == 200
    elsewhere = path.parent.rename(path.parent.with_name("elsewhere"))

    (problem,) = audited.get("/readyz").json()["problems"]

    assert problem["message"] == f"{UNWRITABLE}No such file or directory"
    elsewhere.rename(path.parent)
    assert audited.get("/readyz").status_code == 200
    assert tables.both() == ({}, {})


AS_AN_ORDINARY_ACCOUNT = """
import os, sys
if os.geteuid() == 0:  # root may read each folder, unless it gives up its capabilities
    os.execvp("setpriv", ["setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-m", "service"])
os.execv(sys.executable, [sys.executable, "-m", "service"])
"""


def test_a_folder_that_cannot_be_read_is_told_before_a_batch_is_refused(
    tables: Tables, environment: dict[str, str], path: Path
) -> None:
    """The service reads it to have the file's entry in it on disk."""
    tables.live(1)
    before, _ = tables.both()
    denied = f"{UNWRITABLE}Permission denied"
    with (
        ServiceProcess({**environment, "AUDIT_LOG": str(path)}, ("-c", AS_AN_ORDINARY_ACCOUNT)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        api = Api(client)
        assert api.get("/readyz").status_code == 200
        path.parent.chmod(0o300)
        try:
            wait_until(lambda: api.get("/readyz").status_code == 503)
            for _ in range(2):
                assert api.archive_all([1]).json()["message"].startswith(denied)
                assert [problem["message"] for problem in problems(api)] == [denied]
        finally:
            path.parent.chmod(0o700)
        assert tables.both() == (before, {})
        assert read(path) == []
        wait_until(lambda: api.get("/readyz").status_code == 200)
        assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    assert events(path) == [("writable again", None), *BOTH]


@pytest.mark.parametrize("is_there", [False, True])
def test_the_service_does_not_start_if_a_folder_cannot_be_read(
    environment: dict[str, str], path: Path, is_there: bool
) -> None:
    if is_there:
        path.touch()
    path.parent.chmod(0o300)
    try:
        result = subprocess.run(
            [sys.executable, "-c", AS_AN_ORDINARY_ACCOUNT],
            cwd=ROOT,
            env=clean({**environment, "AUDIT_LOG": str(path), "PORT": "0"}),  # so that it ends in any case
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        path.parent.chmod(0o700)

    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Permission denied" in result.stderr


def test_a_link_into_a_folder_that_is_missing_is_told_before_a_batch_is_refused(
    tables: Tables, audited: Api, path: Path
) -> None:
    folder = path.parent.with_name("elsewhere")
    path.symlink_to(folder / "file")
    tables.live(1)
    before, _ = tables.both()
    missing = f"{UNWRITABLE}No such file or directory"

    assert [problem["message"] for problem in problems(audited)] == [missing]
    assert audited.archive_all([1]).json()["message"].startswith(missing)
    assert tables.both() == (before, {})
    folder.mkdir()
    assert audited.get("/readyz").status_code == 200
    assert audited.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)


def test_the_folder_to_which_a_link_leads_is_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = path.parent.with_name("elsewhere")
    folder.mkdir()
    path.symlink_to(folder / "file")
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))

    asyncio.run(AuditFile(path).append({"event": "intent"}))

    assert synced == [str(folder)]
    assert events(folder / "file") == [("intent", None)]


def test_a_file_that_was_removed_on_the_host_takes_no_line(
    tables: Tables, new_api: Callable[..., Api], tmp_path: Path
) -> None:
    """A bind mount of the file alone shows the old one for ever, and so does this path."""
    path = tmp_path / "audit.jsonl"
    tables.live(1, 2)
    with path.open("w+") as file:
        mounted = f"/proc/self/fd/{file.fileno()}"
        api = new_api(AUDIT_LOG=mounted)
        assert api.archive_all([1]).json()["delete_count"] == 1
        written = path.read_text()
        path.unlink()
        before = tables.both()

        response = api.archive_all([2])

        told = f"{UNWRITABLE}it was removed or replaced on the host: mount its folder, not the file"
        assert (response.status_code, response.json()["message"].partition(";")[0]) == (503, told)
        assert tables.both() == before
        assert [problem["message"] for problem in api.get("/readyz").json()["problems"]] == [told]
        assert file.read() == written
