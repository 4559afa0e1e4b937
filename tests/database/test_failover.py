"""The name in DATABASE_URL changes to another server with other tables, rules and rows.

The service must forget what it knew about the first server. Its answers must be true of the second.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.databases import MARIADB_OPTIONS
from support.faults import Relay
from support.paths import SCRATCH
from support.remedies import account, problems
from support.tables import Tables
from support.waiting import wait_until

NAME = "database.test"


@dataclass
class FailOver:
    """A function that lets NAME resolve to the other server, and cuts the connections to the first."""

    port: int
    """The same port on both addresses."""
    change_address: Callable[[], None]
    """Without cutting anything."""
    cut: Callable[[], None]

    def __call__(self) -> None:
        self.change_address()
        self.cut()


@pytest.fixture(scope="module")
def other_server(mariadb: PrivateMariaDB) -> Iterator[PrivateMariaDB]:
    """A server with the same account, and with a binary log."""
    options = (*(option for option in MARIADB_OPTIONS if option != "--skip-log-bin"), "--log-bin", "--server-id=2")
    with TemporaryDirectory(dir=SCRATCH) as folder:
        server = PrivateMariaDB(Path(folder), options)
        server.password = mariadb.password
        with server:
            yield server


@pytest.fixture
def other(other_server: PrivateMariaDB, tables: Tables) -> Iterator[Tables]:
    """The same database on the other server, with the same empty tables."""
    with other_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {tables.database}")
    other = Tables(other_server, tables.database)
    for (name,) in tables.execute("SHOW TABLES"):
        ((_, definition),) = tables.execute(f"SHOW CREATE TABLE {(name or b'').decode()}")
        other.execute((definition or b"").decode())
    yield other
    other.execute("SET GLOBAL read_only = OFF, GLOBAL binlog_format = 'MIXED'")
    other.drop()


@pytest.fixture
def fail_over(tables: Tables, other: Tables, monkeypatch: pytest.MonkeyPatch) -> Iterator[FailOver]:
    address = "127.0.0.1"
    getaddrinfo = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        return getaddrinfo(address if host == NAME else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ExitStack() as stack:
        first = stack.enter_context(Relay("127.0.0.1", 0, tables.mariadb.port))
        stack.enter_context(Relay("127.0.0.2", first.port, other.mariadb.port))

        def change_address() -> None:
            nonlocal address
            address = "127.0.0.2"

        yield FailOver(first.port, change_address, first.cut)


@pytest.fixture
def api(new_api: Callable[..., Api], tables: Tables, fail_over: FailOver) -> Api:
    return new_api(DATABASE_URL=through(fail_over, tables, tables.url))


def through(fail_over: FailOver, tables: Tables, url: str) -> str:
    """Return a DATABASE_URL with the name that changes."""
    named = url.replace(f"127.0.0.1:{tables.mariadb.port}", f"{NAME}:{fail_over.port}")
    assert named != url
    return named


def answer_after(api: Api, fail_over: FailOver, tables: Tables) -> tuple[int, dict[str, Any]]:
    """Archive a lead on the first server, then one on the second. Repeat the request after a 503: connections were cut, and
    a table of the first server may be missing."""
    tables.live(100)
    assert api.archive_all([100]).json()["delete_count"] == 1
    fail_over()
    for _ in range(3):
        answer = api.archive_all([1])
        if answer.status_code != 503:
            break
    return answer.status_code, answer.json()


def test_the_other_servers_leads_are_moved(tables: Tables, other: Tables, api: Api, fail_over: FailOver) -> None:
    other.live(1, first_name="of the other")
    before, _ = other.both()

    status, answer = answer_after(api, fail_over, tables)

    assert (status, answer["delete_count"]) == (200, 1)
    assert other.both() == ({}, before)
    assert tables.ids() == ([], [100])


@pytest.mark.parametrize(
    "alter",
    [
        "ALTER TABLE {} ADD site_own VARCHAR(10) DEFAULT 'x'",
        "ALTER TABLE {} MODIFY comments TEXT",
        "ALTER TABLE {} ENGINE = MyISAM",
        "ALTER TABLE {} MODIFY lead_id BIGINT UNSIGNED NOT NULL",
    ],
)
def test_other_tables_that_fit_are_read_anew(tables: Tables, other: Tables, api: Api, fail_over: FailOver, alter: str) -> None:
    for table in ("vicidial_list", "vicidial_list_archive"):
        other.execute(alter.format(table))
    other.live(1, comments="of the other")
    before, _ = other.both()

    status, answer = answer_after(api, fail_over, tables)

    assert (status, answer["delete_count"]) == (200, 1)
    assert other.both() == ({}, before)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE vicidial_list_archive DROP COLUMN comments",
        "ALTER TABLE vicidial_list_archive DROP PRIMARY KEY",
        "ALTER TABLE vicidial_list_archive ENGINE = MEMORY",
        "DROP TABLE vicidial_list_archive",
        "RENAME TABLE vicidial_list TO elsewhere",
        "SET GLOBAL binlog_format = 'STATEMENT'",
    ],
)
def test_a_server_that_does_not_fit_is_refused(
    tables: Tables, other: Tables, api: Api, fail_over: FailOver, change: str
) -> None:
    other.live(1)
    before = other.rows("vicidial_list")
    other.execute(change)

    status, _ = answer_after(api, fail_over, tables)

    assert status == 503
    assert api.get("/readyz").json()["problems"]
    assert other.rows("elsewhere" if "elsewhere" in change else "vicidial_list") == before


def test_rows_that_refer_to_a_lead_there_are_not_touched(tables: Tables, other: Tables, api: Api, fail_over: FailOver) -> None:
    other.live(1)
    other.execute(
        "CREATE TABLE notes (note_id INT PRIMARY KEY, lead_id INT UNSIGNED NOT NULL,"
        " FOREIGN KEY (lead_id) REFERENCES vicidial_list (lead_id) ON DELETE CASCADE)"
    )
    other.execute("INSERT INTO notes VALUES (7, 1)")

    answer_after(api, fail_over, tables)

    assert other.execute("SELECT COUNT(*) FROM notes") == [(b"1",)]


def test_what_shows_there_that_a_lead_is_in_use_counts(tables: Tables, other: Tables, api: Api, fail_over: FailOver) -> None:
    """The first server lacks such a table. A table that only the first server has is not required."""
    tables.execute("DROP TABLE vicidial_hopper")
    other.execute("DROP TABLE vicidial_live_agents")
    other.live(1)
    other.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (1, 'READY')")

    status, answer = answer_after(api, fail_over, tables)

    assert (status, answer.get("remaining_lead_ids")) == (200, [1])
    assert other.ids() == ([1], [])


# --- The first server still answers, as after a planned switchover -------------------------------------------------------


def test_an_old_primary_that_is_read_only_is_left(
    tables: Tables, other: Tables, new_api: Callable[..., Api], fail_over: FailOver
) -> None:
    """With few requests, too: /readyz looks at the new server meanwhile."""
    tables.live(1, 100)
    other.live(1, 2, first_name="of the other")
    before, _ = other.both()
    with account(tables) as service, account(other):
        for each in (tables, other):
            each.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES ON *.* TO {service.name}")
        api = new_api(DATABASE_URL=through(fail_over, tables, service.url), ADMIN_LOG="on")
        assert api.archive_all([100]).json()["delete_count"] == 1
        tables.execute("SET GLOBAL read_only = ON")
        try:
            fail_over.change_address()
            assert api.archive_all([1]).json().get("delete_count") == 1
            wait_until(lambda: api.archive_all([2]).json()["message"] and other.execute("SELECT 1 FROM vicidial_admin_log"))
            assert problems(api) == []
        finally:
            tables.execute("SET GLOBAL read_only = OFF")
    assert other.both() == ({}, before)
    assert tables.ids() == ([1], [100])


def test_an_old_primary_is_left_after_a_while(
    tables: Tables, other: Tables, api: Api, fail_over: FailOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is used."""
    monkeypatch.setattr("service.database.session_pool.SESSION_AGE", 0.5)
    tables.live(*range(1, 101))
    other.live(*range(1, 101))
    assert api.archive_all([100]).json()["delete_count"] == 1
    fail_over.change_address()
    changed = time.monotonic()
    for lead_id in range(1, 100):
        assert api.archive_all([lead_id]).json()["delete_count"] == 1
        if time.monotonic() - changed > 1:
            break
    assert lead_id not in tables.rows("vicidial_list_archive")
    assert lead_id in other.rows("vicidial_list_archive")
