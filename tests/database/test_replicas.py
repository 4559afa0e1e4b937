"""Asynchronous replicas end up with the same leads as the primary, even if their other tables differ.

The tables for leads in use are often MEMORY tables, which a restart empties, or are not replicated at all. Where the primary
logs a statement and not the rows that it changed, the replica runs it on its own tables.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.api import Api
from support.databases import create_database, migrate
from support.paths import SCRATCH
from support.process import PATIENCE
from support.replication import Replication, execute
from support.tables import Tables

ENGINES = [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("InnoDB", "MyISAM"), ("MyISAM", "InnoDB")]
"""Of vicidial_list and of vicidial_list_archive; the tables for leads in use have that of vicidial_list."""

DATABASE = "asterisk"

LEADS = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def replication() -> Iterator[Replication]:
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder, Replication(Path(folder)) as replication:
        yield replication


@pytest.fixture(params=ENGINES, ids="-".join)
def tables(replication: Replication, request: pytest.FixtureRequest) -> Iterator[Tables]:
    """The primary's value."""
    live, archive = request.param
    execute(replication.primary, f"DROP DATABASE IF EXISTS {DATABASE}")
    create_database(replication.primary, DATABASE)
    migrate(replication.primary.url(DATABASE), "head", "-x", f"engine={live}")
    tables = Tables(replication.primary, DATABASE)
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {archive}")
    yield tables
    tables.close()


@pytest.fixture
def binlog_format(tables: Tables, request: pytest.FixtureRequest) -> Iterator[str]:
    """Set the binlog_format of new connections."""
    tables.execute(f"SET GLOBAL binlog_format = '{request.param}'")
    yield request.param
    tables.execute("SET GLOBAL binlog_format = 'MIXED'")


def both_on_the_replica(replication: Replication) -> object:
    """Wait until the replica has applied everything, and return the rows of its two tables."""
    replication.wait()
    tables = Tables(replication.replica, DATABASE)
    rows = tables.both()
    tables.close()
    return rows


def use_leads(replication: Replication, tables: Tables) -> None:
    """Put leads 2 and 3 in use on the primary, and none on the replica."""
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY')")
    tables.execute("INSERT INTO vicidial_live_agents (lead_id, status) VALUES (3, 'INCALL')")
    replication.wait()
    for table in ("vicidial_hopper", "vicidial_live_agents"):
        execute(replication.replica, f"DELETE FROM {DATABASE}.{table}")


def check_the_ways_there_and_back(replication: Replication, tables: Tables, api: Api) -> None:
    """Archive the leads, bring some back, and archive them again over copies that are stale; 2 and 3 are in use meanwhile."""
    before, _ = tables.both()

    assert api.archive_all(LEADS).json()["remaining_lead_ids"] == [2, 3]
    assert tables.both() == ({2: before[2], 3: before[3]}, {lead_id: before[lead_id] for lead_id in (1, 4, 5)})
    assert both_on_the_replica(replication) == tables.both()

    answer = api.dearchive_all([1]).json()
    assert (answer["insert_count"], answer["delete_count"]) == (1, 1)
    answer = api.dearchive({"insert_leads": True, "delete_leads": False, "lead_ids": [5]}).json()
    assert (answer["insert_count"], answer["delete_count"]) == (1, 0)
    assert tables.ids() == ([1, 2, 3, 5], [4, 5])
    assert both_on_the_replica(replication) == tables.both()

    tables.execute("UPDATE vicidial_list SET comments = 'called again', modify_date = '2025-06-07 08:09:10'")
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (5, 'READY')")
    replication.wait()
    execute(replication.replica, f"DELETE FROM {DATABASE}.vicidial_hopper")
    changed, _ = tables.both()

    assert api.archive_all([1, 2, 3, 5]).json()["remaining_lead_ids"] == [2, 3, 5]
    assert tables.both() == (
        {2: changed[2], 3: changed[3], 5: changed[5]},
        {1: changed[1], 4: before[4], 5: before[5]},
    )
    assert both_on_the_replica(replication) == tables.both()


@pytest.mark.parametrize("binlog_format", ["ROW", "MIXED"], indirect=True)
@pytest.mark.usefixtures("binlog_format")
def test_a_replica_keeps_the_leads_that_are_in_use_on_the_primary(replication: Replication, tables: Tables, api: Api) -> None:
    tables.live(*LEADS)
    tables.archived(4, status="NEW")
    use_leads(replication, tables)
    check_the_ways_there_and_back(replication, tables, api)


@pytest.mark.parametrize("binlog_format", ["MIXED"], indirect=True)
@pytest.mark.usefixtures("binlog_format")
def test_a_replica_keeps_them_where_no_column_counts_by_itself(replication: Replication, tables: Tables, api: Api) -> None:
    """MIXED logs some statements by row only because they write to a table with an AUTO_INCREMENT."""
    tables.execute("ALTER TABLE vicidial_list MODIFY lead_id INT(9) UNSIGNED NOT NULL")
    tables.live(*LEADS)
    tables.archived(4, status="NEW")
    use_leads(replication, tables)
    check_the_ways_there_and_back(replication, tables, api)


@pytest.mark.parametrize("binlog_format", ["STATEMENT"], indirect=True)
@pytest.mark.usefixtures("binlog_format")
def test_a_primary_that_logs_statements_is_refused_until_it_is_fixed(
    replication: Replication, tables: Tables, api: Api
) -> None:
    tables.live(*LEADS)
    tables.archived(4, status="NEW")
    use_leads(replication, tables)
    before = tables.both()

    ready = api.get("/readyz")
    response = api.archive_all(LEADS)

    assert tables.both() == before
    assert both_on_the_replica(replication) == before
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert ready.status_code == 503
    remedies = [problem["remedy"] for problem in ready.json()["problems"]]
    assert remedies == ["SET GLOBAL binlog_format = 'MIXED'"]

    tables.execute(remedies[0])
    # A connection keeps the format with which it was opened.
    deadline = time.monotonic() + PATIENCE
    while api.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, api.get("/readyz").json()
        time.sleep(0.1)
    check_the_ways_there_and_back(replication, tables, api)


@pytest.mark.parametrize("binlog_format", ["MIXED"], indirect=True)
@pytest.mark.usefixtures("binlog_format")
def test_no_change_of_a_lead_is_logged_as_a_statement(replication: Replication, tables: Tables, api: Api) -> None:
    tables.live(*LEADS, comments="as long as it is")
    tables.archived(4, status="NEW")
    use_leads(replication, tables)
    start = replication.position()

    assert api.archive_all(LEADS).json()["update_count"] == 1
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    tables.execute("ALTER TABLE vicidial_list MODIFY comments VARCHAR(5)")
    assert api.dearchive_all([4]).json()["remaining_lead_ids"] == [4]

    logged = replication.logged_since(start)
    statements = [info for kind, info in logged if kind == "Query" and not info.endswith(("BEGIN", "COMMIT"))]
    assert [info for info in statements if not re.search("TEMPORARY|ALTER", info)] == []
    assert {"Write_rows_v1", "Update_rows_v1", "Delete_rows_v1"} <= {kind for kind, _ in logged}
