"""With any values of the server's variables, leads are archived and brought back as usual, or /readyz gives the reason.

Each variable is given each of its other values, hundreds of variables at once, in two dozen rounds. With
LEAD_ARCHIVE_VARIABLES=each it is one value at a time, which takes half an hour.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pymysql
import pytest
from mariadb import PrivateMariaDB
from starlette.testclient import TestClient
from support.api import Api
from support.databases import MARIADB_OPTIONS
from support.paths import databases
from support.process import PATIENCE
from support.server_variables import (
    ALONE,
    COMBINATIONS,
    NOT_TRIED,
    NUMBERS,
    OTHER_VERSIONS,
    REFUSED,
    SESSION_ONLY,
    STRINGS,
    Globals,
    Value,
    in_pairs,
)
from support.settings import read_from, write_keys_file
from support.tables import Tables
from support.variable_sites import SITES, RefusedError, Site

from service.app import create_app
from service.database.statements import Statements

Changes = Mapping[str, Value]

PRIVILEGES = "SELECT, INSERT, UPDATE, DELETE, LOCK TABLES, CREATE TEMPORARY TABLES"


class Sweep:
    """A MariaDB server with all sites. It is replaced if a variable breaks it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._keys_file = write_keys_file(folder)
        self._monkeypatch = monkeypatch
        self._numbers = count(1)
        self._step = 2 if os.environ.get("LEAD_ARCHIVE_BRIEF") else 1
        self._first_site = 0
        self._mariadb: PrivateMariaDB | None = None

    def start(self) -> None:
        self.stop()
        # Logs can be set only if they are enabled. A limit of connections can be set only if one exists.
        options = [option for option in MARIADB_OPTIONS if option != "--skip-log-bin"]
        options += ["--log-bin=binlog", "--server-id=1", "--max-user-connections=1000"]
        self._mariadb = mariadb = PrivateMariaDB(self._folder / str(next(self._numbers)), tuple(options))
        mariadb.start()
        self._connection = mariadb.connect(read_timeout=PATIENCE)
        self.execute("CREATE USER service@127.0.0.1 IDENTIFIED BY 'service'")
        self._sites = {f"site_{number}": name for number, name in enumerate(SITES)}
        self.sites = [Site(mariadb, name, database) for database, name in self._sites.items()]
        for database in self._sites:
            self.execute(f"GRANT {PRIVILEGES} ON {database}.* TO service@127.0.0.1")
        self.globals = Globals(self.execute)

    def connect(self) -> pymysql.connections.Connection[Any]:
        """A connection of the service's account."""
        assert self._mariadb is not None
        return pymysql.connect(
            host="127.0.0.1", port=self._mariadb.port, user="service", password="service", database="site_0"
        )

    def stop(self) -> None:
        if self._mariadb:
            self._mariadb.kill()

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def check(self, changes: Changes) -> None:
        """Check all sites, each with new connections of a service. Raise the errors of Site.check()."""
        self.globals.apply(changes)
        assert self._mariadb is not None
        for site in self.sites[self._first_site :: self._step]:
            environment = {
                "DATABASE_URL": f"mysql+asyncmy://service:service@127.0.0.1:{self._mariadb.port}/{site.tables.database}",
                "API_KEYS_FILE": str(self._keys_file),
                "OFFICE_HOURS": "none",
                "DATABASE_POOL_SIZE": "1",
                "LEAD_IDS_LIMIT": "2000",
            }
            app = create_app(read_from(self._monkeypatch, environment))
            with within(PATIENCE), TestClient(app, raise_server_exceptions=False) as client:
                site.check(Api(client))

    def take_turns(self) -> None:
        """With LEAD_ARCHIVE_BRIEF, check the other half of the sites from now on."""
        self._first_site = (self._first_site + 1) % self._step

    def failure(self, changes: Changes, may_refuse: bool = False) -> str | None:
        """Return why the check failed. None: it succeeded, or the service refused, which is allowed."""
        try:
            self.check(changes)
        except Exception as error:
            if not self._answers():
                self.start()
            refused = may_refuse and isinstance(error, RefusedError)
            return None if refused else f"{changes}: " * (len(changes) == 1) + "".join(traceback.format_exception(error)[-2:])
        return None

    def _answers(self) -> bool:
        try:
            self.globals.apply({})
        except Exception:
            return False
        return True

    def guilty(self, changes: Changes) -> list[str]:
        """Return the changes that make a check fail, each with its failure."""
        failure = self.failure(changes)
        if failure is None:
            return []
        if len(changes) == 1:
            return [failure]
        items = list(changes.items())
        halves = dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])
        return [each for half in halves for each in self.guilty(half)] or [f"only together, {list(changes)}: {failure}"]


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer."""

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError("no answer")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def sweep() -> Iterator[Sweep]:
    with TemporaryDirectory(dir=databases(), prefix="lead-archive-") as folder, pytest.MonkeyPatch.context() as monkeypatch:
        sweep = Sweep(Path(folder), monkeypatch)
        try:
            sweep.start()
            yield sweep
        finally:
            sweep.stop()


def rounds(sweep: Sweep) -> list[Changes]:
    """Return rounds. In each, every variable differs from its initial value. Together, they cover all values."""
    variables = [
        variable
        for name, variable in sweep.globals.variables.items()
        if variable.values and name not in NOT_TRIED and name not in ALONE
    ]
    if os.environ.get("LEAD_ARCHIVE_VARIABLES") == "each":
        return [{variable.name: value} for variable in variables for value in variable.values]
    values = {variable.name: in_pairs(variable) for variable in variables}
    return [
        {name: each[number % len(each)] for name, each in values.items()} for number in range(max(map(len, values.values())))
    ]


def test_whatever_the_variables_are_leads_are_archived_and_brought_back(sweep: Sweep) -> None:
    sweep.check({})
    failures = []
    for changes in rounds(sweep):
        failures += sweep.guilty(changes)
        sweep.take_turns()
    assert failures == []


@pytest.mark.parametrize("name", ALONE)
def test_what_the_service_does_not_work_with_readyz_tells(sweep: Sweep, name: str) -> None:
    variable = sweep.globals.variables[name]
    failures = [failure for value in variable.values if (failure := sweep.failure({name: value}, may_refuse=True))]
    assert failures == []


def test_every_variable_of_the_server_is_tried_or_has_a_reason(sweep: Sweep) -> None:
    sweep.globals.apply({})
    variables = sweep.globals.variables
    version = tuple(map(int, sweep.execute("SELECT VERSION()")[0][0].split(".")[:2]))
    named = {*ALONE, *COMBINATIONS, *NOT_TRIED, *NUMBERS, *SESSION_ONLY, *STRINGS, *OTHER_VERSIONS}
    expected = {name for name in named if name not in OTHER_VERSIONS or OTHER_VERSIONS[name](version)}
    assert {name for name in named if name in variables} == expected

    with contextlib.closing(sweep.connect()) as connection, connection.cursor() as cursor:
        taken = {name for name, variable in variables.items() if sweep.globals.takes(variable, cursor.execute)}
    assert variables.keys() - taken - NOT_TRIED.keys() == set()
    assert {name for name in taken if NOT_TRIED.get(name) == REFUSED} == set()


def test_what_a_site_forbids_is_forbidden_whatever_the_servers_defaults(
    tables: Tables, mariadb: PrivateMariaDB, new_api: Callable[..., Api]
) -> None:
    tables.execute("CREATE TABLE notes (lead_id INT UNSIGNED, FOREIGN KEY (lead_id) REFERENCES vicidial_list (lead_id))")
    tables.execute("ALTER TABLE vicidial_list_archive ADD CONSTRAINT CHECK (called_count < 100)")
    tables.live(1)
    tables.live(2, called_count=100)
    tables.execute("INSERT INTO notes VALUES (1)")
    before, _ = tables.both()
    with mariadb.connect() as connection, connection.cursor() as cursor:
        try:
            cursor.execute("SET GLOBAL foreign_key_checks = 0, GLOBAL check_constraint_checks = 0")
            api = new_api()
            api.archive_all([1])
            api.archive_all([2])
        finally:
            cursor.execute("SET GLOBAL foreign_key_checks = 1, GLOBAL check_constraint_checks = 1")
    live, archived = tables.both()
    assert live == before
    assert 2 not in archived


def test_the_locks_of_a_transaction_that_was_left_behind_are_given_back(tables: Tables, mariadb: PrivateMariaDB) -> None:
    tables.live(1)
    session = Statements.load().session.fill({"lock_wait_timeout": "1", "max_statement_time": "0.5"})
    left = mariadb.connect(tables.database, init_command=session)
    with contextlib.closing(left), left.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("UPDATE vicidial_list SET status = 'GONE'")
        deadline = time.monotonic() + PATIENCE
        tables.execute(f"SET SESSION innodb_lock_wait_timeout = {PATIENCE}")
        tables.execute("UPDATE vicidial_list SET status = 'NEXT'")
        assert time.monotonic() < deadline
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute("SELECT 1")
    assert tables.execute("SELECT status FROM vicidial_list") == [(b"NEXT",)]
