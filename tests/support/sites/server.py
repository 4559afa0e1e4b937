"""A server for sites, and one site on it: create, serve, fix and drop it. All steps are recorded as SQL."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner
from httpx2 import Response
from mariadb import PrivateMariaDB
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from service.__main__ import main
from service.app import create_app
from support.api import Api
from support.databases import create_database, migrate
from support.settings import read_from
from support.sites.columns import ARCHIVE, LIST
from support.sites.drawn import Call, Lead, Site
from support.sites.rows import SESSION, Reader, insert_statement
from support.sites.surroundings import IN_USE_TABLES, PRINTED
from support.tables import literal

OPTIONS = (
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--sync-frm=0",
    "--max-allowed-packet=64M",
    "--log-bin=changes",
    "--expire-logs-days=1",
    "--max-binlog-size=16M",
)
"""Quick, and without durability. A binary log is written, so that its format matters."""

LENIENT = "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
STRICT = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
"""The default of servers: an ALTER TABLE that would damage a value fails."""

VISIBLE = "SET SESSION sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615, sql_big_selects = 1"
"""What a session needs to see all rows of a query, whatever the variables of a site are."""

FOREIGN_KEYS = (
    "SELECT 1 FROM information_schema.referential_constraints"
    f" WHERE (unique_constraint_schema = '<db>' AND referenced_table_name IN ('{LIST}', '{ARCHIVE}'))"
    f" OR (constraint_schema = '<db>' AND table_name IN ('{LIST}', '{ARCHIVE}'))"
)

PASSWORD = "secret"

NO_SUCH_TABLE = 1146

ORDINARY = {
    "entry_date": "'2024-02-03 04:05:06'",
    "modify_date": "'2024-03-01 10:20:30'",
    "status": "'SALE'",
    "list_id": "998",
    "first_name": "_utf8mb4 'José'",
    "last_name": "_utf8mb4 'Müller'",
    "comments": "NULL",
    "owner": "''",
}


class SiteServer:
    """A MariaDB server. Sites may change its tables, accounts and global variables."""

    def __init__(self, mariadb: PrivateMariaDB) -> None:
        self.mariadb = mariadb
        self.connection = mariadb.connect(use_unicode=False, conv={})
        self.reader_session = mariadb.connect(use_unicode=False, conv={})
        with self.reader_session.cursor() as cursor:
            cursor.execute(SESSION)
        create_database(mariadb, "template")
        migrate(mariadb.url("template"), "head")
        self.number = 0
        self.refused: Counter[str] = Counter()
        """Counts the statements of sites that MariaDB refused. They have no effect on the site."""
        self.outcomes: Counter[str] = Counter()

    @contextmanager
    def site(self, site: Site, keys_file: Path) -> Iterator[World]:
        self.number += 1
        world = World(self, site, f"site{self.number}", keys_file)
        try:
            world.make()
            yield world
        finally:
            world.drop()

    def close(self) -> None:
        self.connection.close()
        self.reader_session.close()


class World:
    """A site that exists on the server."""

    def __init__(self, server: SiteServer, site: Site, database: str, keys_file: Path) -> None:
        self.server = server
        self.site = site
        self.database = database
        self.account = f"'{database}'@'127.0.0.1'"
        self.keys_file = keys_file
        self.script: list[str] = []
        self.reader = Reader(server.reader_session, database)
        self._variables: dict[str, Any] = {}
        self._served: Any = None
        self.is_readable = True
        self.in_use: dict[int, frozenset[str]] = {}

    def execute(self, statement: str) -> None:
        """Run a statement as an administrator, and record it."""
        self.script.append(f"{statement};")
        with self.server.connection.cursor() as cursor:
            values = {}
            for variable in re.findall(r"(?i)SET GLOBAL (\w+)", statement):
                cursor.execute(f"SELECT @@global.{variable}")
                ((values[variable],),) = cursor.fetchall()
            cursor.execute(statement)
            self._variables = {**values, **self._variables}

    def attempt(self, name: str, statement: str, expected: tuple[int, ...] = ()) -> int:
        """Run a statement of the site. Return the number of the error, or 0 for success.

        A statement that MariaDB refuses has no effect. It is counted in `refused` unless the error is expected.
        """
        try:
            self.execute(statement.replace("<db>", self.database).replace("{account}", self.account))
        except pymysql.err.MySQLError as error:
            code = int(error.args[0])
            self.script[-1] = f"-- refused ({code}): {self.script[-1]}"
            if code not in expected:
                self.server.refused[name] += 1
            return code
        return 0

    def make(self) -> None:
        database = self.database
        self.execute(LENIENT)
        self.execute(f"CREATE DATABASE {database} CHARACTER SET utf8 COLLATE utf8_unicode_ci")
        self.execute(f"USE {database}")
        for table in (LIST, ARCHIVE, *IN_USE_TABLES):
            self.execute(f"CREATE TABLE {table} LIKE template.{table}")
        for each in self.site.peculiarities:
            for statement in each.early:
                self.attempt(each.name, statement)
        try:
            self._fill()
        except pymysql.err.OperationalError:  # a MERGE table over tables with different definitions cannot be opened
            self.is_readable = False
            return
        for each in self.site.peculiarities:
            for lead_id, where, statement in each.in_use:
                if not self.attempt(each.name, statement) and where and self.site.leads_in_use == "keep":
                    self.in_use[lead_id] = self.in_use.get(lead_id, frozenset()) | {where}
            for statement in each.late:
                self.attempt(each.name, statement)
        self.execute(f"CREATE USER {self.account} IDENTIFIED BY '{PASSWORD}'")
        for statement in self._printed() if self.site.grants == PRINTED else self.site.grants:
            self.attempt("grants", statement, expected=(NO_SUCH_TABLE,))  # they name tables that some versions lack
        for each in self.site.peculiarities:
            for variable, value in each.variables:
                self.attempt(each.name, f"SET GLOBAL {variable} = {value}")

    def _fill(self) -> None:
        seen = self.reader.read()
        for position, lead in enumerate(self.site.leads):
            for number, (table, values) in enumerate(((LIST, lead.live), (ARCHIVE, lead.archived))):
                if values is not None:
                    row = self._row(position, lead, number, values)
                    self.attempt("a row", insert_statement(table, seen.columns[table], *row))

    def _row(self, position: int, lead: Lead, number: int, values: dict[str, str]) -> tuple[int, dict[str, str]]:
        own = {}
        for column in self.site.columns:
            if column.values:
                shift = number if lead.own_values_differ else 0
                own[column.names[number]] = column.values[(position + shift) % len(column.values)]
        return lead.lead_id, {**ORDINARY, "phone_number": f"'21255501{position:02}'", **own, **values}

    def _printed(self) -> list[str]:
        """Return the statements that `python -m service grants` prints."""
        environment = {"DATABASE_URL": self.server.mariadb.url(self.database), **self._settings()}
        result = CliRunner().invoke(main, ["grants", self.account], env=environment)
        assert result.exit_code == 0, result.output
        return [statement for statement in result.stdout.split(";\n") if statement.strip()]

    def _settings(self) -> dict[str, str]:
        return {"API_KEYS_FILE": str(self.keys_file), "OFFICE_HOURS": "none", "LEADS_IN_USE": self.site.leads_in_use}

    @contextmanager
    def served(self) -> Iterator[Api]:
        """Start the service, and yield its API."""
        url = f"mysql+asyncmy://{self.database}:{PASSWORD}@127.0.0.1:{self.server.mariadb.port}/{self.database}"
        self.script.append(f"-- the service starts, as {self.account}, with LEADS_IN_USE={self.site.leads_in_use}")
        with pytest.MonkeyPatch.context() as monkeypatch:
            settings = read_from(monkeypatch, {"DATABASE_URL": url, "DATABASE_POOL_SIZE": "1", **self._settings()})
            # The requests are short, and values are longer than a packet of this length without being too long for a test.
            monkeypatch.setattr("service.app.LEAST_PACKET", 1024 * 1024)
            app = create_app(settings)
        with capture_logs(), TestClient(app, raise_server_exceptions=False) as client:
            yield Api(client)

    def call(self, api: Api, call: Call) -> Response:
        response = api.post(json.dumps(call.body), f"/vicidial/leads/{call.operation}")
        self.script.append(f"-- POST /vicidial/leads/{call.operation} {json.dumps(call.body)}")
        self.script.append(f"-- {response.status_code} {response.text}")
        return response

    def problems(self, api: Api) -> list[dict[str, Any]]:
        """Return the problems that /readyz reports."""
        response = api.get("/readyz")
        self.script.append(f"-- GET /readyz: {response.status_code} {response.text}")
        problems: list[dict[str, Any]] = response.json()["problems"]
        assert response.status_code == (503 if problems else 200)
        return problems

    def drop(self) -> None:
        """Drop everything that the site created, and reset the server's variables."""
        with self.server.connection.cursor() as cursor:
            for variable, value in self._variables.items():
                text = value.decode() if isinstance(value, bytes) else value
                number = text is not None and re.fullmatch(r"-?[\d.]+", text)
                cursor.execute(f"SET GLOBAL {variable} = {text if number else literal(text)}")
            cursor.execute(f"DROP USER IF EXISTS {self.account}")
            with suppress(pymysql.err.MySQLError):
                cursor.execute(f"DROP ROLE {self.database}_role")
            cursor.execute("SET SESSION foreign_key_checks = 0")
            cursor.execute(f"DROP DATABASE IF EXISTS {self.database}_crm")
            cursor.execute(f"DROP DATABASE IF EXISTS {self.database}")
            cursor.execute("SET SESSION foreign_key_checks = 1")

    def _connect(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        port = self.server.mariadb.port
        return pymysql.connect(host="127.0.0.1", port=port, user=self.database, password=PASSWORD, database=self.database)

    def can_connect(self) -> bool:
        """Return whether the account can connect to the database."""
        try:
            self._connect().close()
        except pymysql.err.MySQLError:
            return False
        return True

    def foreign_keys_act(self) -> bool:
        """Return whether the account sees a foreign key of the two tables: then the service leaves the checks on."""
        if not any(each.by_foreign_key for each in self.site.peculiarities) or not self.can_connect():
            return False
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(VISIBLE)
            cursor.execute(FOREIGN_KEYS.replace("<db>", self.database))
            return bool(cursor.fetchall())
