"""A failure of the service while it reads a request: the caller is not blamed for it, and learns that nothing was changed."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from support.api import KEY, Api
from support.process import ServiceProcess
from support.tables import Tables
from support.wire import Connection

ARCHIVE = "/vicidial/leads/archive"
FAILED = "the service failed while it read the request; nothing was changed, repeat the request"
PROCESSED = (200, "lead_ids batch was successfully processed")

FAILS = """
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from service.__main__ import main

made = HttpToolsProtocol.NAME

def fails(self, *arguments):
    if AFTER:
        made(self, *arguments)
    if b"archive" in (getattr(self, "url", b"") or b"".join(arguments)):
        raise ERROR
    if not AFTER:
        made(self, *arguments)

HttpToolsProtocol.NAME = fails
main([])
"""


def failing(name: str, *, error: str = "MemoryError", after: bool = False) -> tuple[str, ...]:
    """Return the arguments of Python for a service in which a method fails for each batch."""
    return "-c", FAILS.replace("NAME", name).replace("ERROR", error).replace("AFTER", str(after))


def batch(*lead_ids: int) -> bytes:
    """Return a request that archives leads."""
    body = json.dumps({**Api.ALL, "lead_ids": lead_ids}).encode()
    lines = ["Host: x", f"Authorization: Key={KEY}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([f"POST {ARCHIVE} HTTP/1.1", *lines, "", ""]).encode() + body


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", ["MemoryError", "ValueError"])
@pytest.mark.parametrize("name", ["on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"])
def test_a_request_that_the_service_fails_to_read_is_answered_503_and_changes_nothing(
    tables: Tables, environment: dict[str, str], name: str, error: str, after: bool
) -> None:
    tables.live(1)
    before = tables.both()
    with ServiceProcess(environment, failing(name, error=error, after=after)) as service:
        with closing(Connection(service)) as connection:
            connection.socket.sendall(batch(1))
            assert connection.answer() == (503, FAILED)
            assert connection.announced_close
            assert connection.is_closed()
        assert error in service.wait_for_line("request not taken in")[0]["exception"]
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
    assert tables.both() == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failure_outside_the_parser_is_no_different(tables: Tables, environment: dict[str, str], after: bool) -> None:
    tables.live(1)
    (row,) = tables.both()[0].values()
    with (
        ServiceProcess(environment, failing("data_received", after=after)) as service,
        closing(Connection(service)) as connection,
    ):
        connection.socket.sendall(batch(1))
        assert connection.answer() == (PROCESSED if after else (503, FAILED))  # after: the request had arrived completely
        assert connection.announced_close
        assert connection.is_closed()
    assert tables.both() == (({}, {1: row}) if after else ({1: row}, {}))


def test_the_requests_before_the_one_that_the_service_fails_to_read_are_answered(
    tables: Tables, environment: dict[str, str]
) -> None:
    tables.live(1, 2)
    first, second = tables.both()[0].values()
    with (
        ServiceProcess(environment, failing("on_message_begin")) as service,
        closing(Connection(service)) as connection,
    ):
        connection.socket.sendall(batch(1) + batch(2))
        assert connection.answer() == PROCESSED
        assert connection.announced_close
        assert connection.is_closed()
    assert tables.both() == ({2: second}, {1: first})


def test_a_connection_ends_if_the_service_fails_even_to_answer(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    before = tables.both()
    option, script = failing("on_body")
    no_answer = "from service.server.http_protocol import Protocol; Protocol._refuse = None\n"
    with ServiceProcess(environment, (option, no_answer + script)) as service:
        with closing(Connection(service)) as connection:
            connection.socket.sendall(batch(1))
            assert connection.rest() == b""
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
    assert tables.both() == before


@pytest.mark.parametrize("address", ["http://host", "http://host?x=1", "http://[::"])
def test_an_address_without_a_path_is_refused(environment: dict[str, str], address: str) -> None:
    with ServiceProcess(environment) as service, closing(Connection(service)) as connection:
        connection.send("GET", address, {})
        assert connection.answer() == (400, "not a request that HTTP/1.1 allows")
        assert connection.is_closed()
