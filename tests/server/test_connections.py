"""The service on the wire, byte by byte: when it answers, how much it reads, and which connections it keeps."""

from __future__ import annotations

import errno
import json
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.api import KEY, Api
from support.fixtures import NewService
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables
from support.wire import Connection

from service.api.header_checks import LARGEST_BODY
from service.server.http_protocol import HEAD_TIMEOUT
from service.server.request_input import LARGEST_HEAD, MOST_CHUNKS

ARCHIVE = "/vicidial/leads/archive"
JSON = {"Authorization": f"Key={KEY}", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(new_service: NewService) -> Iterator[tuple[ServiceProcess, Tables]]:
    """A service with a REQUEST_TIMEOUT of a second, and its tables."""
    with new_service(REQUEST_TIMEOUT="1") as served:
        yield served
        assert KEY not in served[0].log


@pytest.fixture
def unchanged(server: tuple[ServiceProcess, Tables]) -> Iterator[None]:
    """Put lead 4711 into the tables, and assert at the end that both are unchanged."""
    _, tables = server
    tables.execute("REPLACE INTO vicidial_list (lead_id, phone_number, modify_date) VALUES (4711, '1', '2024-01-01')")
    before = tables.both()
    yield
    assert tables.both() == before


@pytest.fixture
def connect(server: tuple[ServiceProcess, Tables]) -> Iterator[Callable[[], Connection]]:
    connections: list[Connection] = []

    def connect() -> Connection:
        connections.append(Connection(server[0]))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


GOOD = json.dumps({**Api.ALL, "lead_ids": [4711]}).encode()
TOO_LARGE = (413, "request body cannot exceed 1048576 bytes")
NO_JSON = (400, "request body is not valid JSON: Expecting value: line 1 column 1 (char 0)")

NO_HTTP = (400, "not a request that HTTP/1.1 allows")

NewConnection = Callable[[], Connection]


@pytest.mark.parametrize("length", [LARGEST_BODY + 1, 10**9, 10**15, 2**63])
@pytest.mark.parametrize("expect", [{}, {"Expect": "100-continue"}])
@pytest.mark.usefixtures("unchanged")
def test_a_body_that_is_announced_to_be_too_large_is_refused_at_once(
    connect: NewConnection, length: int, expect: dict[str, str]
) -> None:
    connection = connect()
    connection.send("POST", ARCHIVE, {**JSON, "Content-Length": length, **expect})  # and nothing of the body

    assert connection.answer() == TOO_LARGE
    assert connection.is_closed()


def chunks(size: int) -> Iterator[bytes]:
    """Yield a body in chunks without end: JSON that could still become valid."""
    while True:
        yield b"%x\r\n%s\r\n" % (size, b" " * size)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Transfer-Encoding": "chunked"}, chunks(65536)),
        ({"Transfer-Encoding": "chunked"}, chunks(1000)),
        ({"Transfer-Encoding": "chunked"}, chunks(10_000_000)),
        ({"Content-Length": 300_000_000}, iter(lambda: b" " * 65536, None)),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_body_is_not_read_past_the_limit(connect: NewConnection, headers: dict[str, Any], body: Iterator[bytes]) -> None:
    connection = connect()
    connection.send("POST", ARCHIVE, {**JSON, **headers})
    sent, pending = 0, b""
    # A connection that is closed while data is under way is reset, and the reset may overtake the answer (RFC 9112, 9.6).
    with suppress(ConnectionError):
        while sent < 20_000_000:
            readable, writable, _ = select.select([connection.socket], [connection.socket], [], PATIENCE)
            if readable or not writable:
                break
            pending = pending or next(body)
            taken = connection.socket.send(pending)
            sent, pending = sent + taken, pending[taken:]
        assert connection.answer() == TOO_LARGE
        assert connection.is_closed()
    # The limit, and the buffers of the system.
    assert sent < 8_000_000


@pytest.mark.usefixtures("unchanged")
def test_a_body_of_the_limit_is_read_and_the_connection_kept(connect: NewConnection) -> None:
    connection = connect()
    for headers, body in (
        ({"Content-Length": LARGEST_BODY}, b" " * LARGEST_BODY),
        ({"Transfer-Encoding": "chunked"}, b"".join(next(chunks(LARGEST_BODY // 16)) for _ in range(16)) + b"0\r\n\r\n"),
    ):
        connection.send("POST", ARCHIVE, {**JSON, **headers}, body)
        status, message = connection.answer()
        assert (status, message.partition(" line ")[0]) == (400, NO_JSON[1].partition(" line ")[0])
        assert not connection.is_closed()


EARLY = [
    ("POST", "/nowhere", JSON, 404),
    ("PUT", ARCHIVE, JSON, 405),
    ("POST", ARCHIVE, {"Content-Type": "application/json"}, 401),
    ("POST", ARCHIVE, {**JSON, "Authorization": f"Key={KEY}\xff"}, 401),
    ("POST", ARCHIVE, {**JSON, "Content-Type": "text/plain"}, 415),
    ("POST", ARCHIVE, {**JSON, "Content-Encoding": "gzip"}, 415),
    ("GET", "/livez", {}, 200),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), EARLY)
@pytest.mark.usefixtures("unchanged")
def test_an_answer_before_the_body_was_read_closes_the_connection_and_without_a_body_keeps_it(
    connect: NewConnection, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    for about_body, body, is_closed in (
        ({}, b"", False),
        ({"Content-Length": 0}, b"", False),
        ({"Content-Length": len(GOOD)}, GOOD[:10], True),
        ({"Transfer-Encoding": "chunked"}, b"a\r\n" + GOOD[:10], True),
    ):
        connection = connect()
        connection.send(method, path, {**headers, **about_body}, body)

        assert connection.answer()[0] == status
        assert connection.is_closed() is is_closed


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        ({"Content-Length": len(GOOD)}, [GOOD[:10]]),
        ({"Content-Length": len(GOOD)}, []),
        ({"Content-Length": len(GOOD)}, [GOOD[i : i + 1] for i in range(20)]),
        ({"Transfer-Encoding": "chunked"}, [b"%x\r\n" % len(GOOD) + GOOD + b"\r\n"]),
    ],
    ids=["half", "none", "drop by drop", "all but the last chunk"],
)
@pytest.mark.usefixtures("unchanged")
def test_a_body_that_does_not_arrive_in_time(connect: NewConnection, headers: dict[str, Any], parts: list[bytes]) -> None:
    connection = connect()
    started = time.monotonic()
    connection.send("POST", ARCHIVE, {**JSON, **headers})
    for part in parts:
        if select.select([connection.socket], [], [], 0.1)[0]:
            break
        connection.socket.sendall(part)

    assert connection.answer() == (408, "request body did not arrive within 1 seconds")
    assert 1 <= time.monotonic() - started < 1 + SLACK
    assert connection.is_closed()


@pytest.mark.usefixtures("unchanged")
def test_a_caller_that_goes_away_with_half_a_body_changes_nothing(
    server: tuple[ServiceProcess, Tables], connect: NewConnection
) -> None:
    connection = connect()
    connection.send("POST", ARCHIVE, {**JSON, "X-Request-ID": "gone", "Content-Length": len(GOOD)}, GOOD[:-1])
    connection.close()

    deadline = time.monotonic() + PATIENCE
    while not (lines := [line for line in server[0].log_lines if line.get("request_id") == "gone"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lines[0]["event"] == "client disconnected"


def test_successive_requests_on_one_connection_are_answered(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    with ServiceProcess(environment) as service, closing(Connection(service)) as connection:
        for lead_id, chunked in ((1, False), (2, True), (3, False)):
            body = json.dumps({**Api.ALL, "lead_ids": [lead_id]}).encode()
            if chunked:
                whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                connection.send("POST", ARCHIVE, {**JSON, "Transfer-Encoding": "chunked"}, whole)
            else:
                connection.send("POST", ARCHIVE, {**JSON, "Content-Length": len(body)}, body)
            assert connection.answer() == (200, "lead_ids batch was successfully processed")
            assert not connection.is_closed()
    assert tables.both() == ({}, before)


@pytest.mark.parametrize(
    "lines",
    [
        [f"Authorization: Key={KEY}\0"],
        [f"Authorization: Key={KEY}", "Content-Length: 2", "Content-Length: 3"],
        [f"Authorization: Key={KEY}", "Content-Length: x"],
        [f"Authorization: Key={KEY}", "Content-Length: -1"],
        [f"Authorization: Key={KEY}", f"Content-Length: {10**30}"],
        [f"Authorization: Key={KEY}", f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"],
        [f"Authorization: Key={KEY}", "Transfer-Encoding: identity"],
        [f"Authorization : Key={KEY}"],
    ],
    ids=lambda lines: lines[-1][-30:],
)
@pytest.mark.usefixtures("unchanged")
def test_what_is_no_http_is_refused_by_the_server_itself(connect: NewConnection, lines: list[str]) -> None:
    connection = connect()
    head = [f"POST {ARCHIVE} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]
    connection.socket.sendall("\r\n".join(head).encode() + GOOD)

    assert connection.answer() == NO_HTTP
    assert connection.is_closed()


@pytest.mark.parametrize(
    "bytes_sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ids=["TLS", "no path", "HTTP/2"],
)
def test_what_does_not_even_look_like_http(connect: NewConnection, bytes_sent: bytes) -> None:
    connection = connect()
    connection.socket.sendall(bytes_sent)

    assert connection.answer() == NO_HTTP
    assert connection.is_closed()


@pytest.mark.usefixtures("unchanged")
def test_headers_without_end_are_not_kept(connect: NewConnection) -> None:
    connection = connect()
    sent = 0
    with suppress(ConnectionError):
        connection.socket.sendall(f"POST {ARCHIVE} HTTP/1.1\r\n".encode())
        while not select.select([connection.socket], [], [], 0)[0]:
            sent += connection.socket.send(b"X-%d: %s\r\n" % (sent, b"x" * 1000))
            assert sent < 20_000_000
        assert connection.answer() == (431, f"request line and headers cannot exceed {LARGEST_HEAD} bytes")
        assert connection.is_closed()


@pytest.mark.usefixtures("unchanged")
def test_a_body_in_chunks_without_end_is_not_read(connect: NewConnection) -> None:
    connection = connect()
    connection.send("POST", ARCHIVE, {**JSON, "Transfer-Encoding": "chunked"})
    with suppress(ConnectionError):
        for _ in range(LARGEST_BODY // 1024):
            if select.select([connection.socket], [], [], 0)[0]:
                break
            connection.socket.sendall(b"1\r\n \r\n" * 1024)
        assert connection.answer() == (400, f"request body cannot have more than {MOST_CHUNKS} chunks")
        assert connection.is_closed()


@pytest.mark.usefixtures("unchanged")
def test_a_body_in_as_many_chunks_as_it_has_tokens_is_read(connect: NewConnection) -> None:
    connection = connect()
    tokens = [
        json.dumps(Api.ALL).encode()[:-1],
        b', "lead_ids"',
        b":",
        b"[",
        *(b"%d," % lead_id for lead_id in range(9_999)),
        b"9999",
        b"]",
        b"}",
    ]
    connection.send("POST", ARCHIVE, {**JSON, "Transfer-Encoding": "chunked"})
    connection.socket.sendall(b"".join(b"%x\r\n%s\r\n" % (len(token), token) for token in tokens) + b"0\r\n\r\n")
    assert connection.answer() == (400, "lead_ids cannot exceed 500 values")


@pytest.mark.usefixtures("unchanged")
def test_a_head_that_does_not_arrive_in_time(server: tuple[ServiceProcess, Tables], connect: NewConnection) -> None:
    """Half a head is answered, before the first request and after it. A silent connection is closed."""
    service, _ = server
    told = len([line for line in service.log_lines if line["event"] == "no request"])
    half, later, silent = connect(), connect(), connect()
    later.send("GET", "/livez", {})
    assert later.answer() == (200, "alive")
    started = time.monotonic()
    for connection in (half, later):
        connection.socket.sendall(f"POST {ARCHIVE} HTTP/1.1\r\nHost: x\r\nX-".encode())

    for connection in (half, later):
        assert connection.answer() == (408, f"request line and headers did not arrive within {HEAD_TIMEOUT} seconds")
        assert connection.is_closed()
    assert silent.socket.recv(1) == b""
    assert time.monotonic() - started < HEAD_TIMEOUT + SLACK
    lines = service.wait_for_line("no request", told + 2)  # each may be written just after its answer
    assert [line["status"] for line in lines][-2:] == [408, 408]


@pytest.mark.parametrize(("version", "continues"), [("1.0", False), ("1.1", True)])
@pytest.mark.usefixtures("unchanged")
def test_a_client_of_http_1_0_is_not_told_to_continue(connect: NewConnection, version: str, continues: bool) -> None:
    """It would take "100 Continue" for the answer (RFC 9110, 10.1.1)."""
    body = json.dumps({**Api.ALL, "lead_ids": [1]}).encode()
    headers = {**JSON, "Host": "x", "Expect": "100-continue", "Content-Length": len(body)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection = connect()
    connection.socket.sendall(f"POST {ARCHIVE} HTTP/{version}\r\n{head}\r\n".encode())
    assert bool(select.select([connection.socket], [], [], 0.4)[0]) is continues
    connection.socket.sendall(body)
    assert (b"100 Continue" in connection.rest()[:30]) is continues


ACCEPT = """
import errno, os, pathlib, socket
from service.__main__ import main

accept = socket.socket.accept
flag = pathlib.Path("FLAG")

def fail(self):
    if flag.exists():
        flag.unlink()
        raise OSError(errno.NUMBER, os.strerror(errno.NUMBER))
    return accept(self)

socket.socket.accept = fail
main([])
"""


@pytest.mark.parametrize("number", ["EPERM", "ENETDOWN", "EPROTO", "EMFILE"])
def test_an_error_of_accept_that_passes_does_not_close_the_door(
    tables: Tables, environment: dict[str, str], tmp_path: Path, number: str
) -> None:
    tables.live(1)
    before, _ = tables.both()
    flag = tmp_path / "flag"
    script = ACCEPT.replace("NUMBER", number).replace("FLAG", str(flag))
    with ServiceProcess(environment, ("-c", script)) as service:
        flag.write_text("")
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        (line,) = service.wait_for_line("connections not accepted")
        assert line["error"] == os.strerror(getattr(errno, number))
    assert (tables.both(), flag.exists()) == (({}, before), False)


def test_a_batch_is_answered_whatever_comes_after_it(server: tuple[ServiceProcess, Tables], connect: NewConnection) -> None:
    """Otherwise its caller would take the 400 as the answer to the batch."""
    _, tables = server
    tables.execute("REPLACE INTO vicidial_list (lead_id, phone_number, modify_date) VALUES (4712, '1', '2024-01-01')")
    connection = connect()
    body = json.dumps({**Api.ALL, "lead_ids": [4712]}).encode()
    with tables.mariadb.connect(tables.database, autocommit=False) as dialler, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 4712 FOR UPDATE")
        connection.send("POST", ARCHIVE, {**JSON, "Content-Length": len(body)}, body)
        tables.wait_until_a_lock_is_in_the_way()
        connection.socket.sendall(b"this is no HTTP\r\n\r\n")
        time.sleep(0.1)
        dialler.rollback()

    assert connection.answer() == (200, "lead_ids batch was successfully processed")
    assert connection.is_closed()
    live, archived = tables.both()
    assert 4712 not in live
    assert 4712 in archived
