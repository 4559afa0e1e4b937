"""DATABASE_TLS: what is encrypted, which certificates are accepted, and that the service never falls back to clear text."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from mariadb import PrivateMariaDB
from starlette.applications import Starlette
from starlette.testclient import TestClient
from support.api import Api
from support.databases import BERLIN, MARIADB_OPTIONS, alembic, create_database, migrate
from support.faults import Firewall
from support.fixtures import ReadSettings
from support.man_in_the_middle import man_in_the_middle
from support.process import PATIENCE
from support.tables import Tables
from support.waiting import wait_until

from service.admin.check import Finding, State, connection_finding, find
from service.app import create_app, create_context
from service.database.pool import Database
from service.errors import DatabaseError
from service.settings import Settings

USER = "over_tls"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """A server whose certificate is for 127.0.0.1, with an account that must use TLS."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    options = (*MARIADB_OPTIONS, f"--ssl-cert={folder}/cert.pem", f"--ssl-key={folder}/key.pem")
    with PrivateMariaDB(folder / "server", options, timezone=BERLIN) as server:
        create_database(server, "asterisk")
        migrate(server.url("asterisk"), "head")
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE USER {USER}@127.0.0.1 IDENTIFIED BY 'secret' REQUIRE SSL")
            cursor.execute(f"GRANT ALL ON asterisk.* TO {USER}@127.0.0.1")
        yield server


@pytest.fixture
def tls_tables(tls_server: PrivateMariaDB) -> Tables:
    tables = Tables(tls_server, "asterisk")
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"DELETE FROM {table}")
    return tables


@pytest.fixture
def environment(tls_tables: Tables, keys_file: Path, authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {
        "DATABASE_URL": url(tls_tables.mariadb.port),
        "DATABASE_TLS": "verify",
        "DATABASE_TLS_CA_FILE": str(tmp_path / "ca.pem"),
        "API_KEYS_FILE": str(keys_file),
        "OFFICE_HOURS": "none",
    }


def url(port: int, host: str = "127.0.0.1") -> str:
    return f"mysql+asyncmy://{USER}:secret@{host}:{port}/asterisk"


OFF: dict[str, None] = {"DATABASE_TLS": None, "DATABASE_TLS_CA_FILE": None}
MODES: dict[str, dict[str, str | None]] = {
    "required": {"DATABASE_TLS": "required", "DATABASE_TLS_CA_FILE": None},
    "verify": {},
}
"""Changes of the settings."""


def changed(environment: dict[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings with changes; None removes a setting."""
    return {name: value for name, value in {**environment, **changes}.items() if value is not None}


def connection(settings: Settings) -> Finding:
    """Return what `check` prints about the connection."""
    (found,) = [finding for finding in asyncio.run(find(settings, datetime.now(UTC))) if finding.what == "connection"]
    return found


Refusal = Callable[..., str]


@pytest.fixture
def refusal(environment: dict[str, str], settings_from: ReadSettings) -> Refusal:
    """refusal(SETTING=value, ...) -> the error when the service connects, at start and later; None removes a setting."""

    def refuse(**changes: str | None) -> str:
        database = create_context(settings_from(changed(environment, changes))).database
        said = {asyncio.run(first_error(database)), asyncio.run(later_error(database))}
        assert len(said) == 1
        return said.pop()

    return refuse


async def first_error(database: Database) -> str:
    with pytest.raises(DatabaseError) as caught:
        await database.server_version(PATIENCE)
    return str(caught.value)


async def later_error(database: Database) -> str:
    await database.connect()
    with pytest.raises(DatabaseError) as caught:
        async with database.transaction(PATIENCE):
            pass
    await database.disconnect()
    return str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_leads_are_archived_over_tls(
    tls_tables: Tables, environment: dict[str, str], settings_from: ReadSettings, mode: str
) -> None:
    """On a server that requires TLS."""
    tls_tables.live(1, 2)
    live, _ = tls_tables.both()
    settings = settings_from(changed(environment, MODES[mode]))
    tls_tables.execute("SET GLOBAL require_secure_transport = ON")
    try:
        with TestClient(create_app(settings)) as client:
            answer = Api(client).archive_all([1, 2])
        found = connection(settings)
    finally:
        tls_tables.execute("SET GLOBAL require_secure_transport = OFF")

    assert (answer.status_code, answer.json()["delete_count"]) == (200, 2)
    assert tls_tables.both() == ({}, live)
    assert re.match(r"encrypted \(TLSv1\.[23], \w+", found.found)
    assert found.found.endswith("as its certificate proves") == (mode == "verify")


def test_no_connection_of_the_service_is_made_without_tls(
    tls_server: PrivateMariaDB,
    environment: dict[str, str],
    settings_from: ReadSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There are several pools: for batches, for searches, for /readyz and for ADMIN_LOG."""
    pools: list[Database] = []

    class Noted(Database):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            pools.append(self)

    monkeypatch.setattr("service.app.Database", Noted)
    with man_in_the_middle(tls_server.port) as man:
        create_context(settings_from({**environment, "DATABASE_URL": url(man.port), "ADMIN_LOG": "on"}))
        said = [asyncio.run(later_error(pool)) for pool in pools]

    assert said == ["the database does not offer TLS, which DATABASE_TLS asks for"] * 4
    assert USER.encode() not in man.received


def test_the_row_of_the_admin_log_is_written_over_tls(
    tls_tables: Tables, environment: dict[str, str], settings_from: ReadSettings
) -> None:
    """By an account that must use TLS."""
    tls_tables.execute("DELETE FROM vicidial_admin_log")
    tls_tables.live(1)
    live, _ = tls_tables.both()

    with TestClient(create_app(settings_from({**environment, "ADMIN_LOG": "on"}))) as client:
        answer = Api(client).archive_all([1])

    assert answer.json()["delete_count"] == 1
    assert tls_tables.both() == ({}, live)
    assert tls_tables.execute("SELECT COUNT(*) FROM vicidial_admin_log") == [(b"1",)]


@pytest.fixture
def firewall(tls_server: PrivateMariaDB) -> Iterator[Firewall]:
    with Firewall("127.0.0.1", 0, tls_server.port) as firewall:
        yield firewall


SIDE_BY_SIDE = 4
"""Sessions of batches."""


@pytest.fixture
def behind_the_firewall(environment: dict[str, str], settings_from: ReadSettings, firewall: Firewall) -> Starlette:
    """A service with a database behind a firewall."""
    settings = {
        "DATABASE_URL": url(firewall.port),
        "DATABASE_POOL_SIZE": str(SIDE_BY_SIDE),
        "ADMIN_LOG": "on",
        "PACE": "full",
        "REQUEST_TIMEOUT": "5",
    }
    return create_app(settings_from({**environment, **settings}))


def use_all_sessions(api: Api, tables: Tables) -> None:
    """Have batches of new leads, from 101 on, processed side by side, and each other kind of request."""
    leads = range(101, 101 + SIDE_BY_SIDE)
    tables.live(100, *leads)
    assert api.archive_all([100]).status_code == 200
    with ThreadPoolExecutor(SIDE_BY_SIDE) as executor:
        with tables.held_by_a_trigger(at_least=SIDE_BY_SIDE) as are_held:
            answers = [executor.submit(api.archive_all, [lead_id]) for lead_id in leads]
            wait_until(are_held)
        assert [answer.result().status_code for answer in answers] == [200] * SIDE_BY_SIDE
    assert api.compare([100]).status_code == 200
    assert api.get("/readyz").status_code == 200
    tables.execute("DELETE FROM vicidial_admin_log")


def sessions(tables: Tables, which: str = "") -> list[bytes | None]:
    """Return the numbers of the service's sessions."""
    rows = tables.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}' {which}")
    return [number for (number,) in rows]


def let_time_pass(app: Starlette, seconds: float) -> None:
    """Let sessions have been idle for longer."""
    context = app.state.context
    pools = (context.database, context.readers.database, context.readiness.database, context.admin_log._database)
    for connection, session in [item for pool in pools for item in pool._pool.sessions._by_connection.items()]:
        connection._last_usage -= seconds
        session._began -= seconds
    context.readiness._expires = context.readiness._session_expires = 0.0


def test_idle_sessions_whose_connections_are_dead_cost_no_time(
    tls_tables: Tables, behind_the_firewall: Starlette, firewall: Firewall
) -> None:
    """TLS waits for the server's goodbye, which does not come."""
    with TestClient(behind_the_firewall) as client:
        api = Api(client)
        use_all_sessions(api, tls_tables)
        tls_tables.live(1, 2)
        live, archived = tls_tables.both()
        firewall.forget()
        let_time_pass(behind_the_firewall, 100)

        began = time.monotonic()
        answers = [api.archive_all([1]), api.archive_all([2])]
        assert [answer.json().get("delete_count") for answer in answers] == [1, 1]
        assert tls_tables.both() == ({}, archived | live)
        assert tls_tables.execute("SELECT COUNT(*) FROM vicidial_admin_log") == [(b"2",)]
        assert [lead["in_archive"] for lead in api.compare([1, 2]).json()["leads"]] == [True, True]
        assert api.get("/readyz").status_code == 200
        assert time.monotonic() - began < 2
        firewall.cut()
        assert client.portal
        client.portal.call(asyncio.sleep, 0.1)  # until the ends of the dead connections are closed


def test_the_server_is_told_of_each_session_that_ends(tls_tables: Tables, behind_the_firewall: Starlette) -> None:
    """Otherwise its log would have a line "Aborted connection"."""
    aborted = tls_tables.execute("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
    with TestClient(behind_the_firewall) as client:
        api = Api(client)
        use_all_sessions(api, tls_tables)
        before = sessions(tls_tables)
        let_time_pass(behind_the_firewall, 100)
        use_all_sessions(api, tls_tables)
        wait_until(lambda: not set(before) & set(sessions(tls_tables)))
    wait_until(lambda: not sessions(tls_tables))
    assert tls_tables.execute("SHOW GLOBAL STATUS LIKE 'Aborted_clients'") == aborted


def test_without_tls_nobody_gets_in_who_must_use_it(tls_tables: Tables, refusal: Refusal) -> None:
    """MariaDB reports this like a wrong password."""
    assert "Access denied for user" in refusal(**OFF)

    tls_tables.execute(f"ALTER USER {USER}@127.0.0.1 REQUIRE NONE")
    tls_tables.execute("SET GLOBAL require_secure_transport = ON")
    try:
        assert "Access denied for user" in refusal(**OFF)
    finally:
        tls_tables.execute("SET GLOBAL require_secure_transport = OFF")
        tls_tables.execute(f"ALTER USER {USER}@127.0.0.1 REQUIRE SSL")


UNTRUSTED = "the database's certificate is not accepted: unable to get local issuer certificate"


def test_a_certificate_of_an_unknown_authority_is_not_accepted(refusal: Refusal, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

    assert refusal(DATABASE_TLS_CA_FILE=str(tmp_path / "other.pem")) == UNTRUSTED
    assert refusal(DATABASE_TLS_CA_FILE=None) == UNTRUSTED  # nor is it signed by an authority that the system trusts


def test_a_certificate_for_another_host_is_not_accepted(tls_server: PrivateMariaDB, refusal: Refusal) -> None:
    said = refusal(DATABASE_URL=url(tls_server.port, "localhost"))

    assert said.startswith("the database's certificate is not accepted: Hostname mismatch")


def test_a_man_in_the_middle_with_another_certificate_learns_nothing(tls_server: PrivateMariaDB, refusal: Refusal) -> None:
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(certificate)
    with man_in_the_middle(tls_server.port, certificate) as man:
        assert refusal(DATABASE_URL=url(man.port)) == UNTRUSTED
        assert man.received
        assert USER.encode() not in man.received

        # Encryption alone does not stop the attacker; the check of the certificate does.
        refusal(DATABASE_URL=url(man.port), **MODES["required"])
        assert USER.encode() in man.received


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_sent_in_clear_text_if_the_database_offers_no_tls(
    tls_server: PrivateMariaDB, refusal: Refusal, mode: str
) -> None:
    with man_in_the_middle(tls_server.port) as man:
        said = refusal(DATABASE_URL=url(man.port), **MODES[mode])

    assert said == "the database does not offer TLS, which DATABASE_TLS asks for"
    assert man.received
    assert USER.encode() not in man.received


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1", State.OK), ("db.example.com", State.NOTE)])
def test_a_connection_that_crosses_the_network_unencrypted_is_noted(
    environment: dict[str, str], settings_from: ReadSettings, host: str, state: State
) -> None:
    settings = settings_from(changed(environment, {**OFF, "DATABASE_URL": url(3306, host)}))

    found = connection_finding(None, settings)

    assert ("not encrypted" in found.found, found.state) == (True, state)


def test_a_unix_socket_is_used(tls_tables: Tables, environment: dict[str, str], settings_from: ReadSettings) -> None:
    tls_tables.live(1)
    live, _ = tls_tables.both()
    ((folder, name),) = tls_tables.execute("SELECT @@datadir, @@socket")
    socket = Path(((folder or b"") + (name or b"")).decode())
    tls_tables.execute("CREATE OR REPLACE USER by_socket@localhost IDENTIFIED BY 'secret'")
    tls_tables.execute("GRANT ALL ON asterisk.* TO by_socket@localhost")
    address = f"mysql+asyncmy://by_socket:secret@localhost/asterisk?unix_socket={socket}"
    settings = settings_from(changed(environment, {**OFF, "DATABASE_URL": address}))

    with TestClient(create_app(settings)) as client:
        answer = Api(client).archive_all([1])

    assert answer.json()["delete_count"] == 1
    assert tls_tables.both() == ({}, live)
    assert connection(settings) == Finding("connection", f"on this machine, through {socket}")


def test_the_migrations_take_the_same_settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TLS", "verify")
    monkeypatch.setenv("DATABASE_TLS_CA_FILE", environment["DATABASE_TLS_CA_FILE"])
    assert alembic(environment["DATABASE_URL"], "current").returncode == 0
