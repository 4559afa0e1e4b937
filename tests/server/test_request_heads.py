"""Request heads that are larger than any client needs: refused at the first header beyond the limit, without parsing the
rest."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from support.api import KEY, Api
from support.fixtures import NewService
from support.process import ServiceProcess
from support.tables import Tables
from support.wire import Connection
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.server.http_protocol import Protocol
from service.server.request_input import LARGEST_HEAD, MOST_HEADERS

ARCHIVE = "/vicidial/leads/archive"
PROCESSED = (200, "lead_ids batch was successfully processed")
TOO_MANY = (431, f"a request cannot have more than {MOST_HEADERS} headers")
TOO_LARGE = (431, f"request line and headers cannot exceed {LARGEST_HEAD} bytes")
OFFER = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB"]


@pytest.fixture(scope="module")
def server(new_service: NewService) -> Iterator[tuple[ServiceProcess, Tables]]:
    with new_service() as served:
        yield served
        assert "Invalid HTTP request received." not in served[0].log
        assert "Traceback" not in served[0].log


@pytest.fixture
def tables(server: tuple[ServiceProcess, Tables]) -> Tables:
    """Lead 1 is live, and the archive is empty."""
    tables = server[1]
    tables.execute("DELETE FROM vicidial_list")
    tables.execute("DELETE FROM vicidial_list_archive")
    tables.live(1)
    return tables


@pytest.fixture
def connection(server: tuple[ServiceProcess, Tables]) -> Iterator[Connection]:
    with closing(Connection(server[0])) as connection:
        yield connection


BODY = json.dumps({**Api.ALL, "lead_ids": [1]}).encode()


def batch(*lines: str, headers: int | None = None, path: str = ARCHIVE) -> bytes:
    """Return a request that archives lead 1, with this many headers in total."""
    all_lines = ["Host: x", f"Authorization: Key={KEY}", "Content-Type: application/json"]
    all_lines += [f"Content-Length: {len(BODY)}", *lines]
    if headers is not None:
        all_lines += [f"a{number}:" for number in range(headers - len(all_lines))]
    return "\r\n".join([f"POST {path} HTTP/1.1", *all_lines, "", ""]).encode() + BODY


@pytest.mark.parametrize("offer", [[], OFFER], ids=["", "with an offer of HTTP/2"])
@pytest.mark.parametrize("piece", [10**9, 97])
def test_a_request_with_as_many_headers_as_are_allowed_is_processed_and_one_with_more_is_not(
    tables: Tables, connection: Connection, offer: list[str], piece: int
) -> None:
    for headers, answer, rows in (
        (MOST_HEADERS, PROCESSED, ([], [1])),
        (MOST_HEADERS + 1, TOO_MANY, ([1], [])),
    ):
        tables.execute("DELETE FROM vicidial_list_archive")
        tables.execute("REPLACE INTO vicidial_list (lead_id, phone_number) VALUES (1, '1')")
        whole = batch(*offer, headers=headers)
        for start in range(0, len(whole), piece):
            connection.socket.sendall(whole[start : start + piece])

        assert connection.answer() == answer
        assert tables.ids() == rows
    assert connection.is_closed()


@pytest.mark.parametrize(
    "line",
    ["X-Long: " + "x" * (LARGEST_HEAD + 300), "X" * (LARGEST_HEAD + 300) + ": x", "a: b\r\nX-Long: " + "x" * 250_000],
    ids=["value", "name", "much larger"],
)
def test_a_head_that_is_too_large_is_refused_although_it_arrives_at_once(
    tables: Tables, connection: Connection, line: str
) -> None:
    with suppress(ConnectionError):
        connection.socket.sendall(batch(line))

    assert connection.answer() == TOO_LARGE
    assert connection.is_closed()
    assert tables.ids() == ([1], [])


def test_an_address_that_is_too_long_is_refused(tables: Tables, connection: Connection) -> None:
    connection.socket.sendall(batch(path=f"{ARCHIVE}?{'x' * LARGEST_HEAD}"))

    assert connection.answer() == TOO_LARGE
    assert connection.is_closed()
    assert tables.ids() == ([1], [])


def test_a_head_of_nearly_the_limit_is_read(tables: Tables, connection: Connection) -> None:
    for head in (batch("X-Long: " + "x" * (LARGEST_HEAD - 300)), batch(path=f"{ARCHIVE}?{'x' * (LARGEST_HEAD - 300)}")):
        connection.socket.sendall(head)
        assert connection.answer() == PROCESSED
    assert tables.ids() == ([], [1])


def test_a_batch_before_a_request_with_too_many_headers_is_answered(tables: Tables, connection: Connection) -> None:
    connection.socket.sendall(batch() + b"GET /livez HTTP/1.1\r\n" + b"a:\r\n" * 30_000)

    assert connection.answer() == PROCESSED
    assert connection.is_closed()
    assert tables.ids() == ([], [1])


def test_too_many_trailers_are_refused(tables: Tables, connection: Connection) -> None:
    head = batch().replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked").removesuffix(BODY)
    whole = head + b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    connection.socket.sendall(whole + b"a:\r\n" * MOST_HEADERS + b"\r\n")
    assert connection.answer() == PROCESSED
    assert tables.ids() == ([], [1])

    tables.live(2)
    with suppress(ConnectionError):
        connection.socket.sendall(whole.replace(b"[1]", b"[2]") + b"a:\r\n" * (MOST_HEADERS + 2))
    assert connection.answer() == TOO_MANY
    assert connection.is_closed()
    assert tables.ids() == ([2], [1])


class Transport(asyncio.Transport):
    """A fake connection that records what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_open = True

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return not self.is_open

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_open = False


class Counting(Protocol):
    """Counts the calls of the parser."""

    calls = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.calls += 1
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        self.calls += 1
        super().on_message_begin()


@pytest.mark.parametrize(
    ("sent", "most"),
    [
        (b"GET /livez HTTP/1.1\r\n" + b"a:\r\n" * 60_000, MOST_HEADERS + 3),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: a, chunked\r\n\r\n0\r\n" + b"a:\r\n" * 60_000, 3),
        (b"no HTTP\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 10_000, 2),
    ],
    ids=["headers", "trailers of a refused request", "requests after a malformed one"],
)
def test_the_parser_stops_as_soon_as_a_request_is_refused(
    sent: bytes, most: int, new_protocol: Callable[[], Counting]
) -> None:
    async def receive() -> tuple[int, bytes]:
        protocol = new_protocol()
        transport = Transport()
        protocol.connection_made(transport)
        protocol.data_received(sent)
        protocol.connection_lost(None)
        return protocol.calls, transport.written

    calls, written = asyncio.run(receive())
    assert calls <= most
    assert written.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert len(re.findall(rb"^HTTP/1\.1 ", written, re.MULTILINE)) == 1


@pytest.fixture
def new_protocol() -> Callable[[], Counting]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        pytest.fail("the request reached the application")

    return lambda: Counting(Config(app, log_config=None), ServerState(), {}, asyncio.get_running_loop())
