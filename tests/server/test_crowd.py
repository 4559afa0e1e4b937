"""More clients than the service accepts, idle clients, and clients that never read: the others are served, and /livez always
answers."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import httpx2
import pytest
import trustme
from mariadb import free_port
from support.api import KEY, Api
from support.paths import ROOT
from support.process import PATIENCE, SLACK, ServiceProcess, clean, with_descriptors
from support.tables import Tables

from service.api.middleware import PART
from service.archive.readers import READERS
from service.server.connections import EXTRA, HANDSHAKE_TIMEOUT, KEPT_BACK, LEAST
from service.server.http_protocol import HEAD_TIMEOUT, LINGER_TIMEOUT
from service.server.serve import MOST_ON_METRICS_PORT
from service.server.slow_readers import ANSWER_TIMEOUT, STALL_TIMEOUT, SlowReader

DESCRIPTORS = 256
MANY = 300
"""The number of connections, more than file descriptors are available."""


@pytest.fixture(params=["plain", "TLS"])
def settings(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The settings of a service, with TLS and without."""
    if request.param == "plain":
        return environment
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return {**environment, "TLS_CERT_FILE": str(tmp_path / "cert.pem"), "TLS_KEY_FILE": str(tmp_path / "key.pem")}


@contextmanager
def connected(port: int, count: int, sent: bytes = b"", tls: bool = False) -> Iterator[list[socket.socket]]:
    """Open `count` connections, and send data on each."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", port))
            if tls:
                connection = stack.enter_context(ssl._create_unverified_context().wrap_socket(connection))
            connection.sendall(sent)
            sockets.append(connection)
        yield sockets


def archives(service: ServiceProcess, lead_id: int) -> bool:
    with httpx2.Client(base_url=service.base_url, timeout=PATIENCE, verify=False) as client:
        return Api(client).archive_all([lead_id]).status_code == 200


def test_idle_connections_make_room_for_those_that_ask(tables: Tables, settings: dict[str, str]) -> None:
    """With TLS, they do not even begin the handshake."""
    tables.live(1)
    with ServiceProcess(settings, with_descriptors(DESCRIPTORS)) as service, connected(service.port, MANY):
        started = time.monotonic()
        assert service.get("/livez")[0] == 200
        assert archives(service, 1)
        assert service.get("/readyz")[0] == 200
        assert time.monotonic() - started < min(HEAD_TIMEOUT, HANDSHAKE_TIMEOUT) + SLACK
    assert tables.ids() == ([], [1])


NEEDED = LEAST + 8 + READERS + KEPT_BACK + EXTRA
"""Descriptors for the default settings: connections to the database, and those that a process keeps back."""


@pytest.mark.parametrize(("has_metrics_port", "needed"), [(False, NEEDED), (True, NEEDED + MOST_ON_METRICS_PORT + EXTRA)])
def test_too_few_descriptors_are_refused_and_just_enough_are_enough(
    tables: Tables, environment: dict[str, str], has_metrics_port: bool, needed: int
) -> None:
    tables.live(1)
    settings = {**environment, "METRICS_PORT": str(free_port())} if has_metrics_port else environment
    for few in (64, needed - 1):
        result = subprocess.run(
            [sys.executable, *with_descriptors(few)],
            cwd=ROOT,
            env=clean({**settings, "PORT": str(free_port())}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (result.returncode, result.stderr) == (
            2,
            f"error: {few} file descriptors are too few for these settings; set LimitNOFILE or ulimit -n to {needed}\n",
        )
    with ServiceProcess(settings, with_descriptors(needed)) as service, connected(service.port, MANY):
        assert archives(service, 1)
        assert service.get("/readyz")[0] == 200
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize("shakes_hands", [False, True])
def test_idle_connections_make_room_at_once_with_just_enough_descriptors(
    tables: Tables, settings: dict[str, str], shakes_hands: bool
) -> None:
    tables.live(1)
    tls = "TLS_CERT_FILE" in settings and shakes_hands
    with ServiceProcess(settings, with_descriptors(NEEDED)) as service, connected(service.port, MANY, b"", tls):
        assert service.get("/livez")[0] == 200
        assert archives(service, 1)
        assert "connections not accepted" not in service.log
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize("number", [DESCRIPTORS, NEEDED])
def test_a_service_full_of_half_requests_says_so_and_is_alive(tables: Tables, settings: dict[str, str], number: int) -> None:
    tables.live(1)
    tls = "TLS_CERT_FILE" in settings
    half = f"POST /vicidial/leads/archive HTTP/1.1\r\nAuthorization: Key={KEY}\r\nContent-Type: application/json\r\n"
    half += "Host: x\r\nContent-Length: 100\r\n\r\n{"
    with ServiceProcess(settings, with_descriptors(number)) as service:
        with connected(service.port, MANY, half.encode(), tls):
            time.sleep(LINGER_TIMEOUT + 1)  # until those that were refused are gone: their places are nobody's
            assert service.get("/livez")[0] == 200
            with httpx2.Client(base_url=service.base_url, timeout=PATIENCE, verify=False) as client:
                answer = Api(client).archive_all([1])
                assert (answer.status_code, answer.json()["message"]) == (
                    503,
                    "too many connections; nothing was changed, repeat the request",
                )
                assert int(answer.headers["Retry-After"]) >= 1
            assert tables.ids() == ([1], [])
        assert archives_soon(service, 1)
    assert tables.ids() == ([], [1])


def archives_soon(service: ServiceProcess, lead_id: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not archives(service, lead_id):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return True


def test_connections_to_the_metrics_port_take_nothing_from_the_api(tables: Tables, settings: dict[str, str]) -> None:
    tables.live(1)
    port = free_port()
    with (
        ServiceProcess({**settings, "METRICS_PORT": str(port)}, with_descriptors(DESCRIPTORS)) as service,
        connected(port, MANY),
        connected(port, MANY, b"GET /metrics HTTP/1.1\r\n"),
    ):
        assert archives(service, 1)
        assert service.get("/livez")[0] == 200
        assert "leads_deleted_total" in httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
        assert len(list(Path(f"/proc/{service.pid}/task").iterdir())) < 20  # and no threads
    assert tables.ids() == ([], [1])


SCRIPT = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"


def test_clients_that_never_read_are_disconnected_and_do_not_hold_up_a_stop(settings: dict[str, str]) -> None:
    tls = "TLS_CERT_FILE" in settings
    with ServiceProcess({**settings, "WORKERS": "2"}) as service, connected(service.port, 30, SCRIPT * 8, tls) as deaf:
        started = time.monotonic()
        service.wait_for_line("client does not read", len(deaf))
        assert time.monotonic() - started < 4 * STALL_TIMEOUT + SLACK
        assert all(is_closed(connection) for connection in deaf)

        with connected(service.port, 10, SCRIPT * 8, tls):
            time.sleep(0.5)
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < 2 * STALL_TIMEOUT + SLACK


def test_clients_that_never_read_cost_little_memory(settings: dict[str, str]) -> None:
    """A part of the script, with TLS too, which makes a copy of what it sends."""
    count = 40
    with ServiceProcess(settings) as service:
        size = len(service.get("/docs/swagger-ui-bundle.js")[1])
        before = resident(service)
        with connected(service.port, count, SCRIPT, "TLS_CERT_FILE" in settings):
            time.sleep(STALL_TIMEOUT / 2)
            assert resident(service) - before < count * size / 4


def resident(service: ServiceProcess) -> int:
    """Return the memory of the process in bytes."""
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * resource.getpagesize()


class Transport:
    """A fake connection for SlowReader."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.unsent = 0
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_aborted

    def get_extra_info(self, _: str) -> socket.socket:
        return self.socket

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(
    ("taken_each_second", "disconnected_after"),
    [(30_000, None), (20_000, ANSWER_TIMEOUT + 2), (0, STALL_TIMEOUT + 2)],
    ids=["slow", "too slow", "deaf"],
)
def test_a_client_that_takes_an_answer_part_by_part_has_its_time(
    taken_each_second: int, disconnected_after: int | None
) -> None:
    transport = Transport()
    patience = SlowReader(cast(asyncio.Transport, transport))
    parts = [bytes(PART)] * 24
    second = 0
    while second < 100 and not transport.is_aborted:
        while parts and transport.unsent < PART:
            patience.write(parts.pop())
        second += 1
        patience.check(second, is_answering=bool(parts))
        transport.unsent = max(0, transport.unsent - taken_each_second)
    transport.socket.close()
    assert (second if transport.is_aborted else None) == disconnected_after


def is_closed(connection: socket.socket) -> bool:
    """Return whether the service has closed the connection: sending fails."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if struct.unpack("B", state)[0] != 1:  # ESTABLISHED
            return True
        time.sleep(0.05)
    return False


def test_the_metrics_port_waits_for_no_reader_either(environment: dict[str, str]) -> None:
    port = free_port()
    asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 320
    with ServiceProcess({**environment, "METRICS_PORT": str(port)}) as service:
        before = descriptors(service)
        with connected(port, 20, asked):
            deadline = time.monotonic() + PATIENCE
            while descriptors(service) > before:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert service.get("/livez")[0] == 200
            assert service.stop() == 0


def descriptors(service: ServiceProcess) -> int:
    return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


def test_a_client_that_reads_slowly_gets_all_of_its_answer(environment: dict[str, str]) -> None:
    with ServiceProcess(environment) as service, connected(service.port, 1, SCRIPT) as (slow,):
        received = 0
        while received < 600_000:  # in about twice STALL_TIMEOUT
            received += len(slow.recv(60_000))
            time.sleep(0.02)


def test_a_crowd_of_idle_clients_does_not_slow_down_a_stop(settings: dict[str, str]) -> None:
    with ServiceProcess({**settings, "WORKERS": "2"}) as service, connected(service.port, 200):
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 2 + SLACK
