"""Tables that the account or the server cannot use: each is named by /readyz and in the 503, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, Account, account, problems
from support.tables import Tables

HOPPER = "vicidial_hopper"
BOTH = ["SELECT", "INSERT", "UPDATE", "DELETE"]


def granted(reader: Account, *others: str) -> None:
    for table in (LIST, ARCHIVE):
        reader.grant(", ".join(BOTH), table)
    for table in others:
        reader.grant("SELECT", table)
    reader.grant("CREATE TEMPORARY TABLES, REFERENCES", "*")


IN_USE = [
    "quality_control_queue",
    "vicidial_auto_calls",
    "vicidial_callbacks",
    "vicidial_email_list",
    HOPPER,
    "vicidial_inbound_callback_queue",
    "vicidial_live_agents",
    "vicidial_live_chats",
]


def make_sequence(tables: Tables) -> None:
    if (tables.execute("SELECT VERSION()")[0][0] or b"").startswith(b"10.5."):
        pytest.skip("MariaDB 10.5 does not check the privileges on a sequence")
    tables.execute("CREATE SEQUENCE numbers")


def refused(tables: Tables, api: Api, named: str) -> list[str | None]:
    """Assert that archive and dearchive are refused, and that the answers name a table. Return the remedies."""
    before = tables.both()
    found = problems(api)
    assert any(named in problem["message"] for problem in found), found
    for call in (api.archive_all, api.dearchive_all):
        response = call([1, 2])
        if response.status_code == 200:  # dearchive does not check whether leads are in use
            assert call == api.dearchive_all
            continue
        assert response.status_code == 503, response.json()
        assert named in response.json()["message"], response.json()
        assert tables.both() == before
    return [problem["remedy"] for problem in found]


def test_a_view_whose_table_was_dropped(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    tables.archived(2)
    tables.execute(f"RENAME TABLE {HOPPER} TO waiting")
    tables.execute(f"CREATE VIEW {HOPPER} AS SELECT * FROM waiting")
    api = new_api()
    assert problems(api) == []
    assert api.archive_all([2]).status_code == 200
    tables.execute("DROP TABLE waiting")
    for each in (api, new_api()):
        refused(tables, each, HOPPER)


@pytest.mark.parametrize("security", ["INVOKER", "DEFINER"])
def test_a_view_whose_table_is_denied(tables: Tables, new_api: Callable[..., Api], security: str) -> None:
    tables.live(1)
    tables.archived(2)
    tables.execute(f"RENAME TABLE {HOPPER} TO waiting")
    with account(tables) as reader:
        granted(reader, *IN_USE[:4], *IN_USE[5:])
        definer = "" if security == "INVOKER" else f"DEFINER = {reader.name} "
        reader.grant("SELECT", "waiting")
        tables.execute(f"CREATE {definer}SQL SECURITY {security} VIEW {HOPPER} AS SELECT * FROM waiting")
        reader.grant("SELECT", HOPPER)
        api = new_api(DATABASE_URL=reader.url)
        assert problems(api) == []
        assert api.archive_all([2]).status_code == 200
        reader.revoke("SELECT", "waiting")
        for each in (api, new_api(DATABASE_URL=reader.url)):
            refused(tables, each, HOPPER)
        reader.grant("SELECT", "waiting")
        assert problems(api) == []
        assert api.archive_all([1]).json()["delete_count"] == 1


@pytest.mark.parametrize("table", ["vicidial_auto_calls", "vicidial_live_agents", HOPPER, "vicidial_callbacks"])
def test_a_damaged_table_that_shows_leads_in_use(tables: Tables, new_api: Callable[..., Api], table: str) -> None:
    tables.live(1)
    tables.archived(2)
    tables.execute(f"ALTER TABLE {table} ENGINE = MyISAM")
    tables.execute(f"INSERT INTO {table} (lead_id) VALUES (0)")
    tables.execute(f"FLUSH TABLES {table}")
    (tables.mariadb.folder / "data" / tables.database / f"{table}.MYD").write_bytes(b"")

    refused(tables, new_api(), table)


@pytest.mark.parametrize(("table", "started"), [(LIST, True), (ARCHIVE, False), (HOPPER, True)])
def test_a_table_without_its_tablespace(tables: Tables, new_api: Callable[..., Api], table: str, started: bool) -> None:
    tables.live(1)
    tables.archived(2)
    api = new_api()
    if started:
        assert problems(api) == []
    tables.execute(f"ALTER TABLE {table} DISCARD TABLESPACE")
    found = problems(api)
    assert any(table in problem["message"] for problem in found), found
    for call in (api.archive_all, api.dearchive_all, api.compare):
        response = call([1, 2])
        if table == HOPPER and call == api.dearchive_all:
            continue
        assert response.status_code == 503, response.json()
        assert table in response.json()["message"], response.json()


@pytest.mark.parametrize(("table", "started"), [(LIST, True), (ARCHIVE, False)])
def test_a_default_that_takes_a_number_of_a_sequence_that_is_denied(
    tables: Tables, new_api: Callable[..., Api], started: bool, table: str
) -> None:
    make_sequence(tables)
    tables.live(1)
    tables.archived(2)
    with account(tables) as reader:
        granted(reader, *IN_USE)
        api = new_api(DATABASE_URL=reader.url)
        if started:
            assert problems(api) == []
        for each in (LIST, ARCHIVE):
            default = "DEFAULT (NEXT VALUE FOR numbers)" if each == table else ""
            tables.execute(f"ALTER TABLE {each} ADD COLUMN own BIGINT {default}")
        (problem,) = problems(api)
        assert "numbers" in problem["message"]
        way = "archive" if table == ARCHIVE else "dearchive"
        assert problem["operations"] == [way]
        before = tables.both()
        response = {"archive": api.archive_all, "dearchive": api.dearchive_all}[way]([1, 2])
        assert response.status_code == 503
        assert "numbers" in response.json()["message"]
        assert tables.both() == before

        tables.execute(problem["remedy"])

        assert problems(api) == []
        assert api.archive_all([1, 2]).json()["delete_count"] == 1
        assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
        assert tables.ids() == ([1, 2], [])


def test_a_sequence_that_is_denied_while_the_service_runs(tables: Tables, new_api: Callable[..., Api]) -> None:
    """No table definition shows the missing privilege, and it concerns all leads."""
    make_sequence(tables)
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own BIGINT")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own BIGINT DEFAULT (NEXT VALUE FOR numbers)")
    tables.live(1, 2, 3)
    with account(tables) as reader:
        granted(reader, *IN_USE)
        reader.grant("SELECT, INSERT", "numbers")
        api = new_api(DATABASE_URL=reader.url)
        assert api.archive_all([1]).json()["delete_count"] == 1
        before = tables.both()
        reader.revoke("INSERT", "numbers")

        response = api.archive_all([2, 3])

        assert response.status_code == 503
        assert "numbers" in response.json()["message"]
        assert "`python -m service grants` prints what it needs" in response.json()["message"]
        assert "no lead was deleted" in response.json()["message"]
        assert tables.both() == before
        assert "numbers" in problems(api)[0]["message"]
