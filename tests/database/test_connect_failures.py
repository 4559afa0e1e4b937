"""Connections that cannot be made: for every reason, the answer is a 503 that says that nothing was changed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx2
import pymysql
import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.process import PATIENCE, ServiceProcess
from support.remedies import account, problems
from support.tables import Tables

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
