"""Fixtures of all tests: one private MariaDB server for the run, databases on it, services and API clients."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from mariadb import PrivateMariaDB
from pymysql.constants import CLIENT
from starlette.testclient import TestClient
from support.api import Api
from support.databases import BERLIN, MARIADB_OPTIONS, create_database, creation_of, migrate
from support.fixtures import NewDatabase, NewService, ReadSettings
from support.generated import generate
from support.paths import SCRATCH, databases
from support.process import ServiceProcess
from support.refusals import OFFICE_HOURS, OUTSIDE, Refusals
from support.settings import read_from, write_keys_file
from support.tables import Tables

from service.api.contract import Contract
from service.app import create_app
from service.settings import Settings

VERSION = pytest.StashKey[str]()
"""The version of the MariaDB server of this run."""


@pytest.fixture(scope="session")
def mariadb(pytestconfig: pytest.Config) -> Iterator[PrivateMariaDB]:
    with (
        TemporaryDirectory(dir=databases(), prefix="lead-archive-") as folder,
        PrivateMariaDB(Path(folder), MARIADB_OPTIONS, timezone=BERLIN) as server,
    ):
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            keep_version(pytestconfig, cursor.fetchall()[0][0])
        yield server


def keep_version(config: pytest.Config, version: str) -> None:
    """Store the server's version for the summary. With several worker processes, another process prints the summary."""
    config.stash[VERSION] = version
    if hasattr(config, "workeroutput"):
        config.workeroutput["mariadb"] = version


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Store the server's version that a finished worker process reports."""
    if version := getattr(node, "workeroutput", {}).get("mariadb"):
        node.config.stash[VERSION] = version


SLOW_FILES = (
    "test_server_variables.py",
    "test_sites.py",
    "test_table_locks.py",
    "test_openapi.py",
    "test_schemathesis_cli.py",
    "test_cluster.py",
)
"""They are started first. Otherwise one process would still run one of them when the others have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOW_FILES.index(item.path.name) if item.path.name in SLOW_FILES else len(SLOW_FILES))


@pytest.fixture(scope="session")
def new_database(mariadb: PrivateMariaDB) -> NewDatabase:
    """Create databases quickly: migrate once for each engine, and copy the tables with CREATE TABLE ... LIKE."""
    numbers = itertools.count(1)
    templates: dict[str, list[str]] = {}

    def new(engine: str = "InnoDB") -> str:
        template = f"template_{engine}"
        name = f"test_{next(numbers)}"
        if engine not in templates:
            create_database(mariadb, template)
            migrate(mariadb.url(template), "head", "-x", f"engine={engine}")
            with mariadb.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"SHOW TABLES FROM {template} WHERE Tables_in_{template} <> 'alembic_version'")
                templates[engine] = [table for (table,) in cursor.fetchall()]
        with mariadb.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
            copies = [f"CREATE TABLE {name}.{table} LIKE {template}.{table}" for table in templates[engine]]
            cursor.execute("; ".join([creation_of(name), *copies]))
            while cursor.nextset():
                pass
        return name

    return new


@pytest.fixture(scope="session")
def new_service(mariadb: PrivateMariaDB, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> NewService:
    """new_service(SETTING="value", ...) -> a service process with its tables, until the end of the block, for modules whose
    tests share a service."""

    @contextlib.contextmanager
    def new(**settings: str) -> Iterator[tuple[ServiceProcess, Tables]]:
        tables = Tables(mariadb, new_database())
        keys_file = write_keys_file(tmp_path_factory.mktemp("keys"))
        required = {"DATABASE_URL": tables.url, "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}
        with ServiceProcess({**required, **settings}) as service:
            yield service, tables
        tables.drop()

    return new


@pytest.fixture(scope="session")
def generated() -> Iterator[Path]:
    """A folder with the examples, the clients generated for them, and a link to node_modules."""
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder:
        generate(Path(folder))
        yield Path(folder)


@pytest.fixture
def tables(mariadb: PrivateMariaDB, new_database: NewDatabase, request: pytest.FixtureRequest) -> Iterator[Tables]:
    """A database for one test, InnoDB unless the test is parametrized with engines."""
    engine = getattr(request, "param", "InnoDB")
    name = new_database(engine)
    tables = Tables(mariadb, name)
    yield tables
    tables.drop()


@pytest.fixture
def strict_server(mariadb: PrivateMariaDB) -> Iterator[None]:
    """A server with the strictest sql_mode as the default of sessions."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL sql_mode = 'TRADITIONAL,NO_ZERO_DATE,NO_ZERO_IN_DATE'")
        yield
        cursor.execute("SET GLOBAL sql_mode = DEFAULT")


@pytest.fixture(scope="session", autouse=True)
def one_contract() -> Iterator[None]:
    """Read the contract once for all applications of this process with the same limit. Nobody changes it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("service.app.Contract", functools.cache(Contract))
        yield


@pytest.fixture(autouse=True)
def readiness_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make /readyz check at each request: a cached answer would show the state before the test's change."""
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 0.0)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an application that has just started look for foreign keys without the pauses between its looks, and do without
    tables of leads in use that are missing."""
    monkeypatch.setattr("service.tables.table_reader.LOOK_PAUSE", 0.0)
    monkeypatch.setattr("service.tables.table_reader.GONE_AFTER", 0.0)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return write_keys_file(tmp_path)


@pytest.fixture
def environment(tables: Tables, keys_file: Path) -> dict[str, str]:
    """The settings that have no default."""
    return {"DATABASE_URL": tables.url, "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}


@pytest.fixture
def settings_from(monkeypatch: pytest.MonkeyPatch) -> ReadSettings:
    """settings_from(environment) -> the settings that the service reads from it, without the environment of the tests."""

    def read(environment: dict[str, str]) -> Settings:
        return read_from(monkeypatch, environment)

    return read


@pytest.fixture
def new_api(environment: dict[str, str], settings_from: ReadSettings) -> Iterator[Callable[..., Api]]:
    """new_api(now=..., SETTING="value", ...) -> an API of its own, on the tables of the test."""
    with contextlib.ExitStack() as stack:

        def new(now: Callable[[], datetime] | None = None, **settings: str) -> Api:
            app = create_app(settings_from({**environment, **settings}), now)
            return Api(stack.enter_context(TestClient(app, raise_server_exceptions=False)))

        yield new


@pytest.fixture
def api(new_api: Callable[..., Api]) -> Api:
    return new_api()


@pytest.fixture(scope="module")
def refusals_of_module(
    mariadb: PrivateMariaDB, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Refusals]:
    tables = Tables(mariadb, new_database())
    keys_file = write_keys_file(tmp_path_factory.mktemp("keys"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = read_from(monkeypatch, {"DATABASE_URL": tables.url, "API_KEYS_FILE": str(keys_file), **OFFICE_HOURS})
    refusals = Refusals(tables, settings)
    with refusals.served():
        yield refusals
    tables.execute(f"DROP DATABASE {tables.database}")
    tables.close()


@pytest.fixture
def refusals(refusals_of_module: Refusals) -> Iterator[Refusals]:
    """An API whose tables must be unchanged at the end of the test, for requests that change nothing."""
    refusals_of_module.now = OUTSIDE
    yield refusals_of_module
    refusals_of_module.check()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the server's version, and a table of the rounds of test_chaos.py with their results."""
    version = terminalreporter.config.stash.get(VERSION, None)
    if version:
        terminalreporter.write_line(f"MariaDB says that it is {version}")
    outcomes = ("passed", "failed")
    reports = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, []) if report.when == "call"]
    rounds = [(report, dict(report.user_properties)) for report in reports if dict(report.user_properties).get("disaster")]
    if rounds:
        terminalreporter.section("chaos")
        line = "{:<6} {:<20} {:<14} {:>8} {:>9} {:>10}  {}".format
        terminalreporter.write_line(line("", "disaster", "engines", "deleted", "slowest", "recovered", "answers"))
        for report, seen in rounds:
            answers = ", ".join(f"{count} x {status}" for status, count in seen["answers"].items())
            seconds = [f"{seen[name]} s" for name in ("slowest", "recovered")]
            terminalreporter.write_line(
                line(report.outcome, seen["disaster"], seen["engines"], seen["deleted"], *seconds, answers)
            )
        lost = sum(report.outcome != "passed" for report, _ in rounds)
        terminalreporter.write_line(f"{len(rounds)} rounds, {lost} failed")
