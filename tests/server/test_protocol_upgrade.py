"""Requests with Upgrade to another protocol, which java.net.http and curl --http2 send without TLS: the offer is ignored, and
the request is answered as usual."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.api import KEY, Api
from support.fixtures import NewService
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables
from support.wire import Connection

from service.server.request_input import MOST_PIPELINED

ARCHIVE = "/vicidial/leads/archive"
PROCESSED = (200, "lead_ids batch was successfully processed")
JSON = {"Authorization": f"Key={KEY}", "Content-Type": "application/json"}
JAVA = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}

OFFERS = [
    JAVA,
    {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x" * 24},
    {"Connection": "keep-alive, Upgrade", "UPGRADE": "h2c, TLS/1.2"},
    {"connection": "upgrade", "Upgrade": "", "upgrade": "h2c"},
]


@pytest.fixture(scope="module")
def service(new_service: NewService) -> Iterator[tuple[ServiceProcess, Tables]]:
    with new_service() as served:
        yield served
        assert "Unsupported upgrade request" not in served[0].log
        assert "Traceback" not in served[0].log


@pytest.fixture
def leads(service: tuple[ServiceProcess, Tables]) -> Iterator[list[int]]:
    """Insert live leads, and assert at the end that all of them are in the archive only."""
    _, tables = service
    tables.execute("DELETE FROM vicidial_list")
    tables.execute("DELETE FROM vicidial_list_archive")
    lead_ids = [1, 2, 3]
    tables.live(*lead_ids)
    before, _ = tables.both()
    yield lead_ids
    assert tables.both() == ({}, before)


@pytest.fixture
def connection(service: tuple[ServiceProcess, Tables]) -> Iterator[Connection]:
    with closing(Connection(service[0])) as connection:
        yield connection


def batch(*lead_ids: int) -> bytes:
    return json.dumps({**Api.ALL, "lead_ids": lead_ids}).encode()


def request(offer: dict[str, Any], body: bytes, chunk: int = 0) -> bytes:
    """Return a complete POST. chunk: the bytes in each chunk, if it is sent in chunks."""
    headers = {"Host": "x", **JSON, **offer, **({"Transfer-Encoding": "chunked"} if chunk else {"Content-Length": len(body)})}
    head = "\r\n".join([f"POST {ARCHIVE} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    parts = [body[start : start + chunk] for start in range(0, len(body), chunk)] + [b""] if chunk else []
    return head.encode() + (b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) if chunk else body)


@pytest.mark.parametrize("offer", OFFERS, ids=str)
@pytest.mark.parametrize("chunk", [0, 7])
def test_a_request_that_offers_another_protocol_is_processed_and_the_connection_kept(
    leads: list[int], connection: Connection, offer: dict[str, Any], chunk: int
) -> None:
    for lead_id in leads:
        connection.socket.sendall(request(offer, batch(lead_id), chunk))
        assert connection.answer() == PROCESSED
    assert not connection.is_closed()


@pytest.mark.parametrize("size", [1, 2, 50, 301])
def test_it_does_not_matter_in_which_pieces_it_arrives(leads: list[int], connection: Connection, size: int) -> None:
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for lead_id, chunk in zip(leads, (0, 1, 30), strict=True):
        whole = request(JAVA, batch(lead_id), chunk)
        for start in range(0, len(whole), size):
            connection.socket.sendall(whole[start : start + size])
        assert connection.answer() == PROCESSED


def test_requests_with_and_without_an_offer_in_one_segment_are_answered_in_order(
    leads: list[int], connection: Connection
) -> None:
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = get.replace(b"Upgrade", b"close, Upgrade", 1)
    connection.socket.sendall(
        get
        + request(JAVA, batch(leads[0]))
        + request({}, batch(leads[1]))
        + get * 2
        + request(JAVA, batch(leads[2]), 9)
        + last
    )

    answers = b"".join(iter(lambda: connection.socket.recv(65536), b"")).decode()
    messages = re.findall('"message": ?"([^"]+)"', answers)
    assert messages == ["alive", PROCESSED[1], PROCESSED[1], "alive", "alive", PROCESSED[1], "alive"]
    assert answers.count("HTTP/1.1 200 OK") == 7


def peak_memory(service: ServiceProcess) -> int:
    """Return the peak memory of the process in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{service.pid}/status").read_text())
    assert found
    return int(found[1])


def test_offers_behind_more_requests_than_may_wait_are_not_looked_at(
    service: tuple[ServiceProcess, Tables], connection: Connection
) -> None:
    """To rebuild the head of each from all the heads before it would double the memory with each."""
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    offer = get.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c")
    before = peak_memory(service[0])

    connection.socket.sendall(get * (MOST_PIPELINED + 1) + offer * 20)

    for _ in range(MOST_PIPELINED + 1):
        assert connection.answer() == (200, "alive")
    assert connection.is_closed()
    assert peak_memory(service[0]) - before < 100 * 1024


def test_an_offer_with_a_request_that_closes_the_connection(leads: list[int], connection: Connection) -> None:
    connection.socket.sendall(request({**JAVA, "Connection": "close, Upgrade"}, batch(*leads)))

    assert connection.answer() == PROCESSED
    assert connection.is_closed()


def test_an_offer_in_http_1_0_and_one_with_100_continue(leads: list[int], connection: Connection) -> None:
    whole = request({**JAVA, "Expect": "100-continue"}, batch(*leads))
    head, _, body = whole.partition(b"\r\n\r\n")
    connection.socket.sendall(head + b"\r\n\r\n")
    assert connection.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.socket.sendall(body)
    assert connection.answer() == PROCESSED

    connection.socket.sendall(request(JAVA, batch(*leads)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert connection.answer() == PROCESSED
    assert connection.is_closed()


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ("Content-Length: 2\r\nContent-Length: 3", (400, "not a request that HTTP/1.1 allows")),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", (400, "not a request that HTTP/1.1 allows")),
        ("Content-Length: 2000000", (413, "request body cannot exceed 1048576 bytes")),
        ("Content-Length: 0", (400, "request body is not valid JSON: Expecting value: line 1 column 1 (char 0)")),
        ("X: y", (400, "request body is not valid JSON: Expecting value: line 1 column 1 (char 0)")),
    ],
)
def test_an_offer_does_not_change_what_is_refused(connection: Connection, headers: str, answer: tuple[int, str]) -> None:
    connection.send("POST", ARCHIVE, {**JSON, **JAVA, "X": f"y\r\n{headers}"})

    assert connection.answer() == answer


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_caller_that_offers_and_goes_away_with_half_a_body_changes_nothing(
    service: tuple[ServiceProcess, Tables], connection: Connection, is_reset: bool
) -> None:
    process, tables = service
    tables.execute("REPLACE INTO vicidial_list (lead_id, phone_number) VALUES (9, '1')")
    before = tables.both()
    request_id = f"gone-{is_reset}"
    connection.socket.sendall(request({**JAVA, "X-Request-ID": request_id}, batch(9))[:-1])
    if is_reset:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

    deadline = time.monotonic() + PATIENCE
    while not (lines := [line for line in process.log_lines if line.get("request_id") == request_id]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lines[0]["event"] == "client disconnected"
    assert tables.both() == before


def test_connect_is_no_offer(connection: Connection) -> None:
    connection.send("CONNECT", "/livez", {})

    status, _ = connection.answer()
    assert status in {400, 405}
