"""Connections that cannot be made: for every reason, the answer is a 503 that says that nothing was changed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import httpx2
import pymysql
import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.process import PATIENCE, ServiceProcess
from support.remedies import Account, account, problems
from support.tables import Tables
from support.waiting import wait_until

NOTHING_CHANGED = "the database could not process the batch; nothing was changed, repeat the request"

BLOCKED = b"Host '127.0.0.1' is blocked because of many connection errors; unblock with 'mariadb-admin flush-hosts'"

GREETINGS = {
    "a host that is blocked": (len(BLOCKED) + 3).to_bytes(3, "little") + b"\0\xff" + (1129).to_bytes(2, "little") + BLOCKED,
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "zeros": bytes(200),
    "a greeting that is cut off": b"\x0e\0\0\0\x0a5.5.5-10.11\0\0",
    "a greeting of another version": b"\x05\0\0\0\x095.0\0",
}


@contextmanager
def listener(greeting: bytes) -> Iterator[int]:
    """A port that sends these bytes and closes the connection. Yields its number."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def refused(api: Api) -> None:
    response = api.archive_all([1])
    assert (response.status_code, response.json()["message"]) == (503, NOTHING_CHANGED)
    assert int(response.headers["Retry-After"]) >= 1


def connect(mariadb: PrivateMariaDB, stack: ExitStack, times: int) -> None:
    for _ in range(times):
        stack.enter_context(mariadb.connect())


def test_a_port_that_is_not_that_of_mariadb(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    before = tables.both()
    for greeting in GREETINGS.values():
        with listener(greeting) as port:
            api = new_api(DATABASE_URL=f"mysql+asyncmy://user:secret@127.0.0.1:{port}/site", REQUEST_TIMEOUT="2")
            refused(api)
            assert len(problems(api)) == 1
    assert tables.both() == before


def test_an_account_that_has_all_its_connections(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    before, _ = tables.both()
    with account(tables) as limited:
        limited.grant("SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES", "*")
        tables.execute(f"GRANT USAGE ON *.* TO {limited.name} WITH MAX_USER_CONNECTIONS 1")
        user = limited.name.split("'")[1]
        holder = pymysql.connect(host="127.0.0.1", port=tables.mariadb.port, user=user, password="secret")
        api = new_api(DATABASE_URL=limited.url)

        refused(api)

        assert [problem["message"] for problem in problems(api)] == ["the database refuses; the log says why"]
        assert tables.both() == (before, {})
        holder.close()
        tables.execute(f"GRANT USAGE ON *.* TO {limited.name} WITH MAX_USER_CONNECTIONS 9")
        assert api.archive_all([1]).json()["delete_count"] == 1
        assert tables.both() == ({}, before)


def test_a_server_that_has_no_connection_left(mariadb: PrivateMariaDB, tables: Tables, environment: dict[str, str]) -> None:
    tables.live(*range(1, 9))
    before, _ = tables.both()
    ((most,),) = tables.execute("SELECT @@global.max_connections")
    with (
        account(tables) as ordinary,
        ExitStack() as stack,
        ThreadPoolExecutor(8) as clients,
    ):
        ordinary.grant("SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES", "*")
        with (
            ServiceProcess({**environment, "DATABASE_URL": ordinary.url, "DATABASE_POOL_SIZE": "8"}) as service,
            httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ):
            api = Api(client)
            tables.execute("SET GLOBAL max_connections = 10")
            with pytest.raises(pymysql.err.OperationalError, match="Too many connections"):
                connect(mariadb, stack, times=12)
            answers = list(clients.map(lambda lead_id: api.archive_all([lead_id]), list(range(1, 9)) * 4))
            tables.execute(f"SET GLOBAL max_connections = {int(most or b'')}")
            assert {answer.status_code for answer in answers} <= {200, 503}
            assert {answer.json()["message"] for answer in answers if answer.status_code == 503} <= {NOTHING_CHANGED}
            assert api.archive_all(list(range(1, 9))).status_code == 200
    assert tables.both() == ({}, before)


@contextmanager
def no_room(mariadb: PrivateMariaDB, tables: Tables) -> Iterator[None]:
    """Let the server refuse each new connection, also in the place of one that has ended."""
    ((most,),) = tables.execute("SELECT @@global.max_connections")
    with ExitStack() as held:
        held.callback(tables.execute, f"SET GLOBAL max_connections = {int(most or b'')}")
        tables.execute("SET GLOBAL max_connections = 10")
        with pytest.raises(pymysql.err.OperationalError, match="Too many connections"):
            connect(mariadb, held, times=100)
        stop = threading.Event()

        def take_what_becomes_free() -> None:
            while not stop.wait(0.002):
                with suppress(pymysql.err.OperationalError):
                    connect(mariadb, held, times=1)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(take_what_becomes_free)
            try:
                yield
            finally:
                stop.set()


@pytest.fixture
def ordinary(tables: Tables) -> Iterator[Account]:
    """An account for which the server keeps no connection in reserve."""
    with account(tables) as ordinary:
        ordinary.grant("SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES", "*")
        yield ordinary


NO_ROOM = "the server has no room for a new connection"


def test_old_sessions_are_used_on_while_the_server_has_no_room_for_new_ones(
    mariadb: PrivateMariaDB, tables: Tables, ordinary: Account, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the service ends what works, and gets nothing in its place."""
    monkeypatch.setattr("service.database.session_pool.SESSION_AGE", 0.1)
    monkeypatch.setattr("service.database.session_pool.NO_ROOM_PAUSE", 0.2)
    monkeypatch.setattr("service.archive.readiness.SESSION_AGE", 0.1)
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 0.0)
    tables.live(*range(1, 21))
    before, _ = tables.both()
    api = new_api(DATABASE_URL=ordinary.url)
    assert (api.archive_all([1]).status_code, api.compare([1]).status_code, problems(api)) == (200, 200, [])

    with no_room(mariadb, tables):
        for lead_id in range(2, 12):
            time.sleep(0.15)
            assert api.archive_all([lead_id]).json()["delete_count"] == 1
            assert api.compare([lead_id]).json()["leads"][0]["in_archive"] is True
            assert problems(api) == []
            assert NO_ROOM in api.get("/readyz").json()["notes"][-1]["message"]
        assert tables.ids() == ([*range(12, 21)], [*range(1, 12)])

    old = sessions(tables, ordinary)
    time.sleep(0.3)
    assert api.archive_all([*range(12, 21)]).json()["delete_count"] == 9
    assert api.compare([1]).status_code == 200
    assert (problems(api), api.get("/readyz").json()["notes"]) == ([], [])
    wait_until(lambda: not old & sessions(tables, ordinary))
    assert tables.both() == ({}, before)


def test_a_batch_that_is_refused_ends_no_session_while_the_server_has_no_room_for_new_ones(
    mariadb: PrivateMariaDB, tables: Tables, ordinary: Account, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one caller takes all sessions from the others."""
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 0.0)
    monkeypatch.setattr("service.database.session_pool.NO_ROOM_PAUSE", 0.2)
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api(DATABASE_URL=ordinary.url, DATABASE_POOL_SIZE="1")
    assert (api.archive_all([1]).status_code, problems(api)) == (200, [])

    with no_room(mariadb, tables):
        tables.execute("ALTER TABLE vicidial_list_archive DROP COLUMN title")
        refusal = api.archive_all([2])
        assert refusal.status_code == 503
        assert "vicidial_list_archive lacks the column title" in refusal.json()["message"]
        assert ["lacks the column title" in problem["message"] for problem in problems(api)] == [True]
        assert tables.ids() == ([2], [1])
        tables.execute("ALTER TABLE vicidial_list_archive ADD COLUMN title VARCHAR(4) AFTER phone_number")

        assert problems(api) == []
        assert api.archive_all([2]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])
    assert tables.both()[1][2] == before[2]


def test_old_sessions_are_used_on_if_the_limit_of_the_account_is_lowered(
    tables: Tables, ordinary: Account, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = f"GRANT USAGE ON *.* TO {ordinary.name} WITH MAX_USER_CONNECTIONS"
    tables.execute(f"{limit} 100")  # the server counts the connections of accounts that have a limit
    tables.live(*range(1, 21))
    before, _ = tables.both()
    api = new_api(DATABASE_URL=ordinary.url)
    assert (api.archive_all([1]).status_code, api.compare([1]).status_code) == (200, 200)
    old = sessions(tables, ordinary)
    tables.execute(f"{limit} 1")
    monkeypatch.setattr("service.database.session_pool.SESSION_AGE", 0.0)

    for lead_id in range(2, 21):
        assert api.archive_all([lead_id]).json()["delete_count"] == 1
        assert api.compare([lead_id]).status_code == 200

    assert tables.both() == ({}, before)
    wait_until(lambda: sessions(tables, ordinary) == old)  # a connection that was refused is there for a moment


def sessions(tables: Tables, account: Account) -> set[bytes | None]:
    user = account.name.split("'")[1]
    return {number for (number,) in tables.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{user}'")}
