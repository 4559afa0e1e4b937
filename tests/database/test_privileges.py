"""Privileges of the account: those that it lacks are detected before a lead is moved, and reported with the remedy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, Account, account, apply_remedies, named, problems, refused_until_fixed
from support.tables import IN_USE_TABLES, Tables

NewApi = Callable[..., Api]

BOTH = (LIST, ARCHIVE)
ALL = "SELECT, INSERT, UPDATE, DELETE"


@pytest.fixture
def bare(tables: Tables) -> Iterator[Account]:
    """An account without privileges."""
    with account(tables) as bare:
        yield bare


@pytest.fixture
def granted(bare: Account, tables: Tables) -> Account:
    """An account with the privileges that the service needs, on single tables."""
    for table in BOTH:
        bare.grant(ALL, table)
    bare.grant("REFERENCES, CREATE TEMPORARY TABLES", "*")
    for (shown,) in tables.execute("SHOW TABLES"):
        if (name := (shown or b"").decode()) in IN_USE_TABLES:
            bare.grant("SELECT", name)
    return bare


@pytest.mark.parametrize(
    ("table", "privilege"),
    [(table, privilege) for table in BOTH for privilege in ("SELECT", "INSERT", "DELETE")] + [(ARCHIVE, "UPDATE")],
)
def test_each_privilege_on_the_two_tables_is_needed(
    tables: Tables, granted: Account, new_api: NewApi, table: str, privilege: str
) -> None:
    tables.live(1, 2)
    tables.archived(2, status="NEW")
    granted.revoke(privilege, table)
    api = new_api(DATABASE_URL=granted.url)
    done = refused_or_dearchive_refused(tables, api)
    assert f"GRANT {privilege} ON `{tables.database}`.`{table}` TO {granted.name}" in done


def refused_or_dearchive_refused(tables: Tables, api: Api) -> list[str]:
    """Archive and dearchive. What /readyz reports is refused and changes nothing, and succeeds after the remedies."""
    operations = {operation for problem in problems(api) for operation in problem["operations"]}
    assert operations
    before = tables.both()
    if "archive" in operations:
        assert api.archive_all([1, 2]).status_code == 503
    if "dearchive" in operations:
        assert api.dearchive_all([2]).status_code == 503
    assert tables.both() == before
    done = apply_remedies(tables, api)
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == ({}, before[0])
    assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == (before[0], {})
    return done


def test_update_of_the_list_is_not_needed_on_a_single_server(tables: Tables, granted: Account, new_api: NewApi) -> None:
    tables.live(1)
    granted.revoke("UPDATE", LIST)
    api = new_api(DATABASE_URL=granted.url)
    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([1], [])


def test_temporary_tables_are_needed_only_where_columns_differ(tables: Tables, granted: Account, new_api: NewApi) -> None:
    tables.live(1, 2)
    granted.revoke("CREATE TEMPORARY TABLES", "*")
    api = new_api(DATABASE_URL=granted.url)
    assert problems(api) == []
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(300)")
    assert [problem["operations"] for problem in problems(api)] == [["dearchive"]]
    assert "CREATE TEMPORARY TABLES" in refused_or_dearchive_refused_twice(tables, api)


def refused_or_dearchive_refused_twice(tables: Tables, api: Api) -> str:
    tables.archived(3)
    before = tables.both()
    assert api.dearchive_all([3]).status_code == 503
    assert api.archive_all([1]).json()["delete_count"] == 1
    (done,) = apply_remedies(tables, api)
    assert api.dearchive_all([3]).json()["delete_count"] == 1
    assert tables.ids() == ([2, 3], [1])
    assert tables.rows(LIST)[3] == before[1][3]
    return done


def columns_of(tables: Tables, table: str) -> str:
    return ", ".join(f"`{(name or b'').decode()}`" for name, *_ in tables.execute(f"SHOW COLUMNS FROM {table}"))


def test_a_column_that_the_account_may_not_see_is_never_lost(tables: Tables, granted: Account, new_api: NewApi) -> None:
    """With privileges on columns, information_schema shows the account these columns only."""
    for table in BOTH:
        columns = columns_of(tables, table)
        granted.revoke("SELECT", table)
        granted.grant(f"SELECT ({columns})", table)
    tables.live(1)
    api = new_api(DATABASE_URL=granted.url)
    assert problems(api) == []
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN contract_no VARCHAR(20)")
    tables.execute(f"UPDATE {LIST} SET contract_no = 'C-4711'")
    refused_until_fixed(tables, api, "may not see the column contract_no of vicidial_list", [1])
    assert named(tables, ARCHIVE)[1]["contract_no"] == b"C-4711"


def test_a_column_that_the_account_may_not_write_is_named(tables: Tables, granted: Account, new_api: NewApi) -> None:
    for privilege in ("INSERT", "UPDATE"):
        columns = columns_of(tables, ARCHIVE)
        granted.revoke(privilege, ARCHIVE)
        granted.grant(f"{privilege} ({columns})", ARCHIVE)
    tables.live(1, 2)
    tables.archived(2, status="NEW")
    api = new_api(DATABASE_URL=granted.url)
    assert problems(api) == []
    for table in BOTH:
        tables.execute(f"ALTER TABLE {table} ADD COLUMN own INT DEFAULT 7")
    refused_until_fixed(tables, api, "own", [1, 2])


def test_a_generated_column_that_dearchive_may_not_read_back_is_named(
    tables: Tables, granted: Account, new_api: NewApi
) -> None:
    """MariaDB asks for INSERT on what RETURNING reads."""
    columns = columns_of(tables, LIST)
    for table in BOTH:
        tables.execute(f"ALTER TABLE {table} ADD COLUMN own INT AS (1)")
    granted.revoke("INSERT", LIST)
    granted.grant(f"INSERT ({columns})", LIST)
    tables.archived(1)
    _, before = tables.both()
    api = new_api(DATABASE_URL=granted.url)

    (problem,) = problems(api)
    assert "for column 'own' in table 'vicidial_list'" in problem["message"]
    assert problem["operations"] == ["dearchive"]
    assert api.dearchive_all([1]).status_code == 503
    assert tables.both() == ({}, before)

    tables.execute(problem["remedy"])

    assert problems(api) == []
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.both() == (before, {})


@pytest.mark.parametrize(("insert", "remedies"), [("*.*", 0), ("*", 0), (ARCHIVE, 0), ("some columns", 1)])
def test_what_is_granted_beside_select_on_all_databases_counts(
    tables: Tables, bare: Account, new_api: NewApi, insert: str, remedies: int
) -> None:
    """information_schema.columns then does not list what is granted on the database."""
    tables.execute(f"GRANT SELECT ON *.* TO {bare.name}")
    bare.grant("INSERT, UPDATE, DELETE" if insert == "*" else "UPDATE, DELETE", "*")
    bare.grant("INSERT", LIST)
    if insert == "*.*":
        tables.execute(f"GRANT INSERT ON *.* TO {bare.name}")
    elif insert == ARCHIVE:
        bare.grant("INSERT", ARCHIVE)
    elif insert == "some columns":
        bare.grant(f"INSERT ({columns_of(tables, ARCHIVE).replace(', `comments`', '')})", ARCHIVE)
    tables.live(1)
    before, _ = tables.both()
    api = new_api(DATABASE_URL=bare.url)

    done = apply_remedies(tables, api)

    assert done == [f"GRANT INSERT ON `{tables.database}`.`{ARCHIVE}` TO {bare.name}"] * remedies
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)


def test_what_a_role_grants_counts(tables: Tables, bare: Account, new_api: NewApi) -> None:
    role = f"archivists_{tables.database}"
    tables.execute(f"CREATE ROLE {role}")
    try:
        tables.execute(f"GRANT {ALL}, REFERENCES, CREATE TEMPORARY TABLES ON {tables.database}.* TO {role}")
        tables.execute(f"GRANT {role} TO {bare.name}")
        tables.execute(f"SET DEFAULT ROLE {role} FOR {bare.name}")
        tables.live(1, 2)
        tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
        api = new_api(DATABASE_URL=bare.url)
        assert problems(api) == []
        assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]
        assert tables.ids() == ([2], [1])
    finally:
        tables.execute(f"DROP ROLE {role}")


def test_a_table_that_tells_of_leads_in_use_must_be_readable(tables: Tables, granted: Account, new_api: NewApi) -> None:
    """A lead in the hopper is not deleted because the account cannot see the hopper."""
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.live(1, 2)
    granted.revoke("SELECT", "vicidial_hopper")
    api = new_api(DATABASE_URL=granted.url)
    assert refused_until_fixed(tables, api, "may not read vicidial_hopper", [1]) == [
        f"GRANT SELECT ON `{tables.database}`.`vicidial_hopper` TO {granted.name}"
    ]
    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert tables.ids() == ([2], [1])


def test_an_account_that_sees_the_two_tables_alone_must_see_the_others(tables: Tables, bare: Account, new_api: NewApi) -> None:
    """The account cannot tell a missing table from one that it may not see. Missing tables need no privilege."""
    for table in BOTH:
        bare.grant(ALL, table)
    tables.execute("DROP TABLE IF EXISTS vicidial_live_chats")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.live(1, 2)
    api = new_api(DATABASE_URL=bare.url)
    done = refused_until_fixed(tables, api, "cannot see whether there is a table vicidial_hopper", [1])
    database = tables.database.replace("_", r"\_")
    assert f"GRANT REFERENCES ON `{database}`.* TO {bare.name}" in done
    assert "vicidial_live_chats" in api.get("/readyz").json()["skipped_tables"]
    assert not any("vicidial_live_chats" in statement for statement in done)
    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert tables.ids() == ([2], [1])


def test_where_leads_in_use_are_archived_too_no_other_table_must_be_seen(
    tables: Tables, bare: Account, new_api: NewApi
) -> None:
    for table in BOTH:
        bare.grant(ALL, table)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (1)")
    tables.live(1)
    api = new_api(DATABASE_URL=bare.url, LEADS_IN_USE="ignore")
    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize("change", ["revoke", "hide a column"])
def test_what_is_taken_away_while_the_service_runs(tables: Tables, granted: Account, new_api: NewApi, change: str) -> None:
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")
    tables.live(3)
    api = new_api(DATABASE_URL=granted.url)
    assert api.archive_all([1]).json()["delete_count"] == 1
    if change == "revoke":
        granted.revoke("SELECT", "vicidial_hopper")
    else:
        columns = columns_of(tables, LIST)
        granted.revoke("SELECT", LIST)
        granted.grant(f"SELECT ({columns.replace('`comments`, ', '')})", LIST)
    before = tables.both()
    assert {api.archive_all([2, 3]).status_code for _ in range(2)} == {503}
    assert tables.both() == before
    apply_remedies(tables, api)
    assert api.archive_all([2, 3]).json()["remaining_lead_ids"] == [3]
    assert tables.ids() == ([3], [1, 2])


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_lacking_the_remedies_grant_it(tables: Tables, bare: Account, new_api: NewApi, seed: int) -> None:
    """Draw any set of privileges on tables and on columns."""
    rng = random.Random(seed)
    tables.live(1, 2, 3)
    tables.archived(2, status="NEW")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")
    before, _ = tables.both()
    if seed % 2:
        tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(300)")
    for table in BOTH:
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            chance = rng.random()
            if chance < 0.4:
                bare.grant(privilege, table)
            elif chance < 0.6 and privilege != "DELETE":
                some = rng.sample(columns_of(tables, table).split(", "), 20)
                bare.grant(f"{privilege} ({', '.join(some)})", table)
    api = new_api(DATABASE_URL=bare.url)

    apply_remedies(tables, api, rounds=25)

    assert api.archive_all([1, 2, 3]).json()["remaining_lead_ids"] == [3]
    assert tables.both() == ({3: before[3]}, {1: before[1], 2: before[2]})
    assert api.dearchive_all([1, 2]).json()["remaining_lead_ids"] == []
    assert tables.both() == (before, {})
