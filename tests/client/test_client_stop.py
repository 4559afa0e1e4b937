"""Ctrl-C and SIGTERM end every wait of the bulk client at once. A batch in flight is finished first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.client import COMMAND, Client, Finished, Running
from support.fake_service import OPENAPI, Reply, fake, moved
from support.process import PATIENCE, ServiceProcess
from support.tables import Row, Tables
from support.waiting import wait_until

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
LONG = "3600"
"""Seconds for --timeout and --retry-for. If the client waited for one of them, the test would fail."""
WAITS = ["--timeout", LONG, "--retry-for", LONG, "--jobs", "1", "--json"]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def stopped(running: Running, number: signal.Signals) -> Finished:
    running.send(number)
    result = running.end()
    assert result.status == 1
    return result


@BOTH
def test_a_signal_ends_the_first_request(tmp_path: Path, silent: socket.socket, number: signal.Signals) -> None:
    client = Client(tmp_path, url_of(silent))
    with client.start("archive", client.write("leads", 1), *WAITS) as running:
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(65536).startswith(b"GET /openapi.yaml")
            result = stopped(running, number)

    assert result.counts() == {"asked": 1, "not_sent": 1}
    assert "archive: stopping\n" in result.errors


@BOTH
def test_a_signal_ends_the_wait_for_a_connection(tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # the queue is full: the kernel does not answer a third connection
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        client = Client(tmp_path, url_of(full))
        with client.start("archive", client.write("leads", 1), *WAITS) as running:
            wait_until((tmp_path / "leads.archive.journal").exists)
            time.sleep(1)
            stopped(running, number)


SLOW_NAMES = """
import socket, sys, time
def getaddrinfo(*_, **__):
    print("asking", file=sys.stderr, flush=True)
    time.sleep(3600)
socket.getaddrinfo = getaddrinfo
from lead_archive.__main__ import main
main()
"""


def test_a_signal_ends_the_look_up_of_the_server_name(tmp_path: Path) -> None:
    client = Client(tmp_path, "http://lead-archive.example")
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW_NAMES, "archive", client.write("leads", 1)],
            cwd=tmp_path,
            env=client.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        wait_until(lambda: "asking" in errors.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 1
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in errors.read_text()


@BOTH
def test_a_signal_ends_the_wait_between_two_tries(tmp_path: Path, number: signal.Signals) -> None:
    with fake(lambda *_: Reply({"message": "later"}, 503, {"Retry-After": LONG})) as url:
        client = Client(tmp_path, url)
        with client.start("archive", client.write("leads", 1), *WAITS) as running:
            running.wait_until_it_says("503 later; trying again")
            stopped(running, number)


@BOTH
def test_a_signal_ends_the_wait_for_the_end_of_office_hours(tmp_path: Path, number: signal.Signals) -> None:
    with fake(lambda *_: Reply({"message": "office hours"}, 403, {"Retry-After": LONG})) as url:
        client = Client(tmp_path, url)
        with client.start("archive", client.write("leads", 1), "--wait", *WAITS) as running:
            running.wait_until_it_says("office hours: waiting until")
            result = stopped(running, number)
        assert result.counts() == {"asked": 1, "not_sent": 1}


@BOTH
def test_a_signal_ends_a_comparison_that_is_in_flight(tmp_path: Path, number: signal.Signals) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(*_: Any) -> None:
        asked.set()
        over.wait(PATIENCE)

    with fake(answer) as url:
        client = Client(tmp_path, url)
        with client.start("archive", "--dry-run", client.write("leads", 1), *WAITS) as running:
            assert asked.wait(PATIENCE)
            stopped(running, number)
        over.set()


def test_what_was_moved_is_noted_though_the_reasons_are_not_learnt(tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(path: str, body: dict[str, Any]) -> Reply | None:
        if path.endswith("/compare"):
            asked.set()
            over.wait(PATIENCE)
            return None
        return moved(body, delete_count=2, remaining_lead_ids=[3])

    with fake(answer) as url:
        client = Client(tmp_path, url)
        with client.start("archive", client.write("leads", "1-3"), *WAITS) as running:
            assert asked.wait(PATIENCE)
            result = stopped(running, signal.SIGINT)
        over.set()

    assert result.counts() == {"asked": 3, "moved": 2, "remained": 1, "inserted": 3}
    assert client.read("leads.archive.left.csv") == [
        "lead_id,reason",
        '3,"in use, or the data differs, or it changed meanwhile"',
    ]


@BOTH
def test_a_signal_ends_the_read_of_standard_input(tmp_path: Path, number: signal.Signals) -> None:
    client = Client(tmp_path, "http://127.0.0.1:1")
    process = subprocess.Popen(
        [COMMAND, "archive", "-"],
        cwd=tmp_path,
        env=client.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write(b"1\n2\n")
    process.stdin.flush()
    wait_until(lambda: b"pipe" in os.readlink(f"/proc/{process.pid}/fd/0").encode() and reads(process.pid))
    # A signal just before the read is seen only after it. A user would press Ctrl-C again.
    status = None
    for _ in range(int(PATIENCE)):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(1)
            break
    with process:
        assert process.stdout
        assert process.stderr
        errors = process.stderr.read().decode()
        assert (status, process.stdout.read()) == (1, b"")
    assert errors == "stopped; if batches were sent, the same command with --resume continues, which is safe\n"
    assert not (tmp_path / "stdin.archive.journal").exists()


def reads(pid: int) -> bool:
    """Return whether a process waits for standard input."""
    number, first, *_ = [*Path(f"/proc/{pid}/syscall").read_text().split(), "", ""]
    return (number, first) in {("0", "0x0"), ("63", "0x0")}  # read() on x86-64 and ARM


def test_a_server_that_drips_does_not_hold_it_for_ever(tmp_path: Path) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with contextlib.suppress(OSError):  # the test is over
                while not over.is_set():
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):  # the client has gone
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                        while not over.wait(0.2):
                            connection.sendall(b"o")

        threading.Thread(target=drip, daemon=True).start()
        client = Client(tmp_path, url_of(server))
        result = client.run("archive", client.write("leads", 1), "--timeout", 1, "--retry-for", 0, "--json")
        over.set()

    assert (result.status, result.counts()) == (3, {"asked": 1, "not_sent": 1})
    assert "no answer within 1 s" in json.loads(result.output)["error"]
    assert "maxItems" in OPENAPI


@dataclass
class LockedBatch:
    """A client whose batch in flight waits for a lock, until `unlock` is called."""

    client: Client
    running: Running
    leads: dict[int, Row]
    """The rows before the run."""
    unlock: Callable[[], None]


@pytest.fixture
def locked(tables: Tables, environment: dict[str, str], tmp_path: Path) -> Iterator[LockedBatch]:
    """A client that archives 300 leads in batches of 100, one at a time. The second batch waits for a lock of the dialler."""
    tables.live(*range(1, 301))
    leads, _ = tables.both()
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    settings = {**environment, "LEAD_IDS_LIMIT": "100", "REQUEST_TIMEOUT": "10"}
    with ServiceProcess(settings) as service, closing(dialler), dialler.cursor() as cursor:
        client = Client(tmp_path, service.base_url)
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 150 FOR UPDATE")
        with client.start("archive", client.write("leads", "1-300"), "--jobs", 1, "--json") as running:
            tables.wait_until_a_lock_is_in_the_way()
            yield LockedBatch(client, running, leads, dialler.rollback)


@BOTH
def test_ctrl_c_finishes_what_is_in_flight(tables: Tables, locked: LockedBatch, number: signal.Signals) -> None:
    locked.running.send(number)
    locked.running.wait_until_it_says("finishing what is in flight")
    time.sleep(0.5)
    assert locked.running.is_running()
    locked.unlock()
    result = locked.running.end()

    assert result.status == 1
    assert result.counts() == {"asked": 300, "moved": 200, "inserted": 200, "not_sent": 100}
    assert "--resume" in result.errors
    assert tables.archived_count() == 200

    resumed = locked.client.run("archive", "leads", "--resume", "--json")
    assert resumed.counts() == {"asked": 300, "moved": 300, "inserted": 300}
    assert tables.both() == ({}, locked.leads)


def test_a_second_ctrl_c_stops_at_once(tables: Tables, locked: LockedBatch) -> None:
    locked.running.send(signal.SIGINT)
    locked.running.wait_until_it_says("finishing what is in flight")
    locked.running.send(signal.SIGINT)
    result = locked.running.end()
    assert tables.archived_count() == 100  # the lock still exists: the client did not wait for it
    locked.unlock()

    assert result.status == 1
    assert result.counts() == {"asked": 300, "moved": 100, "inserted": 100, "not_sent": 200}
    assert locked.client.run("archive", "leads", "--resume").status == 0
    assert tables.both() == ({}, locked.leads)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL], ids=lambda number: number.name)
def test_other_signals_stop_it_without_a_summary(tables: Tables, locked: LockedBatch, number: signal.Signals) -> None:
    locked.running.send(number)
    result = locked.running.end()
    assert (result.status, result.output) == (-number, "")
    locked.unlock()

    resumed = locked.client.run("archive", "leads", "--resume", "--json")
    assert resumed.status == 0
    assert resumed.summary["not_sent"] == 0
    assert tables.both() == ({}, locked.leads)
