"""Servers with unusual options: the service sets the session variables that it relies on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.auditor import read
from support.databases import MARIADB_OPTIONS, create_database, migrate
from support.paths import SCRATCH
from support.tables import Tables

OPTIONS = {
    "binary log of both kinds": ("--log-bin=binlog", "--server-id=1", "--binlog-format=MIXED"),
    "binary log by row": ("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--binlog-row-image=MINIMAL"),
    "as strict as can be": (
        "--transaction-isolation=SERIALIZABLE",
        "--innodb-snapshot-isolation=ON",
        "--sql-mode=TRADITIONAL,ONLY_FULL_GROUP_BY,ANSI,PIPES_AS_CONCAT",
        "--innodb-rollback-on-timeout=ON",
        "--completion-type=CHAIN",
    ),
    "old and forgetful": ("--character-set-server=latin1", "--wait-timeout=1", "--sql-mode=", "--lower-case-table-names=1"),
}


@pytest.fixture(params=list(OPTIONS.values()), ids=list(OPTIONS))
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    with (
        TemporaryDirectory(dir=SCRATCH) as folder,
        PrivateMariaDB(Path(folder), tuple(o for o in MARIADB_OPTIONS if o != "--skip-log-bin") + request.param) as server,
    ):
        create_database(server, "asterisk")
        migrate(server.url("asterisk"), "head")
        tables = Tables(server, "asterisk")
        tables.execute("SET SESSION wait_timeout = 100")
        yield tables
        tables.close()


def test_leads_are_archived_all_the_same(tables: Tables, new_api: Callable[..., Api]) -> None:
    api = new_api(DATABASE_POOL_SIZE="1")
    tables.live(0, 1, 2, 3, date_of_birth="2020-02-00", comments="\\'\"%s:x😀")
    tables.archived(2, status="NEW")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")
    before, _ = tables.both()
    for _ in range(2):
        response = api.archive_all([3, 2, 1, 0])
        time.sleep(1.2)  # longer than the forgetful server keeps a connection
        assert response.status_code == 200, response.json()
        assert response.json()["remaining_lead_ids"] == [3]
    assert api.archive_all([99]).status_code == 404
    lead = before.pop(3)
    assert tables.both() == ({3: lead}, before)


MIXED = [("InnoDB", "MyISAM"), ("MyISAM", "InnoDB")]


@pytest.mark.parametrize("tables", [("--innodb-rollback-on-timeout=ON",)], indirect=True, ids=["rolls back on timeout"])
@pytest.mark.parametrize("engines", MIXED, ids=["the list is InnoDB", "the archive is InnoDB"])
@pytest.mark.parametrize("operation", ["archive", "dearchive"])
def test_counts_are_right_where_a_timeout_rolls_back_what_only_one_table_can(
    tables: Tables, new_api: Callable[..., Api], tmp_path: Path, engines: tuple[str, str], operation: str
) -> None:
    """Somebody has locked a lead, so that the statement fails which reaches it after others have succeeded."""
    names = ("vicidial_list", "vicidial_list_archive")
    tables.set_engines(*engines)
    lead_ids = list(range(1, 301))
    source = names[operation == "dearchive"]
    for lead_id in lead_ids:
        tables.insert(source, lead_id)
    before = tables.both()[operation == "dearchive"]
    locked = names[engines.index("InnoDB")]
    if locked != source:  # a copy that waits to be committed
        lock = f"INSERT INTO {locked} (lead_id, phone_number) VALUES (200, '')"
    else:
        lock = f"SELECT 1 FROM {locked} WHERE lead_id = 200 FOR UPDATE"
    audit = tmp_path / "audit.jsonl"
    api = new_api(PACE="full", AUDIT_LOG=str(audit))
    move = getattr(api, f"{operation}_all")
    with ThreadPoolExecutor(1) as client, tables.mariadb.connect(tables.database, autocommit=False) as other:
        other.cursor().execute(lock)
        answer = client.submit(move, lead_ids)
        time.sleep(2)
        other.rollback()
        response = answer.result()

    assert response.status_code == 200, response.json()
    assert (response.json()["delete_count"], response.json()["remaining_lead_ids"]) == (300, [])
    assert tables.both()[:: -1 if operation == "dearchive" else 1] == ({}, before)
    assert sorted(read(audit)[-1]["deleted_lead_ids"]) == lead_ids
