"""What an administrator changes while the service runs: a session keeps the variables and the privileges of its beginning, and
/readyz must not call ready what refuses every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.databases import server_with_binary_log
from support.remedies import Account, account, problems
from support.tables import Tables
from support.waiting import wait_until

NEEDED = "SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES"

CHANGES = {
    "max_allowed_packet": (
        "SET GLOBAL max_allowed_packet = 524288",
        "SET GLOBAL max_allowed_packet = DEFAULT",
        "max_allowed_packet is 524288 bytes",
    ),
    "binlog_format": (
        "SET GLOBAL binlog_format = STATEMENT",
        "SET GLOBAL binlog_format = DEFAULT",
        "binlog_format is STATEMENT",
    ),
    "init_connect": (
        "SET GLOBAL init_connect = 'CREATE TEMPORARY TABLE vicidial_hopper (lead_id INT)'",
        "SET GLOBAL init_connect = ''",
        "init_connect chooses another database, or makes temporary tables",
    ),
    "a privilege on all databases": (
        "REVOKE DELETE ON *.* FROM {account}",
        "GRANT DELETE ON *.* TO {account}",
        "the account lacks a privilege: DELETE command denied",
    ),
    "the account": (
        "ALTER USER {account} ACCOUNT LOCK",
        "ALTER USER {account} ACCOUNT UNLOCK",
        "the database refuses; the log says why",
    ),
}
"""What is changed: the statement that does it, the one that undoes it, and what /readyz says meanwhile."""


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateMariaDB]:
    """A server with a binary log."""
    with server_with_binary_log("site") as server:
        yield server


@pytest.fixture
def site(server: PrivateMariaDB) -> Iterator[Tables]:
    tables = Tables(server, "site")
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"TRUNCATE {table}")
    yield tables
    tables.close()


@pytest.fixture
def service_account(site: Tables) -> Iterator[Account]:
    """An account with its privileges on all databases: their loss does not show in a session that has begun."""
    with account(site) as service:
        site.execute(f"GRANT {NEEDED} ON *.* TO {service.name}")
        yield service


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest, site: Tables, service_account: Account) -> Iterator[tuple[str, str, str]]:
    do, undo, said = (text.format(account=service_account.name) for text in CHANGES[request.param])
    yield do, undo, said
    site.execute(undo)


def test_what_refuses_a_batch_is_what_readyz_says(
    site: Tables, new_api: Callable[..., Api], service_account: Account, change: tuple[str, str, str]
) -> None:
    do, undo, said = change
    site.live(1, 2)
    before = site.both()
    api = new_api(DATABASE_URL=service_account.url)
    assert problems(api) == []
    site.execute(do)

    assert api.archive_all([1]).status_code == 503
    for _ in range(3):
        assert [problem for problem in problems(api) if said in problem["message"]]
    assert site.both() == before

    site.execute(undo)
    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert site.both() == ({2: before[0][2]}, {1: before[0][1]})


def test_what_would_refuse_a_batch_is_found_without_one(
    site: Tables,
    new_api: Callable[..., Api],
    service_account: Account,
    change: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another worker was sent the batches, or the load balancer sends them elsewhere."""
    monkeypatch.setattr("service.archive.readiness.SESSION_AGE", 0.5)
    do, undo, said = change
    site.live(1)
    before = site.both()
    api = new_api(DATABASE_URL=service_account.url)
    assert problems(api) == []
    site.execute(do)

    wait_until(lambda: problems(api), 5)
    assert said in problems(api)[0]["message"]
    site.execute(undo)
    assert problems(api) == []
    assert site.both() == before


def test_the_server_takes_no_note_of_a_session_that_is_left(
    site: Tables, new_api: Callable[..., Api], service_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its log would have a line "Aborted connection" every ten seconds."""
    monkeypatch.setattr("service.archive.readiness.SESSION_AGE", 0.0)
    api = new_api(DATABASE_URL=service_account.url)
    connections, aborted = (int(status(site, name)) for name in ("Connections", "Aborted_clients"))
    for _ in range(5):
        assert problems(api) == []
    assert int(status(site, "Connections")) >= connections + 5
    assert int(status(site, "Aborted_clients")) == aborted


def status(tables: Tables, name: str) -> str:
    ((_, value),) = tables.execute(f"SHOW GLOBAL STATUS LIKE '{name}'")
    assert value is not None
    return value.decode()
