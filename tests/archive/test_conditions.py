"""Conditions on sites of all kinds: values that try to break out of SQL, charsets, local time, altered columns, privileges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from support.api import Api
from support.remedies import Account, account
from support.tables import IN_USE_TABLES, Tables

from service import resource_path
from service.archive.conditions import Conditions
from service.database.statements import Statements
from service.errors import StatementError

NewApi = Callable[..., Api]

# --- values ------------------------------------------------------------------------------------------------------------

BREAKOUTS = [
    "'",
    "''",
    "\\",
    "\\'",
    "SALE') OR ('1'='1",
    "SALE\\') OR 1=1 -- ",
    "x' UNION SELECT 1 -- ",
    '"',
    "`",
    "/*",
    "*/",
    "--",
    "#",
    ";",
    "\0",
    "\n",
    "\x1a",
    "%",
    "_",
    "{source}",
    "{0}",
    "\u00bf'",  # a byte that GBK takes together with the next one
    "\u2019",
    "😀",
    "ё",
    "é",
    "?",
    "A" * 100,
]
"""Texts that mean something in SQL, in Python's templates or in a charset."""


@pytest.mark.parametrize(
    ("charset", "collation"),
    [
        ("utf8", "utf8_unicode_ci"),
        ("latin1", "latin1_german2_ci"),
        ("utf8mb4", "utf8mb4_bin"),
        ("gbk", "gbk_chinese_ci"),
        ("ucs2", "ucs2_general_ci"),
    ],
)
def test_no_text_breaks_out_of_its_statement(tables: Tables, api: Api, charset: str, collation: str) -> None:
    """It matches the leads that hold it, and no others, whatever the charset and the collation of the column."""
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"ALTER TABLE {table} MODIFY status VARCHAR(100) CHARACTER SET {charset} COLLATE {collation}")
    tables.execute(f"ALTER TABLE vicidial_lists MODIFY campaign_id VARCHAR(100) CHARACTER SET {charset} COLLATE {collation}")
    tables.live(1000, status="SALE")
    tables.live(1001, status="sale")
    for number, value in enumerate(BREAKOUTS):
        tables.live(number, status=value, list_id=number)
        tables.archived(number, status=value)
        tables.execute(
            f"INSERT IGNORE INTO vicidial_lists SELECT list_id, '', status, 'Y', '', NULL, NULL FROM vicidial_list"
            f" WHERE lead_id = {number}"
        )
    # The server's own answer, for values that the column holds unchanged.
    tables.execute("SET NAMES utf8mb4")
    whole: dict[str, list[int]] = {}
    for number, value in enumerate(BREAKOUTS):
        sent = f"_utf8mb4 x'{value.encode().hex()}'"
        equal = f"status = CONVERT({sent} USING {charset}) COLLATE {collation}"
        rows = tables.execute(
            f"SELECT lead_id FROM vicidial_list WHERE {equal} AND EXISTS (SELECT 1 FROM vicidial_list_archive AS whole"
            f" WHERE whole.lead_id = {number} AND BINARY CONVERT(whole.status USING utf8mb4) = BINARY {sent}) ORDER BY lead_id"
        )
        whole[value] = [int(lead_id or b"") for (lead_id,) in rows]

    everything = [*range(len(BREAKOUTS)), 1000, 1001]
    for value, found in whole.items():
        assert api.find_all(where={"statuses": [value]}) == found, value
        assert api.find_all(where={"not_statuses": [value]}) == [lead for lead in everything if lead not in found], value
        campaign = [lead for lead in found if lead < 1000]
        assert api.find_all(where={"campaign_ids": [value]}) == campaign, value
    sales = api.find_all(where={"statuses": ["SALE", "😀", "é"]})
    assert set(sales) == {1000, *whole["😀"], *whole["é"]} | ({1001} if collation != "utf8mb4_bin" else set())


def test_a_breakout_archives_nothing_else(tables: Tables, api: Api) -> None:
    tables.live(1, 2, 3, status="SALE")
    before = tables.both()

    for value in BREAKOUTS:
        answer = api.archive({**Api.ALL, "lead_ids": [1, 2, 3], "where": {"statuses": [value], "campaign_ids": [value]}})
        assert answer.json()["unmatched_lead_ids"] == [1, 2, 3]
    assert tables.both() == before


# --- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["SYSTEM", "-11:00", "+13:00"])
def test_days_are_counted_from_now_by_the_local_clock_of_the_server(tables: Tables, api: Api, zone: str) -> None:
    """The server's own zone is Berlin's; the session of the service has UTC."""
    ((before,),) = tables.execute("SELECT @@GLOBAL.time_zone")
    tables.execute(f"SET GLOBAL time_zone = '{zone}'")
    try:
        local = "SET STATEMENT time_zone = @@GLOBAL.time_zone FOR"
        tables.live(1, 2, 3)
        for lead_id, moment in ((1, "NOW() - INTERVAL 7 DAY"), (2, "NOW() - INTERVAL 7 DAY + INTERVAL 10 MINUTE")):
            tables.execute(
                f"{local} UPDATE vicidial_list SET entry_date = {moment}, last_local_call_time = {moment}"
                f" WHERE lead_id = {lead_id}"
            )

        assert api.find_all(where={"entered_at_least_days_ago": 7}) == [1]
        assert api.find_all(where={"called_at_least_days_ago": 7}) == [1]
        assert api.find_all(where={"called_at_least_days_ago": 6}) == [1, 2]
        assert api.find_all(where={"called_at_least_days_ago": 36500}) == []
    finally:
        tables.execute(f"SET GLOBAL time_zone = '{(before or b'').decode()}'")


# --- sites that altered a column ---------------------------------------------------------------------------------------


def refused(api: Api, tables: Tables, where: dict[str, Any]) -> str:
    """Return the reason why a condition cannot be used. It is the same for all three operations; nothing is changed."""
    before = tables.both()
    batch = {"insert_leads": True, "delete_leads": True, "lead_ids": [1], "where": where}
    answers = [api.find(where=where), api.archive({**batch, "update_leads": True}), api.dearchive(batch)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert tables.both() == before
    # The two tables are named apart.
    (message,) = {answer.json()["message"].replace("vicidial_list_archive", "vicidial_list") for answer in answers}
    assert message.startswith(f"the condition {next(iter(where))} cannot be used until an administrator mends this: ")
    assert message.endswith("; no lead was deleted")
    return str(message)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("MODIFY entry_date TIMESTAMP NULL", {"entered_before": "2026-01-01"}),
        ("MODIFY entry_date VARCHAR(20)", {"entered_at_least_days_ago": 3}),
        ("MODIFY last_local_call_time DATE", {"called_before": "2026-01-01"}),
        ("MODIFY last_local_call_time INT", {"called_at_least_days_ago": 3}),
        ("DROP COLUMN last_local_call_time", {"never_called": True}),
        ("MODIFY status INT", {"statuses": ["SALE"]}),
        ("MODIFY status VARBINARY(6)", {"not_statuses": ["SALE"]}),
        ("MODIFY called_count VARCHAR(5)", {"called_count_at_least": 3}),
        ("MODIFY list_id VARCHAR(20)", {"list_ids": [3]}),
        ("MODIFY list_id VARCHAR(20)", {"campaign_ids": ["SPRING"]}),
    ],
)
def test_a_column_that_cannot_be_compared_safely_is_refused(
    tables: Tables, api: Api, change: str, where: dict[str, Any]
) -> None:
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"ALTER TABLE {table} {change}")
    tables.execute("INSERT INTO vicidial_list (lead_id, phone_number) VALUES (1, '2125550101')")

    message = refused(api, tables, where)

    assert change.split()[1].replace("COLUMN", "last_local_call_time") in message
    assert api.archive_all([1]).json()["delete_count"] == 1


# --- vicidial_lists ----------------------------------------------------------------------------------------------------

OF_LISTS: list[dict[str, Any]] = [{"campaign_ids": ["SPRING"]}, {"list_active": True}]


@pytest.fixture
def granted(tables: Tables) -> Iterator[Account]:
    """An account with all privileges that the service needs, except on vicidial_lists."""
    with account(tables) as granted:
        for table in ("vicidial_list", "vicidial_list_archive"):
            granted.grant("SELECT, INSERT, UPDATE, DELETE", table)
        granted.grant("REFERENCES, CREATE TEMPORARY TABLES", "*")
        for table in IN_USE_TABLES:
            granted.grant("SELECT", table)
        yield granted


def test_without_the_privilege_the_answer_has_the_grant_and_everything_else_works(
    tables: Tables, granted: Account, new_api: NewApi
) -> None:
    tables.live(1, list_id=101)
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'Y')")
    api = new_api(DATABASE_URL=granted.url)
    grant = f"GRANT SELECT ON `{tables.database}`.`vicidial_lists` TO {granted.name}"
    note = {"message": "the account may not read vicidial_lists: the conditions campaign_ids and list_active cannot be used"}

    for where in OF_LISTS:
        assert f"the account may not read vicidial_lists: {grant}; " in refused(api, tables, where)
    assert api.get("/readyz").json()["notes"] == [{**note, "remedy": grant}]
    assert api.find_all(where={"list_ids": [101]}) == [1]

    tables.execute(grant)
    assert api.get("/readyz").json()["notes"] == []
    for where in OF_LISTS:
        assert api.find_all(where=where) == [1]
        assert api.archive({**Api.ALL, "delete_leads": False, "lead_ids": [1], "where": where}).json()["select_count"] == 1


def test_privileges_on_single_columns_are_sufficient(tables: Tables, granted: Account, new_api: NewApi) -> None:
    tables.live(1, list_id=101)
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'Y')")
    api = new_api(DATABASE_URL=granted.url)
    granted.grant("SELECT (list_id, campaign_id)", "vicidial_lists")

    assert api.find_all(where={"campaign_ids": ["SPRING"]}) == [1]
    assert "the account may not read vicidial_lists" in refused(api, tables, {"list_active": True})


def test_lists_whose_number_is_a_text_are_not_looked_up(tables: Tables, api: Api) -> None:
    """MariaDB would take the list 101-OLD for 101."""
    tables.execute("ALTER TABLE vicidial_lists MODIFY list_id VARCHAR(20) NOT NULL")
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES ('101-OLD', 'SPRING', 'Y')")
    tables.live(1, list_id=101)

    for where in OF_LISTS:
        assert "vicidial_lists.list_id is varchar, and only bigint" in refused(api, tables, where)
    assert api.find_all(where={"list_ids": [101]}) == [1]


def test_without_the_table_its_conditions_are_refused_and_everything_else_works(tables: Tables, api: Api) -> None:
    tables.execute("DROP TABLE vicidial_lists")
    tables.live(1, list_id=101)

    for where in OF_LISTS:
        assert "there is no column" in refused(api, tables, where)
    assert api.find_all(where={"list_ids": [101]}) == [1]
    assert api.get("/readyz").json()["notes"] == []


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("new.sql", "SELECT source.lead_id\nFROM {source} AS source\nWHERE TRUE", "new is not both a file and a condition"),
        ("statuses.sql", None, "statuses is not both a file and a condition"),
        ("statuses.sql", "SELECT source.status IN ({texts}) FROM {source} AS source", "one line begins with WHERE"),
        ("statuses.sql", "SELECT {texts}\nWHERE 1\nWHERE 2", "one line begins with WHERE"),
    ],
)
def test_the_service_refuses_a_file_that_is_no_condition(tmp_path: Path, file: str, content: str | None, problem: str) -> None:
    folder = tmp_path / "sql"
    copytree(resource_path("sql"), folder)
    if content is None:
        (folder / "conditions" / file).unlink()
    else:
        (folder / "conditions" / file).write_text(content)

    with pytest.raises(StatementError, match=problem):
        Conditions(Statements.load(folder))
