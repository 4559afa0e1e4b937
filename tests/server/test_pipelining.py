"""Several requests on one connection, complete, malformed or incomplete: each answer belongs to its request."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from support.api import KEY, Api
from support.fixtures import NewService
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables
from support.wire import Connection

from service.server.http_protocol import HEAD_TIMEOUT
from service.server.request_input import LARGEST_HEAD, MOST_PIPELINED

ARCHIVE = "/vicidial/leads/archive"
DONE = (200, "lead_ids batch was successfully processed")


@pytest.fixture(scope="module")
def server(new_service: NewService) -> Iterator[tuple[ServiceProcess, Tables]]:
    with new_service(REQUEST_TIMEOUT="10") as served:
        yield served


@pytest.fixture
def service(server: tuple[ServiceProcess, Tables]) -> ServiceProcess:
    return server[0]


@pytest.fixture
def tables(server: tuple[ServiceProcess, Tables]) -> Tables:
    tables = server[1]
    tables.execute("DELETE FROM vicidial_list")
    tables.execute("DELETE FROM vicidial_list_archive")
    return tables


def batch(lead_id: int, *lines: str) -> bytes:
    """Return a complete request that archives a lead."""
    body = json.dumps({**Api.ALL, "lead_ids": [lead_id]})
    head = [f"POST {ARCHIVE} HTTP/1.1", "Host: x", f"Authorization: Key={KEY}", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()


CHUNKED = (
    f"POST {ARCHIVE} HTTP/1.1\r\nHost: x\r\nAuthorization: Key={KEY}\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
).encode()

FOLLOWERS = {
    "a malformed chunk": CHUNKED + b"zz\r\n",
    "a chunk, and a malformed one": CHUNKED + b"1\r\n{\r\nzz\r\n",
    "no HTTP": b"this is no HTTP\r\n\r\n",
    "a body longer than announced": b'"}',
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "no address": b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("follower", FOLLOWERS.values(), ids=FOLLOWERS.keys())
def test_a_batch_with_something_malformed_behind_it_is_answered_with_what_was_done(
    service: ServiceProcess, tables: Tables, follower: bytes
) -> None:
    """The result does not depend on how the bytes are split into segments."""
    whole = batch(1) + follower
    cuts = [
        (),
        (len(batch(1)),),
        (len(batch(1)) - 1,),
        (len(batch(1)) + 1,),
        (len(whole) - 1,),
        (30, len(whole) - 2),
        (len(batch(1)) - 5,),
    ]
    for cut in cuts:
        tables.execute("DELETE FROM vicidial_list_archive")
        tables.live(1)
        edges = [0, *cut, len(whole)]
        with closing(Connection(service)) as connection:
            for start, end in itertools.pairwise(edges):
                connection.socket.sendall(whole[start:end])
                time.sleep(0.02)

            assert connection.answer() == DONE, cut
            assert tables.ids() == ([], [1])
            # Further answers, if any, are about the data after the batch.
            answers = re.findall(rb"HTTP/1\.1 \d\d\d ", connection.rest())
            assert len(answers) <= (0 if connection.announced_close else 1)


def test_a_malformed_request_behind_a_batch_that_waits_does_not_answer_the_batch(
    service: ServiceProcess, tables: Tables
) -> None:
    tables.live(1)
    for follower in FOLLOWERS.values():
        tables.execute("DELETE FROM vicidial_list_archive")
        tables.execute("REPLACE INTO vicidial_list (lead_id, phone_number, modify_date) VALUES (1, '1', '2024-01-01')")
        with (
            tables.mariadb.connect(tables.database, autocommit=False) as dialler,
            dialler.cursor() as cursor,
            closing(Connection(service)) as connection,
        ):
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
            connection.socket.sendall(batch(1) + follower)
            tables.wait_until_a_lock_is_in_the_way()
            dialler.rollback()

            assert connection.answer() == DONE
            assert connection.is_closed()
        assert tables.ids() == ([], [1])


def test_batches_that_are_sent_at_once_are_answered_in_their_order(service: ServiceProcess, tables: Tables) -> None:
    tables.live(1, 2, 4)
    with closing(Connection(service)) as connection:
        connection.socket.sendall(b"".join(batch(lead_id, f"X-Request-ID: r{lead_id}") for lead_id in (1, 2, 3, 4)))

        assert [connection.answer()[0] for _ in range(4)] == [200, 200, 404, 200]
        assert not connection.is_closed()
    assert tables.ids() == ([], [1, 2, 4])


def test_of_more_requests_at_once_than_wait_the_others_are_not_looked_at(service: ServiceProcess, tables: Tables) -> None:
    """The last answer says that the connection is closed. By the standard, later requests were not processed."""
    count = MOST_PIPELINED + 10
    tables.live(*range(1, count + 1))
    with closing(Connection(service)) as connection:
        connection.socket.sendall(b"".join(batch(lead_id) for lead_id in range(1, count + 1)))
        answers = 0
        while True:
            assert connection.answer() == DONE
            answers += 1
            if connection.announced_close:
                break
        assert connection.is_closed()
    assert 1 < answers <= MOST_PIPELINED + 2
    assert tables.ids() == (list(range(answers + 1, count + 1)), list(range(1, answers + 1)))


def counted_as_gone(service: ServiceProcess) -> float:
    figures = service.get("/metrics")[1].decode()
    found = re.search(rf'^http_requests_total{{method="POST",route="{ARCHIVE}",status="0"}} (.*)$', figures, re.MULTILINE)
    return float(found[1]) if found else 0


def test_a_client_that_resets_in_the_middle_of_a_batch_is_counted_as_gone(service: ServiceProcess, tables: Tables) -> None:
    tables.live(1)
    before = counted_as_gone(service)
    tables.execute("CREATE TRIGGER site BEFORE DELETE ON vicidial_list FOR EACH ROW DO SLEEP(1)")
    connection = Connection(service)
    connection.socket.sendall(batch(1, "X-Request-ID: reset"))
    tables.wait_for_a_trigger()
    connection.reset()

    deadline = time.monotonic() + PATIENCE
    while not (
        lines := [line for line in service.log_lines if line.get("request_id") == "reset" and line["event"] == "request"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lines[0]["status"] == 0
    while counted_as_gone(service) != before + 1:  # the text of /metrics may be a second old
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert tables.ids() == ([], [1])  # it was processed, as the log shows


def test_empty_lines_do_not_keep_a_connection(service: ServiceProcess) -> None:
    with closing(Connection(service)) as connection:
        connection.send("GET", "/livez", {})
        assert connection.answer() == (200, "alive")
        connection.socket.sendall(b"\r\n")
        started = time.monotonic()

        assert connection.rest() == b""
        assert time.monotonic() - started < HEAD_TIMEOUT + SLACK


def test_trailers_without_end_are_not_kept(service: ServiceProcess, tables: Tables) -> None:
    tables.live(1)
    body = json.dumps({**Api.ALL, "lead_ids": [1]}).encode()
    with closing(Connection(service)) as connection:
        connection.socket.sendall(CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(body), body))
        try:
            for number in range(10_000):
                connection.socket.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        except ConnectionError:
            pass
        else:
            pytest.fail("10 MB of trailers were taken")
    assert tables.ids() == ([1], [])
    assert f"request line and headers cannot exceed {LARGEST_HEAD} bytes" in service.log


def with_trailer(head: bytes, *trailers: bytes) -> bytes:
    body = json.dumps({**Api.ALL, "lead_ids": [1]}).encode()
    return head + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, b"".join(line + b"\r\n" for line in trailers))


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_trailer_is_no_header(service: ServiceProcess, tables: Tables, is_cut: bool) -> None:
    """This holds whether the body arrives with the head or later."""
    tables.live(1)
    without_key = CHUNKED.replace(f"Authorization: Key={KEY}\r\n".encode(), b"")
    assert without_key != CHUNKED
    for head, trailer, answer in (
        (without_key, f"Authorization: Key={KEY}".encode(), (401, "unable to validate api user")),
        (CHUNKED, b"Authorization: Key=wrong", DONE),
    ):
        with closing(Connection(service)) as connection:
            whole = with_trailer(head, trailer, b"Content-Type: text/plain", b"X-Request-ID: trailer")
            connection.socket.sendall(whole[:-20] if is_cut else whole)
            if is_cut:
                time.sleep(0.1)
                connection.socket.sendall(whole[-20:])
            assert connection.answer() == answer
        assert tables.ids() == (([1], []) if answer[0] == 401 else ([], [1]))


@pytest.mark.parametrize(
    "codings",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity, chunked",
    ],
)
def test_a_transfer_coding_that_is_not_decoded_is_refused(service: ServiceProcess, tables: Tables, codings: bytes) -> None:
    tables.live(1)
    with closing(Connection(service)) as connection:
        connection.socket.sendall(with_trailer(CHUNKED.replace(b"Transfer-Encoding: chunked", codings)))
        assert connection.answer() == (400, "Transfer-Encoding must be chunked, and nothing else")
        assert connection.is_closed()
        assert tables.ids() == ([1], [])
    with closing(Connection(service)) as connection:
        connection.socket.sendall(
            with_trailer(CHUNKED.replace(b"Transfer-Encoding: chunked", b"transfer-encoding:  Chunked "))
        )
        assert connection.answer() == DONE


@pytest.mark.parametrize("size", [1000, 100_000, 1_000_000])
def test_the_answer_before_the_body_arrives_although_the_body_is_still_sent(service: ServiceProcess, size: int) -> None:
    """An immediate close would reset the connection, and the reset would discard the answer."""
    for _ in range(10):
        with closing(Connection(service)) as connection:
            connection.send("POST", ARCHIVE, {"Authorization": "Key=wrong", "Content-Length": size})
            time.sleep(0.01)
            for _ in range(10):
                connection.socket.sendall(b" " * (size // 10))

            assert connection.answer() == (401, "unable to validate api user")
            assert connection.is_closed()
