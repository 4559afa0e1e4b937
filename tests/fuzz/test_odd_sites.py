"""Sites on which a damaged copy could look identical: words in a definition that are not attributes, values that look alike,
sessions that triggers and init_connect have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.api import Api
from support.remedies import refused_until_fixed
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("crm_id INT COMMENT 'the CRM fills it, no AUTO_INCREMENT here'", 4711),
        ("`old AUTO_INCREMENT` INT", 4711),
        ("way ENUM('none', 'by AUTO_INCREMENT')", "by AUTO_INCREMENT"),
        ("way VARCHAR(30) DEFAULT 'x AUTO_INCREMENT'", "y"),
        ("way ENUM('x', 'CHARACTER SET utf8', 'a WITH SYSTEM VERSIONING')", "CHARACTER SET utf8"),
        ("way VARCHAR(30) CHARACTER SET utf8mb4 COMMENT 'no COLLATE'", "łódź"),
    ],
)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_words_in_a_definition_are_no_attributes(tables: Tables, api: Api, way: str, column: str, value: object) -> None:
    """The column is data of the lead. Without such a column in the archive, no lead is archived; the remedy adds it."""
    source, target = (LIST, ARCHIVE) if way == "archive" else (ARCHIVE, LIST)
    tables.execute(f"ALTER TABLE {target} CONVERT TO CHARACTER SET latin1")
    tables.execute(f"ALTER TABLE {source} ADD COLUMN {column}")
    name = column.split("` ", maxsplit=1)[0].removeprefix("`") if column.startswith("`") else column.split(maxsplit=1)[0]
    tables.insert(source, 1, first_name="Jo", last_name="M", **{name: value})
    before = tables.rows(source)
    move = api.archive_all if way == "archive" else api.dearchive_all
    assert move([1]).status_code == 503
    assert tables.rows(source) == before

    (problem,) = api.get("/readyz").json()["problems"]
    tables.execute(problem["remedy"])

    assert move([1]).json()["delete_count"] == 1
    stored = f"CONVERT(`{name}` USING utf8mb4)"
    assert tables.execute(f"SELECT {stored} FROM {target}") == [(str(value).encode(),)]


@pytest.mark.parametrize(
    ("live", "archived", "numbers"),
    [
        ("SET('', 'a')", "SET('', 'a')", (1, 0)),
        ("ENUM('', 'a')", "ENUM('', 'a')", (1, 0)),
        ("ENUM('a', 'a ', 'b')", "ENUM('a', 'a ', 'b')", (2, 1)),
    ],
)
def test_values_that_look_alike_are_two(tables: Tables, api: Api, live: str, archived: str, numbers: tuple[int, int]) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own {live}")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own {archived}")
    tables.live(1, own=numbers[0])
    tables.archived(1, own=numbers[1])
    (row,) = tables.execute(f"SELECT own + 0 FROM {LIST}")

    (lead,) = api.compare([1]).json()["leads"]
    answer = api.archive({**api.ALL, "update_leads": False, "lead_ids": [1]}).json()

    assert (lead["identical"], lead["different_columns"]) == (False, ["own"])
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (0, [1])
    assert tables.execute(f"SELECT own + 0 FROM {LIST}") == [row]


@pytest.mark.parametrize(("live", "archived"), [("ENUM('', 'a')", "VARCHAR(5)"), ("SET('', 'a')", "SET('', 'a', 'b')")])
def test_values_that_would_look_alike_in_the_other_table_are_refused(
    tables: Tables, api: Api, live: str, archived: str
) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own {live}")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own {archived}")
    tables.live(1, own=0)
    before = tables.both()

    assert api.archive_all([1]).status_code == api.get("/readyz").status_code == 503
    assert tables.both() == before


@pytest.mark.parametrize(
    "variable",
    ["group_concat_max_len = 4", "sql_select_limit = 1", "character_set_results = 'utf16'"],
)
def test_what_a_trigger_sets_is_set_back(tables: Tables, new_api: Callable[..., Api], variable: str) -> None:
    api = new_api(DATABASE_POOL_SIZE="1")
    tables.live(*range(1, 41))
    before, _ = tables.both()
    tables.execute(f"CREATE TRIGGER sets AFTER INSERT ON {ARCHIVE} FOR EACH ROW SET SESSION {variable}")
    assert api.archive_all([1, 2]).json()["delete_count"] == 2

    answers = [api.archive_all(list(range(1, 21))).json(), api.archive_all(list(range(1, 41))).json()]

    assert [answer["delete_count"] for answer in answers] == [18, 20]
    assert [answer["remaining_lead_ids"] for answer in answers] == [[], []]
    assert tables.both() == ({}, before)


@pytest.fixture
def init_connect(tables: Tables) -> Iterator[Callable[[str], None]]:
    """init_connect(statement): the server runs it at the beginning of each session of an ordinary account."""

    def run(statement: str) -> None:
        tables.execute(f"SET GLOBAL init_connect = '{statement}'")

    yield run
    tables.execute("SET GLOBAL init_connect = ''")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMPORARY TABLE {database}.vicidial_list_archive LIKE {database}.vicidial_list",
        "CREATE TEMPORARY TABLE {database}.vicidial_hopper (lead_id INT)",
        "USE information_schema",
    ],
)
def test_a_session_that_shows_other_tables_is_not_used(
    tables: Tables, new_api: Callable[..., Api], init_connect: Callable[[str], None], statement: str
) -> None:
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    before = tables.both()
    account = f"'odd_{tables.database}'@'127.0.0.1'"
    tables.execute(f"CREATE OR REPLACE USER {account} IDENTIFIED BY 'odd'")
    tables.execute(f"GRANT ALL ON `{tables.database}`.* TO {account}")
    init_connect(statement.format(database=tables.database))
    url = f"mysql+asyncmy://odd_{tables.database}:odd@127.0.0.1:{tables.mariadb.port}/{tables.database}"
    api = new_api(DATABASE_URL=url)

    assert api.archive_all([1, 2]).status_code == 503
    assert tables.both() == before
    (problem,) = api.get("/readyz").json()["problems"]
    tables.execute(problem["remedy"])
    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]
    assert tables.ids() == ([2], [1])
    tables.execute(f"DROP USER {account}")


@pytest.mark.parametrize(
    "body",
    [
        "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001",
        "INSERT INTO log_of_site (no_such_column) VALUES (1)",
        "SET @one = (SELECT lead_id FROM vicidial_callbacks)",
    ],
)
def test_a_trigger_that_fails_for_the_only_lead_of_a_batch(tables: Tables, api: Api, body: str) -> None:
    """With any error, the row is the cause: the lead stays and is named."""
    tables.execute("CREATE TABLE log_of_site (id INT)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (8, 'DONE'), (9, 'DONE')")
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute(f"CREATE TRIGGER refuse BEFORE DELETE ON {LIST} FOR EACH ROW IF OLD.lead_id = 2 THEN {body}; END IF")

    alone, both = api.archive_all([2]).json(), api.archive_all([1, 2]).json()

    assert [answer["remaining_lead_ids"] for answer in (alone, both)] == [[2], [2]]
    assert tables.both() == ({2: before[2]}, before)


def test_a_remedy_never_changes_a_value_without_a_word(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY lead_id VARCHAR(20) NOT NULL")
    tables.execute(f"INSERT INTO {ARCHIVE} (lead_id, phone_number) VALUES ('12abc', '1')")
    (problem, *_) = api.get("/readyz").json()["problems"]

    with pytest.raises(Exception, match="12abc"):
        tables.execute(problem["remedy"])

    assert tables.execute(f"SELECT lead_id FROM {ARCHIVE}") == [(b"12abc",)]
    tables.execute(f"DELETE FROM {ARCHIVE}")
    tables.live(1)
    refused_until_fixed(tables, api, "lead_id of vicidial_list_archive is varchar(20), no integer", [1])


def test_a_lead_id_by_a_sequence_keeps_it(tables: Tables, api: Api) -> None:
    tables.execute("CREATE SEQUENCE lead_seq START WITH 100")
    tables.execute(f"ALTER TABLE {LIST} MODIFY lead_id INT NOT NULL DEFAULT NEXTVAL(lead_seq)")
    tables.live(1)
    (problem,) = api.get("/readyz").json()["problems"]

    tables.execute(problem["remedy"])

    assert api.get("/readyz").json()["problems"] == []
    tables.execute(f"INSERT INTO {LIST} (phone_number) VALUES ('1')")
    assert tables.ids()[0] == [1, 100]


def test_a_foreign_key_that_is_added_while_the_service_runs_holds_soon(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.tables.table_reader.FOREIGN_KEYS_AGE", 0)
    tables.live(1, 2)
    assert api.archive_all([1]).json()["delete_count"] == 1
    tables.execute(
        f"CREATE TABLE orders (lead_id INT UNSIGNED PRIMARY KEY, FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))"
    )
    tables.execute("INSERT INTO orders VALUES (2)")

    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert tables.ids() == ([2], [1, 2])
