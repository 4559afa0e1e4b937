"""Keys while the service runs: a file that changes, and keys that expire."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import KEY, Api
from support.process import PATIENCE
from support.tables import Tables
from support.waiting import wait_until

from service.access import keys_file
from service.access.keys import Keys
from service.access.keys_file import MOST_WAIT, QUIET_TIME, KeysBeingReadError, KeysFile
from service.api.leads import LONGEST_LOOK

BEING_READ = "the API keys were changed and are being read; nothing was changed, repeat the request"


def entry(key: str, more: str = "") -> str:
    return f'[[keys]]\nname = "tests"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n{more}\n'


def livestatus(api: Api, key: str = KEY) -> int:
    """The status of a comparison, which changes nothing."""
    body = json.dumps({"lead_ids": [1]})
    return api.post(body, "/vicidial/leads/compare", Authorization=f"Key={key}").status_code


def test_a_changed_file_counts_at_once(api: Api, keys_file: Path) -> None:
    assert (livestatus(api), livestatus(api, "new")) == (200, 401)

    keys_file.write_text(entry(KEY) + entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (200, 200)

    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


def test_a_file_that_is_put_in_the_others_place_counts_at_once(api: Api, keys_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(entry("new"))
    other.replace(keys_file)

    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.parametrize("content", ["", "keys = [", entry("new", "admin = true"), None], ids=["empty", "cut", "bad", "gone"])
def test_a_broken_file_keeps_the_old_keys_and_says_so_once(api: Api, keys_file: Path, content: str | None) -> None:
    assert livestatus(api) == 200
    with capture_logs() as log:
        if content is None:
            keys_file.unlink()
        else:
            keys_file.write_text(content)
        assert [livestatus(api) for _ in range(3)] == [200] * 3
        assert livestatus(api, "new") == 401

    (line,) = [line for line in log if line["event"] == "keys not reloaded"]
    assert line["log_level"] == "error"
    assert str(keys_file) in line["error"]

    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let open() fail with EMFILE, as in a process that has as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_a_file_that_was_replaced_on_the_host_is_told_of(tables: Tables, new_api: Callable[..., Api], tmp_path: Path) -> None:
    """A bind mount of the file alone shows the old one for ever, and so does this path."""
    path, other = tmp_path / "mounted.toml", tmp_path / "other"
    path.touch(mode=0o600)
    path.write_text(entry(KEY))
    other.write_text(entry("new"))
    with path.open() as file, capture_logs() as log:
        api = new_api(API_KEYS_FILE=f"/proc/self/fd/{file.fileno()}")
        assert livestatus(api) == 200
        other.replace(path)

        assert livestatus(api) == 200  # nobody can know the new keys

        (line,) = [line for line in log if line["event"] == "keys not reloaded"]
        assert "it was removed or replaced on the host: mount its folder, not the file" in line["error"]
        assert len(api.get("/readyz").json()["notes"]) == 1
    assert tables.both() == ({}, {})


def test_a_passing_error_does_not_use_up_the_change(api: Api, keys_file: Path) -> None:
    assert livestatus(api) == 200
    keys_file.write_text(entry("new"))
    with capture_logs() as log:
        with no_descriptor_left():
            assert [livestatus(api) for _ in range(3)] == [200] * 3

        assert (livestatus(api), livestatus(api, "new")) == (401, 200)

    lines = [(line["event"], line.get("error")) for line in log if line["event"].startswith("keys ")]
    assert lines == [
        ("keys not reloaded", f"cannot read {keys_file}: Too many open files"),
        ("keys reloaded", None),
    ]


@pytest.mark.parametrize("calls", [{"open"}, {"open", "stat"}, {"read"}], ids=lambda calls: " and ".join(sorted(calls)))
def test_an_error_of_a_network_file_system_does_not_use_up_the_change(
    api: Api, keys_file: Path, monkeypatch: pytest.MonkeyPatch, calls: set[str]
) -> None:
    assert livestatus(api) == 200
    keys_file.write_text(entry("new"))

    def failing(function: Callable[..., Any], fails: bool) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            is_it = str(path) == str(keys_file)
            if is_it and fails:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            # The first bytes of this one cannot be read: EIO.
            return function("/proc/self/mem" if is_it and "read" in calls else path, *arguments, **options)

        return call

    with capture_logs() as log:
        with monkeypatch.context() as broken:
            broken.setattr(os, "open", failing(os.open, "open" in calls))
            if "stat" in calls:
                broken.setattr(os, "stat", failing(os.stat, fails=True))
            assert [livestatus(api) for _ in range(3)] == [200] * 3

        assert (livestatus(api), livestatus(api, "new")) == (401, 200)

    lines = [(line["event"], line.get("error")) for line in log if line["event"].startswith("keys ")]
    why = os.strerror(errno.EIO if "read" in calls else errno.ESTALE)
    assert lines == [("keys not reloaded", f"cannot read {keys_file}: {why}"), ("keys reloaded", None)]


def test_a_part_of_a_file_that_is_being_written_does_not_count(tables: Tables, api: Api, keys_file: Path) -> None:
    """It is valid: a key that sees all leads. Its list_ids come after a moment."""
    tables.live(1, list_id=998)

    def sees() -> bool:
        return bool(api.compare([1]).json()["leads"][0]["in_list"])

    keys_file.write_text(entry(KEY, "list_ids = [101]"))
    assert not sees()
    with ThreadPoolExecutor(1) as client:
        keys_file.write_text(entry(KEY))
        seen = client.submit(sees)
        time.sleep(0.02)
        keys_file.write_text(entry(KEY, "list_ids = [101, 102]"))
        assert not seen.result()
    keys_file.write_text(entry(KEY))
    assert sees()


def test_a_file_that_is_touched_all_the_time_counts(api: Api, keys_file: Path) -> None:
    """Its content stays as it is."""
    assert livestatus(api) == 200
    stop = Event()

    def touch() -> None:
        while not stop.wait(0.01):
            os.utime(keys_file)

    toucher = Thread(target=touch)
    toucher.start()
    try:
        keys_file.write_text(entry("new"))
        assert (livestatus(api), livestatus(api, "new")) == (401, 200)
    finally:
        stop.set()
        toucher.join()


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_key_that_is_revoked_just_before_a_batch_that_has_waited_is_refused(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path
) -> None:
    """Nobody else has looked at the file since. The batch waits until it has been read, and does not take the old keys."""
    assert LONGEST_LOOK > 4 * QUIET_TIME
    tables.live(1)
    before = tables.both()
    api = new_api(PACE="full")
    with ThreadPoolExecutor(1) as client:
        with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLES vicidial_list WRITE")
            answer = client.submit(api.archive_all, [1])
            time.sleep(1.5)  # longer than a request believes what it has found
            keys_file.write_text(entry("new"))
        assert answer.result().status_code == 401
    assert tables.both() == before


def slowly(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the keys as slowly as if there were thousands of them."""
    parse = Keys.parse

    def parse_slowly(*arguments: Any) -> Keys:
        time.sleep(seconds)
        return parse(*arguments)

    monkeypatch.setattr(Keys, "parse", parse_slowly)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("change", ["revoked", "narrowed"])
def test_a_batch_that_has_waited_does_not_go_on_with_old_keys_while_thousands_are_being_read(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    tables.live(1)
    before = tables.both()
    api = new_api(PACE="full")
    slowly(3 * LONGEST_LOOK, monkeypatch)
    with ThreadPoolExecutor(1) as client, capture_logs() as log:
        with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLES vicidial_list WRITE")
            answer = client.submit(api.archive_all, [1])
            time.sleep(1.5)  # longer than a request believes what it has found
            keys_file.write_text(entry("new") if change == "revoked" else entry(KEY, "list_ids = [5]"))
        assert (answer.result().status_code, answer.result().json()["message"]) == (503, BEING_READ)
        assert api.archive_all([1]).status_code == (401 if change == "revoked" else 404)
    assert not [line for line in log if line["event"] == "keys not reloaded"]
    assert tables.both() == before


def test_a_request_does_not_go_on_with_old_keys_while_very_many_are_being_read(
    api: Api, keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert livestatus(api) == 200
    slowly(2 * MOST_WAIT, monkeypatch)
    keys_file.write_text(entry("new"))

    assert (livestatus(api), livestatus(api, "new")) == (503, 503)
    wait_until(lambda: livestatus(api, "new") == 200)
    assert livestatus(api) == 401


def test_nobody_waits_for_very_many_keys_that_take_too_long_already(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeysFile(keys_file)
    slowly(MOST_WAIT, monkeypatch)
    keys_file.write_text(entry("new"))

    async def ask() -> None:
        with pytest.raises(KeysBeingReadError):
            await file.current(5 * QUIET_TIME)
        with pytest.raises(KeysBeingReadError):
            file.current(5 * QUIET_TIME).send(None)  # without waiting for anything

    asyncio.run(ask())


def test_a_process_that_stands_still_while_the_file_changes_twice_has_the_last_keys(
    api: Api, keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its clock, the file has been written to for seconds."""
    changes = [entry("new") + entry("one"), entry("new")]
    stood_still = 0.0
    monotonic = time.monotonic

    def stand_still(_: float) -> None:
        nonlocal stood_still
        stood_still += 3.0
        if changes:
            keys_file.write_text(changes.pop())

    monkeypatch.setattr(time, "sleep", stand_still)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + stood_still)
    keys_file.write_text(entry("other"))

    assert (livestatus(api), livestatus(api, "new"), livestatus(api, "one")) == (401, 200, 200)
    assert changes == []


def test_a_file_that_is_written_to_all_the_time_keeps_the_old_keys_and_is_told_of(
    api: Api, keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.access.keys_file.MOST_CHANGES", 3)
    stop = Event()

    def write() -> None:
        with keys_file.open("r+") as file:  # it is never empty, and always valid
            while not stop.wait(0.01):
                file.seek(0)
                file.write(entry("new", f"list_ids = [{10**19 + time.monotonic_ns()}]"))
                file.flush()

    keys_file.write_text(entry("new", f"list_ids = [{10**19}]"))
    writer = Thread(target=write)
    with capture_logs() as log:
        writer.start()
        try:
            assert (livestatus(api), livestatus(api, "new")) == (200, 401)
        finally:
            stop.set()
            writer.join()
        assert "it is written to all the time" in str(log)
        assert (livestatus(api), livestatus(api, "new")) == (401, 200)


def test_a_file_that_is_away_for_a_moment_counts_when_it_is_back(api: Api, keys_file: Path) -> None:
    assert livestatus(api) == 200
    with capture_logs() as log:
        aside = keys_file.rename(keys_file.with_name("aside"))
        assert [livestatus(api) for _ in range(3)] == [200] * 3
        aside.write_text(entry("new"))
        aside.rename(keys_file)
        assert (livestatus(api), livestatus(api, "new")) == (401, 200)

    assert [line["event"] for line in log if line["event"].startswith("keys ")] == ["keys not reloaded", "keys reloaded"]


@pytest.mark.parametrize("kind", ["fifo", "nested"])
def test_a_file_that_would_hold_or_break_the_service_keeps_the_old_keys(api: Api, keys_file: Path, kind: str) -> None:
    assert livestatus(api) == 200
    keys_file.unlink()
    if kind == "fifo":
        os.mkfifo(keys_file)
    else:
        keys_file.write_text("keys = " + "[" * 3_000)

    assert (livestatus(api), livestatus(api, "new")) == (200, 401)

    keys_file.unlink()
    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


def test_a_second_change_that_leaves_no_trace_counts_too(
    new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a file system whose clock has not ticked in between: the size is all that tells the two apart.
    monkeypatch.setattr("service.access.keys_file._signature", lambda path: (path.stat().st_size,))
    api = new_api()
    keys_file.write_text(entry(KEY) + entry("one"))
    assert (livestatus(api), livestatus(api, "one")) == (200, 200)

    keys_file.write_text(entry("new") + entry("one"))

    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.parametrize("is_asked_between", [True, False])
def test_a_change_that_leaves_no_trace_counts_after_one_that_left_the_content(
    new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch, is_asked_between: bool
) -> None:
    """A program that manages the configuration writes the same file again. In the same tick of the clock a key is replaced."""
    ticks = [1]
    settle_time = 0.2
    monkeypatch.setattr("service.access.keys_file._signature", lambda _: (ticks[0],))
    monkeypatch.setattr("service.access.keys_file.SETTLE_TIME", settle_time)
    api = new_api()
    for _ in range(2):
        time.sleep(2 * settle_time)
        assert livestatus(api) == 200  # the last check of the file as it was
    ticks[0] = 2
    assert livestatus(api) == 200

    keys_file.write_text(entry("new"))

    if is_asked_between:
        assert (livestatus(api), livestatus(api, "new")) == (401, 200)
    time.sleep(2 * settle_time)
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.usefixtures("keys_file")
def test_a_file_that_has_not_changed_is_not_read(new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.access.keys_file.SETTLE_TIME", 0.1)
    api = new_api()
    time.sleep(0.2)
    assert livestatus(api) == 200

    with monkeypatch.context() as patch:
        patch.setattr("service.access.keys_file.read_file", None)
        patch.setattr("service.access.keys_file.must_have_name", None)
        with capture_logs() as log:
            assert livestatus(api) == 200
    assert [line for line in log if line["event"] == "keys not reloaded"] == []


def test_a_file_with_a_fault_is_looked_through_once(
    new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next checks read it, but thousands of keys take long to look through."""
    api = new_api()
    keys_file.write_text("keys = [")
    assert livestatus(api) == 200

    with monkeypatch.context() as patch:
        patch.setattr(Keys, "parse", None)
        assert (livestatus(api), livestatus(api, "new")) == (200, 401)
    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


def test_a_problem_that_lasts_is_told_of_again(
    new_api: Callable[..., Api], keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.access.keys_file.SETTLE_TIME", 0.1)
    monkeypatch.setattr("service.access.keys_file.REMINDER_INTERVAL", 0.5)
    api = new_api()
    keys_file.write_text("keys = [")
    deadline = time.monotonic() + PATIENCE
    with capture_logs() as log:
        while sum(line["event"] == "keys not reloaded" for line in log) < 3:
            assert time.monotonic() < deadline
            assert livestatus(api) == 200


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Semaphore, Semaphore]]:
    """What a test waits for until a thread has read the file, and what that thread then waits for."""
    has_read, may_go_on = Semaphore(0), Semaphore(0)
    parse = Keys.parse

    def hold(text: bytes, path: Path) -> Keys:
        has_read.release()
        may_go_on.acquire(timeout=PATIENCE)
        return parse(text, path)

    monkeypatch.setattr(Keys, "parse", hold)
    yield has_read, may_go_on
    may_go_on.release(100)


def test_the_event_loop_goes_on_while_the_file_is_read(api: Api, keys_file: Path, held: tuple[Semaphore, Semaphore]) -> None:
    has_read, may_go_on = held
    keys_file.write_text(entry("new"))
    with ThreadPoolExecutor() as executor:
        waits = executor.submit(livestatus, api, "new")
        assert has_read.acquire(timeout=PATIENCE)

        assert executor.submit(api.get, "/livez").result(PATIENCE).status_code == 200
        assert not waits.done()

        may_go_on.release()
        assert waits.result(PATIENCE) == 200


def test_a_key_that_is_revoked_while_the_file_is_read_is_refused(
    api: Api, keys_file: Path, held: tuple[Semaphore, Semaphore]
) -> None:
    has_read, may_go_on = held
    keys_file.write_text(entry(KEY) + entry("new"))
    with ThreadPoolExecutor() as executor:
        first = executor.submit(livestatus, api)
        assert has_read.acquire(timeout=PATIENCE)
        keys_file.write_text(entry("new"))
        second = executor.submit(livestatus, api)
        time.sleep(0.5)  # it now waits for what the first one began
        may_go_on.release(2)

        assert second.result(PATIENCE) == 401
        assert first.result(PATIENCE) in {200, 401}


def test_whoever_cannot_wait_for_a_file_that_is_being_read_gets_no_old_keys(
    keys_file: Path, held: tuple[Semaphore, Semaphore]
) -> None:
    _, may_go_on = held
    may_go_on.release()
    file = KeysFile(keys_file)
    old = file._keys
    keys_file.write_text(entry("new"))

    async def ask() -> None:
        for _ in range(2):
            with pytest.raises(KeysBeingReadError):
                await file.current(2 * QUIET_TIME)
        may_go_on.release()

    asyncio.run(ask())
    assert asyncio.run(file.current(PATIENCE)) != old


class StuckFileSystem:
    """Where a look at the file takes until `released`."""

    def __init__(self) -> None:
        self.is_stuck = False
        self.released = Event()
        self.looks = 0
        self.begun = Semaphore(0)
        self._signature = keys_file._signature

    def signature(self, path: Path) -> tuple[int, ...] | None:
        self.looks += 1
        if self.is_stuck:
            self.begun.release()
            self.released.wait(PATIENCE)
        return self._signature(path)


@pytest.fixture
def file_system(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckFileSystem]:
    file_system = StuckFileSystem()
    monkeypatch.setattr(keys_file, "_signature", file_system.signature)
    yield file_system
    file_system.released.set()


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which the system has no thread left for KeysFile."""
    start = Thread.start

    def refuse(thread: Thread) -> None:
        if thread.name.startswith("keys"):
            raise RuntimeError("can't start new thread")
        start(thread)

    return lambda: monkeypatch.setattr(Thread, "start", refuse)


def test_a_revoked_key_is_refused_even_if_no_thread_can_be_started(
    new_api: Callable[..., Api], keys_file: Path, no_more_threads: Callable[[], None]
) -> None:
    no_more_threads()
    api = new_api()
    assert (livestatus(api), livestatus(api, "new")) == (200, 401)
    keys_file.write_text(entry("new"))

    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.parametrize("are_scarce", [False, True], ids=["", "no more threads"])
def test_the_event_loop_goes_on_while_the_file_system_stands_still(
    api: Api, keys_file: Path, file_system: StuckFileSystem, no_more_threads: Callable[[], None], are_scarce: bool
) -> None:
    if are_scarce:  # the service has started, and no request has come yet
        no_more_threads()
    keys_file.write_text(entry("new"))
    file_system.is_stuck = True
    with ThreadPoolExecutor() as executor:
        waits = executor.submit(livestatus, api)
        assert file_system.begun.acquire(timeout=PATIENCE)

        assert executor.submit(api.get, "/livez").result(PATIENCE / 2).status_code == 200
        assert not waits.done()

        file_system.released.set()
        assert waits.result(PATIENCE) == 401


def test_a_file_system_that_stands_still_keeps_the_old_keys(keys_file: Path, file_system: StuckFileSystem) -> None:
    file = KeysFile(keys_file)
    old = file._keys
    keys_file.write_text(entry("new"))

    async def ask() -> None:
        file_system.is_stuck = True
        started = time.monotonic()
        assert await asyncio.gather(*(file.current(0.2) for _ in range(3))) == [old] * 3
        assert time.monotonic() - started < PATIENCE
        file_system.released.set()
        assert await file.current(PATIENCE) != old

    asyncio.run(ask())


def test_nobody_waits_for_a_look_that_takes_too_long_already(keys_file: Path, file_system: StuckFileSystem) -> None:
    file = KeysFile(keys_file)
    old = file._keys
    keys_file.write_text(entry("new"))

    async def ask() -> None:
        file_system.is_stuck = True
        assert await file.current(0.2) == old
        looks = file_system.looks
        with pytest.raises(StopIteration) as returned:
            file.current(0.2).send(None)  # returns without waiting for anything
        assert (returned.value.value, file_system.looks) == (old, looks)
        assert file.are_old

        file_system.is_stuck = False
        file_system.released.set()
        assert await file.current(PATIENCE) != old
        assert not file.are_old

    with capture_logs() as log:
        asyncio.run(ask())
    assert [line["event"] for line in log] == ["keys not reloaded", "keys reloaded"]


@pytest.mark.parametrize("is_asked_before", [True, False])
def test_time_in_which_the_process_stands_still_is_no_time_of_the_file_system(keys_file: Path, is_asked_before: bool) -> None:
    """A check is under way when the machine is suspended, and the key is revoked meanwhile."""
    file = KeysFile(keys_file)
    old = file._keys

    def write(key: str) -> None:
        keys_file.write_text(entry(key))

    async def ask() -> None:
        timeout = 5 * QUIET_TIME
        first = asyncio.create_task(file.current(timeout))
        await asyncio.sleep(0)  # its check has begun
        write("new")
        later = asyncio.create_task(file.current(timeout)) if is_asked_before else None
        await asyncio.sleep(0)
        time.sleep(2 * timeout)  # noqa: ASYNC251  # nothing else runs
        assert await (later or file.current(timeout)) != old
        await first
        assert not file.are_old

    with capture_logs() as log:
        asyncio.run(ask())
    assert [line["event"] for line in log] == ["keys reloaded"]


def test_a_look_that_took_too_long_and_found_nothing_new_ends_the_alarm(keys_file: Path, file_system: StuckFileSystem) -> None:
    file = KeysFile(keys_file)
    old = file._keys

    async def ask() -> None:
        for _ in range(2):
            file_system.is_stuck = True
            file_system.released.clear()
            assert await file.current(0.2) == old
            assert file.are_old
            file_system.is_stuck = False
            file_system.released.set()
            assert await file.current(PATIENCE) == old
            assert not file.are_old

    with capture_logs() as log:
        asyncio.run(ask())
    assert [line["event"] for line in log] == ["keys not reloaded", "keys reloaded"] * 2


def test_requests_that_come_during_a_look_share_the_next_one(
    keys_file: Path, file_system: StuckFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.access.keys_file.SETTLE_TIME", 0)  # a look need not read the file
    file = KeysFile(keys_file)
    file.reload()
    old = file._keys

    async def ask() -> None:
        file_system.is_stuck = True
        first = asyncio.create_task(file.current(PATIENCE))
        await asyncio.to_thread(file_system.begun.acquire, timeout=PATIENCE)
        before = file_system.looks
        others = [asyncio.create_task(file.current(PATIENCE)) for _ in range(50)]
        await asyncio.sleep(0)
        file_system.released.set()
        assert await asyncio.gather(first, *others) == [old] * 51
        assert file_system.looks == before + 1

    asyncio.run(ask())


def test_a_reload_on_demand_reads_the_file_and_says_so(keys_file: Path) -> None:
    file = KeysFile(keys_file)
    with capture_logs() as log:
        file.reload()
        keys_file.write_text("keys = [")
        file.reload()

    assert [line["event"] for line in log] == ["keys reloaded", "keys not reloaded"]


@pytest.mark.parametrize(
    ("now", "status"), [("2027-01-30T23:59:59", 200), ("2027-01-31T00:00:00", 401), ("2028-01-01T12:00:00", 401)]
)
def test_a_key_expires(tables: Tables, new_api: Callable[..., Api], keys_file: Path, now: str, status: int) -> None:
    keys_file.write_text(entry(KEY, "expires = 2027-01-31"))
    tables.live(1)
    before = tables.both()

    api = new_api(lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))

    assert livestatus(api) == status
    assert tables.both() == before
