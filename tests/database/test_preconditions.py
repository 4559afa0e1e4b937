"""Preconditions on the server and the two tables: if one is not met, moving leads is refused, with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.databases import server_with_binary_log
from support.remedies import (
    ARCHIVE,
    LIST,
    account,
    apply_remedies,
    named,
    problems,
    refused_until_fixed,
    refused_without_remedy,
)
from support.tables import Tables


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_an_engine_that_forgets_its_rows_takes_no_leads(tables: Tables, api: Api, table: str) -> None:
    tables.execute(f"ALTER TABLE {table} ENGINE = MEMORY")
    tables.live(1, 2)
    assert refused_until_fixed(tables, api, f"{table} is MEMORY", [1, 2]) == [f"ALTER TABLE `{table}` ENGINE = InnoDB"]


def test_enums_with_other_members_of_which_one_is_empty_are_told_apart(tables: Tables, api: Api) -> None:
    """The number 0 of an ENUM is shown as an empty text, like its empty member: their texts do not tell them apart."""
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own ENUM('','0','1')")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own ENUM('1','0')")
    tables.live(1)

    message = refused_without_remedy(tables, api, [1])

    assert message == f"own is enum('','0','1') in {LIST} and enum('1','0') in {ARCHIVE}"


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_table_with_history_whose_engine_cannot_be_changed_has_no_remedy_that_fails(
    tables: Tables, api: Api, table: str
) -> None:
    tables.execute(f"ALTER TABLE {table} ENGINE = MEMORY")
    tables.execute(f"ALTER TABLE {table} ADD SYSTEM VERSIONING")
    tables.live(1)

    assert f"{table} is MEMORY with system versioning" in refused_without_remedy(tables, api, [1])


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("kind", ["TIMESTAMP(6)", "BIGINT UNSIGNED"])
@pytest.mark.parametrize("versioned", [[LIST], [ARCHIVE], [LIST, ARCHIVE]], ids="-".join)
def test_system_versioning_with_columns_of_the_table_becomes_versioning_without_and_keeps_its_history(
    tables: Tables, api: Api, kind: str, versioned: list[str]
) -> None:
    """MariaDB adds the end of the period to each unique key, and such columns to no other table: no remedy for that works."""
    history = "SELECT lead_id, comments FROM {} FOR SYSTEM_TIME ALL ORDER BY 1, 2"
    tables.live(1, 2)
    tables.archived(2, 3)
    for table in versioned:
        tables.execute(
            f"ALTER TABLE {table} ADD COLUMN begin {kind} GENERATED ALWAYS AS ROW START, ADD COLUMN `the end` {kind} GENERATED"
            " ALWAYS AS ROW END, ADD PERIOD FOR SYSTEM_TIME (begin, `the end`), ADD SYSTEM VERSIONING"
        )
        tables.execute(f"UPDATE {table} SET comments = 'changed'")
    before = [tables.execute(history.format(table)) for table in versioned]
    assert api.archive_all([1]).status_code == 503

    keep = "SET STATEMENT system_versioning_alter_history = KEEP FOR ALTER TABLE"
    expected = [f"{keep} `{table}` DROP COLUMN `begin`, DROP COLUMN `the end`" for table in versioned]
    assert apply_remedies(tables, api) == expected

    assert [tables.execute(history.format(table)) for table in versioned] == before
    live, archived = tables.both()
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == ({}, {**archived, **live})


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_table_that_shows_the_leads_of_the_list_is_no_copy_of_them(tables: Tables, api: Api) -> None:
    """A MERGE table over vicidial_list shows every lead of vicidial_list, as if it were archived."""
    tables.execute(f"RENAME TABLE {ARCHIVE} TO old_archive")
    tables.execute(f"CREATE TABLE {ARCHIVE} LIKE old_archive")
    tables.execute(f"ALTER TABLE {LIST} MODIFY lead_id INT(9) UNSIGNED NOT NULL")
    tables.execute(f"ALTER TABLE {ARCHIVE} ENGINE = MRG_MyISAM UNION = (old_archive, {LIST}) INSERT_METHOD = FIRST")
    tables.live(1, 2)
    assert list(tables.rows(ARCHIVE)) == [1, 2]
    refused_until_fixed(tables, api, f"{ARCHIVE} is MRG_MyISAM", [1, 2])


@pytest.mark.parametrize(
    ("table", "made", "said", "lead_id"),
    [
        (ARCHIVE, "INT", "lead_id is int(11) in vicidial_list_archive", 3_000_000_000),
        (ARCHIVE, "MEDIUMINT UNSIGNED", "lead_id is mediumint(8) unsigned in vicidial_list_archive", 16_777_216),
        (ARCHIVE, "VARCHAR(20) CHARACTER SET latin1", "lead_id of vicidial_list_archive is varchar(20), no integer", 7),
        (ARCHIVE, "DOUBLE", "lead_id of vicidial_list_archive is double, no integer", 7),
        (LIST, "INT AUTO_INCREMENT", "lead_id is int(11) in vicidial_list and", 2_147_483_647),
        (LIST, "DOUBLE AUTO_INCREMENT", "lead_id of vicidial_list is double, no integer", 7),
    ],
)
def test_a_lead_id_that_may_not_fit_is_never_stored_as_another(
    tables: Tables, api: Api, table: str, made: str, said: str, lead_id: int
) -> None:
    tables.execute(f"ALTER TABLE {table} MODIFY lead_id {made} NOT NULL")
    tables.live(lead_id)
    tables.archived(9)

    refused_until_fixed(tables, api, said, [lead_id])

    assert tables.ids() == ([], sorted([9, lead_id]))
    assert b"AUTO_INCREMENT" in (tables.execute(f"SHOW CREATE TABLE {LIST}")[0][1] or b"")


@pytest.mark.parametrize("made", ["BIGINT", "BIGINT UNSIGNED", "INT(10) UNSIGNED"])
def test_a_wider_lead_id_holds_every_lead(tables: Tables, api: Api, made: str) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY lead_id {made} NOT NULL")
    tables.live(1, 4_294_967_295)
    tables.archived(1, status="NEW")
    before, _ = tables.both()

    assert problems(api) == []
    assert api.archive_all([1, 4_294_967_295]).json()["delete_count"] == 2
    assert tables.both() == ({}, before)
    assert api.dearchive_all([1, 4_294_967_295]).json()["delete_count"] == 2
    assert tables.both() == (before, {})


@pytest.fixture
def server(tables: Tables) -> Iterator[Callable[[str, str], None]]:
    """server(variable, value) sets it for all new connections, until the test is over."""
    changed: dict[str, str] = {}

    def change(variable: str, value: str) -> None:
        ((old,),) = tables.execute(f"SELECT @@global.{variable}")
        assert old is not None
        changed.setdefault(variable, old.decode())
        tables.execute(f"SET GLOBAL {variable} = {value}")

    yield change
    for variable, value in changed.items():
        tables.execute(f"SET GLOBAL {variable} = {value}")


def test_a_server_that_is_read_only_is_not_ready(
    tables: Tables, new_api: Callable[..., Api], server: Callable[[str, str], None]
) -> None:
    tables.live(1)
    with account(tables) as reader:
        reader.grant("SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES", "*")
        api = new_api(DATABASE_URL=reader.url)
        assert problems(api) == []
        server("read_only", "1")
        assert api.compare([1]).status_code == 200
        assert refused_until_fixed(tables, api, "the server is read only", [1]) == ["SET GLOBAL read_only = OFF"]


def test_a_server_that_takes_no_long_statement_is_not_ready(
    tables: Tables, new_api: Callable[..., Api], server: Callable[[str, str], None]
) -> None:
    """Both a running service and one that starts detect it."""
    tables.live(1, 2)
    running = new_api()
    assert problems(running) == []
    server("max_allowed_packet", "524288")
    starting = new_api()
    refused_until_fixed(tables, starting, "max_allowed_packet is 524288 bytes", [1])
    assert running.archive_all([2]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])


def test_a_server_that_prepares_no_statement_is_the_only_problem(
    tables: Tables, api: Api, server: Callable[[str, str], None]
) -> None:
    tables.live(1)
    server("max_prepared_stmt_count", "0")
    said = "max_prepared_stmt_count is used up"
    assert refused_until_fixed(tables, api, said, [1]) == ["SET GLOBAL max_prepared_stmt_count = 16382"]


@pytest.fixture
def logging_server() -> Iterator[PrivateMariaDB]:
    """A server of its own, with a binary log, that can be started again with other options."""
    with server_with_binary_log("site") as server:
        yield server


def test_variables_that_the_account_cannot_set_and_that_no_batch_gets_past(
    logging_server: PrivateMariaDB, new_api: Callable[..., Api]
) -> None:
    tables = Tables(logging_server, "site")
    tables.live(1, 2)
    before, _ = tables.both()
    variable = "max_binlog_stmt_cache_size"
    tables.execute(f"SET GLOBAL {variable} = 4096")
    assert problems(new_api(DATABASE_URL=tables.url)) == []  # for tables without rollback
    tables.execute(f"ALTER TABLE {ARCHIVE} ENGINE = Aria")
    api = new_api(DATABASE_URL=tables.url)
    assert refused_until_fixed(tables, api, f"{variable} is 4096 bytes: a batch needs up to 67108864", [1]) == [
        f"SET GLOBAL {variable} = 18446744073709547520"
    ]
    tables.execute(f"ALTER TABLE {ARCHIVE} ENGINE = InnoDB")
    tables.close()
    logging_server.stop()

    logging_server.start("--innodb-read-only", "--init-file=")

    tables = Tables(logging_server, "site")
    assert refused_without_remedy(tables, api, [2]).startswith("innodb_read_only is ON")
    assert tables.both() == ({2: before[2]}, {1: before[1]})
    tables.close()


@pytest.mark.parametrize("variable", ["sql_log_bin = 0", "skip_replication = 1", "server_id = 7", "gtid_domain_id = 7"])
def test_a_session_whose_changes_replicas_leave_out_moves_no_lead(
    logging_server: PrivateMariaDB, new_api: Callable[..., Api], variable: str
) -> None:
    """A service that runs detects it in its new sessions, and one that starts at once."""
    tables = Tables(logging_server, "site")
    tables.live(1, 2)
    with account(tables) as service:
        service.grant("ALL PRIVILEGES", "*")
        tables.execute(f"GRANT BINLOG ADMIN, BINLOG REPLAY ON *.* TO {service.name}")
        running = new_api(DATABASE_URL=service.url)
        assert running.archive_all([1]).json()["delete_count"] == 1
        before = tables.both()
        tables.execute(f"SET GLOBAL init_connect = 'SET SESSION {variable}'")
        tables.execute(
            "BEGIN NOT ATOMIC FOR session IN (SELECT id FROM information_schema.processlist WHERE user LIKE 'archive%')"
            " DO KILL session.id; END FOR; END"
        )

        said = f"init_connect sets {variable}: replicas may not get what a batch changes"
        assert running.archive_all([2]).status_code == 503
        assert [problem["message"] for problem in problems(running)] == [said]
        starting = new_api(DATABASE_URL=service.url)
        assert tables.both() == before
        assert refused_until_fixed(tables, starting, said, [2]) == ["SET GLOBAL init_connect = ''"]
        assert problems(running) == []
    tables.close()


def test_a_server_without_a_binary_log_has_no_replicas(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    with account(tables) as service:
        service.grant("ALL PRIVILEGES", "*")
        tables.execute(f"GRANT BINLOG ADMIN ON *.* TO {service.name}")
        tables.execute("SET GLOBAL init_connect = 'SET SESSION sql_log_bin = 0'")
        try:
            assert new_api(DATABASE_URL=service.url).archive_all([1]).json()["delete_count"] == 1
        finally:
            tables.execute("SET GLOBAL init_connect = ''")
    assert tables.ids() == ([], [1])


def test_a_column_that_only_the_archive_has_keeps_leads_from_coming_back_only(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN archived_on DATETIME AFTER user")
    tables.live(1)
    tables.archived(2, archived_on="2024-01-01 00:00:00")
    archived = named(tables, ARCHIVE)[2]

    (problem,) = problems(api)
    assert (problem["message"], problem["operations"]) == ("vicidial_list lacks the column archived_on", ["dearchive"])
    assert api.archive_all([1]).json()["delete_count"] == 1
    before = tables.both()
    assert api.dearchive_all([2]).status_code == 503
    assert tables.both() == before

    assert apply_remedies(tables, api) == [f"ALTER TABLE `{LIST}` ADD COLUMN `archived_on` datetime DEFAULT NULL AFTER `user`"]
    assert api.dearchive_all([2]).json()["delete_count"] == 1
    assert named(tables, LIST) == {2: archived}
    assert list(tables.rows(ARCHIVE)) == [1]


@pytest.mark.parametrize("place", ["FIRST", "AFTER `user`", ""])
def test_a_column_that_is_added_stands_where_the_list_has_it(tables: Tables, api: Api, place: str) -> None:
    """Vicidial's own lead_dearchive copies all columns by their position."""
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN `own one` INT DEFAULT 1 {place}, ADD COLUMN two INT {place}")
    tables.execute(f"INSERT INTO {LIST} (lead_id, phone_number, `own one`, two) VALUES (1, '555', 5, 6)")

    refused_until_fixed(tables, api, "lacks the column own one", [1])

    order = [[name for name, *_ in tables.execute(f"SHOW COLUMNS FROM {table}")] for table in (LIST, ARCHIVE)]
    assert order[0] == order[1]
    assert api.get("/readyz").json()["notes"] == []


@pytest.mark.parametrize("place", ["FIRST", "AFTER `user`", ""])
def test_columns_that_each_table_lacks_of_the_other_stand_in_the_same_order(tables: Tables, api: Api, place: str) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN ours INT {place}, ADD COLUMN ours_too INT")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN theirs INT {place}, ADD COLUMN theirs_too INT")

    for problem in problems(api):
        tables.execute(problem["remedy"])

    names = [[name for name, *_ in tables.execute(f"SHOW COLUMNS FROM {table}")] for table in (LIST, ARCHIVE)]
    assert names[0] == names[1]
    assert (problems(api), api.get("/readyz").json()["notes"]) == ([], [])


def test_another_order_of_columns_is_noted_and_fixed(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY phone_number VARCHAR(18) NOT NULL AFTER lead_id, ADD COLUMN extra INT FIRST")
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN extra INT")
    tables.live(1, extra=3)
    live = named(tables, LIST)
    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert (named(tables, LIST), named(tables, ARCHIVE)) == ({}, live)

    (note,) = api.get("/readyz").json()["notes"]
    assert "stand in another order" in note["message"]
    tables.execute(note["remedy"])

    order = [[name for name, *_ in tables.execute(f"SHOW COLUMNS FROM {table}")] for table in (LIST, ARCHIVE)]
    assert order[0] == order[1]
    assert named(tables, ARCHIVE) == live
    assert api.get("/readyz").json()["notes"] == []


@pytest.mark.parametrize("names", [("İL", "İL"), ("İL", "il"), ("Straße", "STRAßE"), ("a`b", "A`B")])
def test_columns_whose_names_mean_the_same_to_the_server_are_one(tables: Tables, api: Api, names: tuple[str, str]) -> None:
    for table, name in zip((LIST, ARCHIVE), names, strict=True):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN `{name.replace('`', '``')}` INT")
    tables.live(1, **{names[0]: 34})
    tables.live(2, **{names[0]: 35})
    tables.archived(2, **{names[1]: 99})
    before, _ = tables.both()
    answer = api.archive_all([1, 2]).json()
    assert (answer["update_count"], answer["delete_count"]) == (1, 2)
    assert tables.both() == ({}, before)
    assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == (before, {})


@pytest.mark.parametrize(
    ("live", "archived"),
    [
        ("MEDIUMTEXT CHARACTER SET latin1", "MEDIUMTEXT CHARACTER SET utf8mb4"),
        ("TIMESTAMP NULL", "DATETIME"),
    ],
)
def test_columns_that_cannot_be_compared_for_sure_are_refused(tables: Tables, api: Api, live: str, archived: str) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own {live}")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own {archived}")
    tables.live(1)
    refused_until_fixed(tables, api, "own is ", [1])


@pytest.mark.parametrize(
    ("live", "archived"),
    [
        ("BIT(8)", "INT"),
        ("POINT", "VARBINARY(40)"),
        ("INET6", "VARCHAR(50)"),
        ("UUID", "CHAR(36)"),
        ("LONGTEXT", "LONGBLOB"),
        ("TIMESTAMP NULL", "TIME"),
    ],
)
def test_no_remedy_changes_archived_values(tables: Tables, api: Api, live: str, archived: str) -> None:
    """MariaDB would convert them silently: an administrator has to decide on the new values."""
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own {live}")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own {archived}")
    tables.live(1)

    assert refused_without_remedy(tables, api, [1]).startswith("own is ")


def test_who_asks_whether_it_is_ready_disturbs_nobody(tables: Tables, new_api: Callable[..., Api]) -> None:
    """Each request checks everything again, while others check too."""
    tables.execute("DROP TABLE vicidial_hopper")  # each batch checks whether it exists
    api = new_api(DATABASE_POOL_SIZE="10")
    leads = list(range(1, 81))
    tables.live(*leads)
    before, _ = tables.both()
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(api.get, "/readyz") for _ in range(20)]
        moved = [clients.submit(api.archive_all, [lead_id]) for lead_id in leads]
        asked += [clients.submit(api.get, "/readyz") for _ in range(20)]
        assert {answer.result().status_code for answer in asked} <= {200, 503}  # on a busy machine it may take too long
        assert {answer.result().status_code for answer in moved} == {200}
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
@pytest.mark.parametrize("column", ["modify_date", "phone_number", "entry_date"])
def test_a_column_of_vicidial_that_one_table_lacks_is_named_once(tables: Tables, api: Api, table: str, column: str) -> None:
    tables.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    tables.execute(f"INSERT INTO {LIST} (lead_id) VALUES (1)")

    (done,) = refused_until_fixed(tables, api, f"{table} lacks the column {column}", [1])

    assert done.startswith(f"ALTER TABLE `{table}` ADD COLUMN `{column}` ")
    assert " AFTER `" in done
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([1], [])
