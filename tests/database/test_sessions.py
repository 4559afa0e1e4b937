"""Sessions that init_connect has set up: one that hides a table or uses another database moves no lead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.databases import MARIADB_OPTIONS, create_database, migrate
from support.paths import SCRATCH
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

SITE, OTHER = "site", "other"
ACCOUNT = "'service'@'127.0.0.1'"

CLIENTS = 16
REPEATS = 24
"""Requests after the restart. A restarted server numbers its sessions from the beginning: some of them get the number of a
session that was there before."""


@pytest.fixture
def server() -> Iterator[PrivateMariaDB]:
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder, PrivateMariaDB(Path(folder), MARIADB_OPTIONS) as server:
        for database in (SITE, OTHER):
            create_database(server, database)
            migrate(server.url(database), "head")
        with server.connect() as connection, connection.cursor() as cursor:
            # init_connect is not run for accounts with SUPER.
            cursor.execute(f"CREATE USER {ACCOUNT} IDENTIFIED BY 'secret'")
            for database in (SITE, OTHER):
                cursor.execute(f"GRANT ALL PRIVILEGES ON {database}.* TO {ACCOUNT}")
        yield server


@pytest.mark.parametrize(
    "init_connect",
    [f"CREATE TEMPORARY TABLE {SITE}.vicidial_list_archive LIKE {SITE}.vicidial_list", f"USE {OTHER}"],
    ids=["a temporary table in the place of the archive", "another database"],
)
def test_after_a_restart_no_session_passes_for_one_that_was_looked_at(
    server: PrivateMariaDB, keys_file: Path, init_connect: str
) -> None:
    url = f"mysql+asyncmy://service:secret@127.0.0.1:{server.port}/{SITE}"
    with (
        ServiceProcess({"DATABASE_URL": url, "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        api = Api(client)
        for database in (SITE, OTHER):
            with server.connect(database) as connection, connection.cursor() as cursor:
                cursor.execute("INSERT INTO vicidial_list (lead_id, phone_number) VALUES (1, '1'), (2, '2')")
                connection.commit()
        answers = clients.map(lambda _: api.archive_all([1]).status_code, range(CLIENTS))
        assert set(answers) == {200}

        server.stop()
        server.start(f"--init-connect={init_connect}")

        assert {api.archive_all([2]).status_code for _ in range(REPEATS)} == {503}
        assert api.get("/readyz").status_code == 503

    for database, ids in ((SITE, ([2], [1])), (OTHER, ([1, 2], []))):
        tables = Tables(server, database)
        assert tables.ids() == ids
        tables.close()
