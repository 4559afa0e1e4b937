"""Sessions that init_connect or a trigger has changed: one that hides a table or uses another database moves no lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from support.remedies import problems
from support.tables import Tables

SITE, OTHER = "site", "other"
ACCOUNT = "'service'@'127.0.0.1'"

CLIENTS = 16
REPEATS = 24
"""How many requests to send after the restart. A restarted server numbers its sessions from 1 again, so some of them get the
number of an earlier session."""


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


USED = "INSERT INTO vicidial_hopper (lead_id) VALUES ({})"
HIDES = "CREATE TEMPORARY TABLE IF NOT EXISTS vicidial_hopper (lead_id INT)"
MADE_BY_A_TRIGGER = "a trigger or a stored function makes temporary tables, which may hide those of the site"


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("pace", ["gentle", "full"])
def test_a_temporary_table_of_a_trigger_hides_no_table_from_later_batches(
    tables: Tables, new_api: Callable[..., Api], pace: str
) -> None:
    """Temporary tables last as long as the session. Here, one hides the hopper, which says that lead 3 is in use."""
    api = new_api(DATABASE_POOL_SIZE="1", PACE=pace)
    tables.execute(f"CREATE TRIGGER hides BEFORE DELETE ON vicidial_list FOR EACH ROW BEGIN {HIDES}; END")
    tables.live(1, 2, 3)
    before, _ = tables.both()
    tables.execute(USED.format(3))

    answers = [api.archive_all([lead_id]) for lead_id in (1, 2, 3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[2].json()["remaining_lead_ids"] == [3]
    assert tables.both() == ({3: before[3]}, {1: before[1], 2: before[2]})


@pytest.mark.parametrize("body", [HIDES, "CREATE TEMPORARY TABLE IF NOT EXISTS vicidial_live_agents AS SELECT 1 AS lead_id"])
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_temporary_table_that_is_made_in_the_middle_of_a_batch_hides_no_table_from_it(
    tables: Tables, api: Api, body: str, request: pytest.FixtureRequest
) -> None:
    """Otherwise each DELETE would look for leads in use in the trigger's table."""
    tables.live(1, 2)
    tables.archived(2, status="NEW")
    tables.execute(f"CREATE TRIGGER hides BEFORE INSERT ON vicidial_list_archive FOR EACH ROW BEGIN {body}; END")
    live, archived = tables.both()
    assert problems(api) == []

    response = api.archive_all([1, 2])

    assert response.status_code == 503
    after = tables.both()
    if request.node.callspec.params["tables"] == "InnoDB":
        assert response.json()["message"] == (
            f"leads cannot be moved until an administrator mends this: {MADE_BY_A_TRIGGER}; nothing was changed"
        )
        assert after == (live, archived)
    else:
        assert after == (live, {**archived, 1: live[1]})
    assert [problem["message"] for problem in problems(api)] == [MADE_BY_A_TRIGGER]

    tables.execute("DROP TRIGGER hides")
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert (tables.both(), problems(api)) == (({}, live), [])


def test_a_temporary_table_that_hides_the_archive_hides_no_lead(tables: Tables, new_api: Callable[..., Api]) -> None:
    """Otherwise the next batch would find its copies in a table that is dropped at the end of the session."""
    api = new_api(DATABASE_POOL_SIZE="1")
    hides = "CREATE TEMPORARY TABLE IF NOT EXISTS vicidial_list_archive LIKE vicidial_list"
    tables.execute(f"CREATE TRIGGER hides AFTER DELETE ON vicidial_list FOR EACH ROW BEGIN {hides}; END")
    tables.live(1, 2)
    before, _ = tables.both()

    assert [api.archive_all([lead_id]).status_code for lead_id in (1, 2)] == [200, 200]
    assert api.compare([1]).json()["leads"][0]["in_archive"] is True
    assert tables.both() == ({}, before)


def test_a_temporary_table_of_a_stored_function_hides_no_table(tables: Tables, new_api: Callable[..., Api]) -> None:
    """A view instead of a table that shows leads in use can run a function."""
    api = new_api(DATABASE_POOL_SIZE="1")
    hides = "CREATE TEMPORARY TABLE IF NOT EXISTS vicidial_hopper (lead_id INT)"
    tables.execute(f"CREATE FUNCTION hides() RETURNS INT BEGIN {hides}; RETURN 4711; END")
    tables.execute("DROP TABLE vicidial_live_chats")
    tables.execute("CREATE VIEW vicidial_live_chats AS SELECT hides() AS lead_id, 'LIVE' AS status, NULL AS chat_id")
    tables.live(1, 2)
    tables.execute(USED.format(2))
    before, _ = tables.both()

    answers = [api.archive_all([lead_id]).status_code for lead_id in (1, 2)]

    assert 2 in tables.rows("vicidial_list")
    live, archived = tables.both()
    assert {**archived, **live} == before, answers


def test_the_temporary_tables_of_this_service_close_no_session(tables: Tables, new_api: Callable[..., Api]) -> None:
    api = new_api(DATABASE_POOL_SIZE="1")
    tables.execute("ALTER TABLE vicidial_list_archive MODIFY comments VARCHAR(200)")
    tables.archived(1, 2, 3)
    _, before = tables.both()

    connections = []
    for lead_id in (1, 2, 3):
        assert api.dearchive_all([lead_id]).json()["delete_count"] == 1
        connections += tables.execute("SHOW GLOBAL STATUS LIKE 'Connections'")

    assert len(set(connections)) == 1
    assert tables.both() == (before, {})
