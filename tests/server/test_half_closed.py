"""Clients that close their sending side after the request and still read: `nc -N`, and some HTTP/1.0 clients."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from support.api import KEY, Api
from support.fixtures import NewService
from support.process import ServiceProcess
from support.tables import Tables
from support.wire import Connection

ARCHIVE = "/vicidial/leads/archive"
PROCESSED = (200, "lead_ids batch was successfully processed")
INCOMPLETE = (400, "the request ended before it was complete; nothing was changed")


@pytest.fixture(scope="module")
def server(new_service: NewService) -> Iterator[tuple[ServiceProcess, Tables]]:
    with new_service() as served:
        yield served
        assert "Traceback" not in served[0].log


@pytest.fixture
def tables(server: tuple[ServiceProcess, Tables]) -> Tables:
    """Leads 1 to 3 are live, and the archive is empty."""
    tables = server[1]
    tables.execute("DELETE FROM vicidial_list")
    tables.execute("DELETE FROM vicidial_list_archive")
    tables.live(1, 2, 3)
    return tables


@pytest.fixture
def connection(server: tuple[ServiceProcess, Tables]) -> Iterator[Connection]:
    with closing(Connection(server[0])) as connection:
        yield connection


def batch(lead_id: int, version: str = "1.1", key: str = KEY) -> bytes:
    body = json.dumps({**Api.ALL, "lead_ids": [lead_id]})
    lines = [f"POST {ARCHIVE} HTTP/{version}", "Host: x", f"Authorization: Key={key}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def send_and_end(connection: Connection, sent: bytes) -> None:
    connection.socket.sendall(sent)
    connection.socket.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_half_closed_client_gets_the_answer_to_its_batch(tables: Tables, connection: Connection, version: str) -> None:
    """This holds even if the answer comes long after the client's end of data."""
    with tables.mariadb.connect(tables.database, autocommit=False) as dialler, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        send_and_end(connection, batch(1, version))
        tables.wait_until_a_lock_is_in_the_way()
        dialler.rollback()

    assert connection.answer() == PROCESSED
    assert connection.announced_close
    assert connection.rest() == b""
    assert tables.ids() == ([2, 3], [1])


def test_all_requests_that_were_sent_before_the_end_are_answered(tables: Tables, connection: Connection) -> None:
    send_and_end(connection, batch(1) + batch(9) + batch(3))

    assert [connection.answer()[0] for _ in range(3)] == [200, 404, 200]
    assert connection.announced_close
    assert connection.rest() == b""
    assert tables.ids() == ([2], [1, 3])


def test_a_large_answer_arrives_whole(connection: Connection) -> None:
    send_and_end(connection, b"GET /docs/swagger-ui-bundle.js HTTP/1.0\r\n\r\n")

    head, body = connection.rest().split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ")
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length
    assert len(body) == int(length[1]) > 1_000_000


@pytest.mark.parametrize("cut", [10, 60, -1], ids=["in the request line", "in a header", "in the body"])
def test_a_request_that_ends_before_it_is_complete_is_told_so_and_changes_nothing(
    tables: Tables, connection: Connection, cut: int
) -> None:
    before = tables.both()
    send_and_end(connection, batch(1)[:cut])

    assert connection.answer() == INCOMPLETE
    assert connection.announced_close
    assert connection.rest() == b""
    assert tables.both() == before


def test_a_batch_before_an_incomplete_one_gets_its_own_answer(tables: Tables, connection: Connection) -> None:
    send_and_end(connection, batch(1) + batch(2)[:-1])

    assert connection.answer() == PROCESSED
    assert connection.announced_close
    assert connection.rest() == b""
    assert tables.ids() == ([2, 3], [1])


def test_a_refusal_before_the_body_reaches_a_client_that_ends_in_the_body(tables: Tables, connection: Connection) -> None:
    connection.socket.sendall(batch(1, key="wrong")[:-10])
    assert connection.answer() == (401, "unable to validate api user")
    connection.socket.shutdown(socket.SHUT_WR)

    assert connection.rest() == b""
    assert tables.ids() == ([1, 2, 3], [])


def test_a_client_that_ends_without_a_request_gets_no_answer(connection: Connection) -> None:
    send_and_end(connection, b"\r\n")

    assert connection.rest() == b""


def test_a_half_closed_client_delays_no_stop(new_service: NewService) -> None:
    with new_service() as (service, own_tables):
        own_tables.live(1)
        with (
            own_tables.mariadb.connect(own_tables.database, autocommit=False) as dialler,
            dialler.cursor() as cursor,
            closing(Connection(service)) as connection,
        ):
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
            send_and_end(connection, batch(1))
            own_tables.wait_until_a_lock_is_in_the_way()
            service.signal(15)
            dialler.rollback()
            assert connection.answer() == PROCESSED
            assert connection.rest() == b""
        assert service.stop() == 0
        assert own_tables.ids() == ([], [1])
