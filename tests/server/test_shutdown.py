"""SIGTERM: requests in flight are finished, new ones are not accepted, and the status is 0."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest
from support.api import KEY, Api
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables
from support.wire import Connection

from service.server.serve import STOP_MARGIN
from service.server.supervisor import KILL_TIMEOUT

REQUEST_TIMEOUT = 5


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_in_flight_is_finished(tables: Tables, environment: dict[str, str], workers: str) -> None:
    tables.live(1)
    before, _ = tables.both()
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT)}
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with ServiceProcess(settings) as service, ThreadPoolExecutor(2) as executor, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            request = executor.submit(Api(client).archive_all, [1])
            tables.wait_until_a_lock_is_in_the_way()
            stopped = executor.submit(service.stop, signal.SIGTERM)
            time.sleep(1)
            assert not request.done()
            assert not stopped.done()
            with pytest.raises(ConnectionRefusedError), socket.create_connection((service.host, service.port)):
                pass
            dialler.rollback()
            assert request.result().json()["delete_count"] == 1
            assert stopped.result() == 0
        assert not service.anything_left()
    dialler.close()
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_in_time_even_if_the_database_does_not_answer(
    tables: Tables, environment: dict[str, str], workers: str
) -> None:
    tables.live(1)
    before = tables.both()
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": "2"}
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with ServiceProcess(settings) as service, ThreadPoolExecutor(1) as executor, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            request = executor.submit(Api(client).archive_all, [1])
            tables.wait_until_a_lock_is_in_the_way()
            started = time.monotonic()
            assert service.stop(signal.SIGTERM) == 0
            # REQUEST_TIMEOUT for the request, and one second for the stop.
            assert time.monotonic() - started < 3 + SLACK
            assert request.result().status_code == 503
    dialler.close()
    assert tables.both() == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_half_a_request_is_told_of_the_stop(environment: dict[str, str], workers: str) -> None:
    with ServiceProcess({**environment, "WORKERS": workers}) as service, closing(Connection(service)) as connection:
        connection.socket.sendall(b"POST /vicidial/leads/archive HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.5)
        service.signal(signal.SIGTERM)

        assert connection.answer() == (503, "the service is stopping; nothing was changed, repeat the request")
        assert connection.is_closed()
        assert service.stop() == 0


WITHOUT_SIGKILL = """
import os, signal
kill = os.kill
os.kill = lambda pid, number: None if number == signal.SIGKILL else kill(pid, number)
from service.__main__ import main
main([])
"""
"""Start a service in which SIGKILL has no effect, as on processes that wait in the kernel for a hung disk."""


def test_it_ends_in_time_even_if_a_worker_cannot_be_killed(environment: dict[str, str]) -> None:
    settings = {**environment, "WORKERS": "2", "REQUEST_TIMEOUT": "1"}
    with ServiceProcess(settings, ("-c", WITHOUT_SIGKILL)) as service:
        hangs = service.workers[0]
        stop_between_log_lines(hangs)
        started = time.monotonic()

        assert service.stop(signal.SIGTERM) == 0

        # REQUEST_TIMEOUT and a second for a worker, the time that it may exceed them, and the time of the kill.
        assert time.monotonic() - started < 2 + STOP_MARGIN + KILL_TIMEOUT + SLACK
        assert [line["worker"] for line in service.log_lines if line["event"] == "worker does not stop"] == [hangs]
        assert [line["worker"] for line in service.log_lines if line["event"] == "worker cannot be killed"] == [hangs]


def stop_between_log_lines(pid: int) -> None:
    """Stop a process, but not while it holds the lock on the log: nobody could kill it, and no other would get the lock."""
    deadline = time.monotonic() + PATIENCE
    os.kill(pid, signal.SIGSTOP)
    while any(line.split()[-4] == str(pid) for line in Path("/proc/locks").read_text().splitlines()):
        assert time.monotonic() < deadline
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)


LOOKS_UP_A_NAME = """
import asyncio, os
from service.__main__ import main
from service.server import serve

startup = serve.Server.startup

async def startup_and_look_up(self, sockets=None):
    await startup(self, sockets)
    self.lookup = asyncio.ensure_future(asyncio.get_running_loop().getaddrinfo("nobody", 1))

serve.Server.startup = startup_and_look_up
main([])
"""
"""A program for Python in which a look-up of a host name is in progress, as for a connection to the database."""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_in_time_even_if_a_host_name_is_being_looked_up(
    environment: dict[str, str], tmp_path: Path, workers: str
) -> None:
    """Let the resolver read a FIFO without a writer, like a name server that does not answer."""
    aliases = tmp_path / "aliases"
    os.mkfifo(aliases)
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": "1", "HOSTALIASES": str(aliases)}
    with ServiceProcess(settings, ("-c", LOOKS_UP_A_NAME)) as service:
        writer = open_for_its_reader(aliases)

        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 2 + STOP_MARGIN + SLACK
        assert "worker does not stop" not in service.log
        assert not service.anything_left()
        os.close(writer)


def open_for_its_reader(fifo: Path) -> int:
    """Wait until a process has opened the FIFO for reading, and open it for writing. Return the file descriptor."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


SMALL_BUFFERS = """
import socket
from service.server import serve
listen = serve.listen

def listen_with_small_buffers(*arguments):
    listener = listen(*arguments)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return listener

serve.listen = listen_with_small_buffers
from service.__main__ import main
main([])
"""
"""Otherwise the kernel takes a whole answer, and nobody sees that its client does not read."""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_that_cuts_off_an_answer_is_no_defect(environment: dict[str, str], workers: str) -> None:
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": "2", "LEAD_IDS_LIMIT": "10000"}
    body = json.dumps({"lead_ids": [*range(1, 10_001)]}).encode()
    with ServiceProcess(settings, ("-c", SMALL_BUFFERS)) as service, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(PATIENCE)
        client.connect((service.host, service.port))
        head = f"POST /vicidial/leads/compare HTTP/1.1\r\nHost: x\r\nAuthorization: Key={KEY}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = client.recv(100)
        assert service.stop() == 0
        with contextlib.suppress(ConnectionResetError):
            while received := client.recv(65_536):
                answer += received
        lines = [line for line in service.log_lines if line["level"] == "error"]

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not answer.endswith(b"}")
    assert [line["event"] for line in lines] == ["Cancel 1 running task(s), timeout graceful shutdown exceeded"]


def test_many_signals_leave_a_stop_as_much_time_as_one(tables: Tables, environment: dict[str, str]) -> None:
    """The kernel ends a process that does not stop: here after 3 seconds, while a batch waits for its lead."""
    tables.live(1)
    before = tables.both()
    script = "from service.server import serve; serve.LONGEST_STOP = -28; from service.__main__ import main; main([])"
    with (
        ServiceProcess(environment, ("-c", script)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        tables.mariadb.connect(tables.database, autocommit=False) as other,
        ThreadPoolExecutor(1) as executor,
    ):
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        batch = executor.submit(Api(client).archive_all, [1])
        tables.wait_until_a_lock_is_in_the_way()
        assert service._process
        began = time.monotonic()
        while service._process.poll() is None:
            with suppress(ProcessLookupError):
                service.signal(signal.SIGTERM)
            time.sleep(0.55)
        assert service._process.returncode == -signal.SIGALRM
        assert time.monotonic() - began > 2.9
        with pytest.raises(httpx2.TransportError):
            batch.result()
    assert tables.both() == before
