"""Tables that drifted apart: a row that can be copied whole is archived, one that cannot stays, and where none can be, the
administrator is told what to do. Then the same while somebody alters the tables under load.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pymysql
import pytest
from support.api import Api
from support.tables import Tables
from support.waiting import wait_until

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"

ENGINES = pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)


@pytest.mark.parametrize(
    ("alter", "fits", "does_not"),
    [
        ("MODIFY last_name VARCHAR(5)", {"last_name": "Short"}, {"last_name": "Longer"}),
        ("MODIFY called_count TINYINT UNSIGNED", {"called_count": 255}, {"called_count": 256}),
        ("MODIFY `rank` SMALLINT UNSIGNED NOT NULL", {"rank": 5}, {"rank": -5}),
        ("MODIFY gmt_offset_now DECIMAL(3,1)", {"gmt_offset_now": "5.50"}, {"gmt_offset_now": "5.75"}),
        ("MODIFY comments VARCHAR(255) NOT NULL", {"comments": ""}, {"comments": None}),
        ("MODIFY entry_date DATE", {"entry_date": None}, {"entry_date": "2024-01-01 10:00:00"}),
        ("MODIFY status VARCHAR(6) CHARACTER SET latin1", {"status": "é"}, {"status": "ł"}),
        ("MODIFY status VARCHAR(6) COLLATE utf8_bin", {"status": "A"}, {}),
        ("MODIFY vendor_lead_code INT", {"vendor_lead_code": "12"}, {"vendor_lead_code": "012"}),
        ("MODIFY vendor_lead_code INT", {"vendor_lead_code": None}, {"vendor_lead_code": "12abc"}),
        ("MODIFY list_id INT", {"list_id": 998}, {"list_id": 99999999999}),
        ("MODIFY list_id DOUBLE", {"list_id": 998}, {"list_id": 9007199254740993}),
        ("MODIFY list_id VARCHAR(20)", {"list_id": 998}, {}),
        ("MODIFY comments TEXT CHARACTER SET utf8mb4", {"comments": "x" * 255}, {}),
        ("MODIFY owner VARBINARY(20)", {"owner": "José"}, {}),
        ("MODIFY called_since_last_reset VARCHAR(3)", {"called_since_last_reset": "D"}, {}),
        ("ENGINE = MyISAM", {}, {}),
        ("ENGINE = MyISAM ROW_FORMAT = FIXED", {}, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_be_copied_whole_is_archived_and_the_rest_stays(
    tables: Tables, api: Api, alter: str, fits: dict[str, Any], does_not: dict[str, Any]
) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} {alter}")
    tables.live(1, **fits)
    if does_not:
        tables.live(2, **does_not)
    before, _ = tables.both()

    response = api.archive_all([1, 2] if does_not else [1])

    assert response.json()["delete_count"] == 1
    assert response.json()["remaining_lead_ids"] == ([2] if does_not else [])
    assert tables.rows(LIST) == {lead_id: row for lead_id, row in before.items() if lead_id == 2}
    assert 1 in tables.rows(ARCHIVE)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (f"ALTER TABLE {LIST} ADD COLUMN `loyalty ``tier` VARCHAR(20) NOT NULL DEFAULT 'gold, ''(24)'", "lacks the column"),
        (f"ALTER TABLE {LIST} ADD COLUMN kind ENUM('a)','b') CHARACTER SET ucs2 COMMENT 'COLLATE'", "lacks the column kind"),
        (f"ALTER TABLE {LIST} ADD COLUMN twice INT AS (called_count * 2) PERSISTENT", "lacks the column twice"),
        (f"ALTER TABLE {ARCHIVE} DROP COLUMN last_name", "lacks the column last_name"),
        (f"ALTER TABLE {ARCHIVE} DROP COLUMN modify_date", "lacks the column modify_date"),
        (f"ALTER TABLE {ARCHIVE} MODIFY modify_date DATETIME", "modify_date is TIMESTAMP in vicidial_list and DATETIME"),
        (f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY", "lead_id is no unique key of vicidial_list_archive"),
        (f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id)", "lead_id is no unique key"),
        (f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY, ADD INDEX (lead_id)", "lead_id is no unique key"),
    ],
)
def test_where_no_lead_can_be_copied_the_administrator_is_told_what_to_do(
    tables: Tables, api: Api, break_it: str, message: str
) -> None:
    tables.live(1)
    tables.execute(break_it)
    before = tables.both()

    response = api.archive_all([1])
    readiness = api.get("/readyz")

    assert response.status_code == readiness.status_code == 503
    assert message in response.json()["message"]
    assert tables.both() == before
    (problem,) = readiness.json()["problems"]
    assert message in problem["message"]
    tables.execute(problem["remedy"])
    assert api.get("/readyz").status_code == 200
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1])


def test_a_view_in_place_of_the_archive(tables: Tables, api: Api) -> None:
    tables.live(1)
    tables.execute(f"RENAME TABLE {ARCHIVE} TO elsewhere")
    tables.execute(f"CREATE VIEW {ARCHIVE} AS SELECT * FROM elsewhere")
    before = tables.both()
    assert api.archive_all([1]).status_code == 503
    assert "view" in api.get("/readyz").json()["problems"][0]["message"]
    assert tables.both() == before


def test_numbers_that_print_alike_and_differ(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN score DOUBLE, ADD COLUMN rate FLOAT")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN score FLOAT, ADD COLUMN rate FLOAT")
    tables.live(1, score=0.1)  # a FLOAT has no such number, and prints the one next to it the same
    tables.live(2, score=0.5)
    tables.live(3, rate=0.1)
    tables.archived(3, rate=0.10000001)
    assert tables.execute(f"SELECT rate FROM {ARCHIVE} WHERE lead_id = 3") == [(b"0.1",)]

    response = api.archive({**api.ALL, "update_leads": False, "lead_ids": [1, 2, 3]})

    assert response.json()["remaining_lead_ids"] == [1, 3]
    assert tables.ids() == ([1, 3], [1, 2, 3])


def test_a_generated_column_is_not_copied_but_compared(tables: Tables, api: Api) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN name VARCHAR(61) AS (CONCAT(first_name, ' ', last_name)) PERSISTENT")
    tables.live(1)
    before, _ = tables.both()
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)


def test_an_invisible_column_is_copied_and_compared(tables: Tables, api: Api) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN secret INT INVISIBLE")
    tables.live(1, secret=1)
    tables.archived(1, secret=2)
    assert api.archive({**api.ALL, "update_leads": False, "lead_ids": [1]}).json()["remaining_lead_ids"] == [1]
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.execute(f"SELECT secret FROM {ARCHIVE}") == [(b"1",)]
    assert tables.rows(LIST) == {}


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_columns_that_are_added_under_load(tables: Tables, new_api: Callable[..., Api]) -> None:
    """Every lead that was in vicidial_list when a column was added keeps its value, whichever table it ends up in."""
    leads = range(1, 6001)
    columns = 5
    tables.live(*leads)
    apis = [new_api(), new_api()]
    stop = threading.Event()
    answers: list[int] = []

    def archive_at_random(api: Api, seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            answers.append(api.archive_all(rng.sample(leads, 5)).status_code)

    def go_on() -> None:
        already = answers.count(200)
        wait_until(lambda: answers.count(200) > already + 2)

    clients = [threading.Thread(target=archive_at_random, args=(apis[seed % 2], seed)) for seed in range(4)]
    for client in clients:
        client.start()
    live_when_added: dict[str, set[int]] = {}
    try:
        for number in range(columns):
            go_on()
            tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own_{number} INT NOT NULL DEFAULT 7")
            live_when_added[f"own_{number}"] = set(tables.rows(LIST))
            time.sleep(1)  # longer than a batch doubts what it finds
            tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN own_{number} INT NOT NULL DEFAULT 0")
        go_on()
    finally:
        stop.set()
        for client in clients:
            client.join()

    live, archived = tables.both()
    assert live.keys() | archived.keys() == set(leads)
    assert {200, 503} <= set(answers) <= {200, 503}
    for column, lead_ids in live_when_added.items():
        kept = {
            int(lead_id or b"")
            for table in (LIST, ARCHIVE)
            for (lead_id,) in tables.execute(f"SELECT lead_id FROM {table} WHERE {column} = 7")
        }
        assert lead_ids <= kept, f"{column} was lost for {len(lead_ids - kept)} leads"
    assert len(archived) > 20  # they were archived in between


def test_a_table_that_a_transaction_has_read_cannot_be_altered(tables: Tables, api: Api) -> None:
    """The guarantee depends on this: an ALTER TABLE waits for the end of every transaction that has read the table."""
    tables.live(1)
    reader = tables.mariadb.connect(tables.database, autocommit=False)
    with reader.cursor() as cursor:
        cursor.execute(f"SELECT lead_id FROM {LIST} WHERE lead_id IN (4711)")
        cursor.fetchall()
        tables.execute("SET SESSION lock_wait_timeout = 1")
        with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
            tables.execute(f"ALTER TABLE {LIST} ADD COLUMN own INT")
    reader.close()
    assert api.archive_all([1]).json()["delete_count"] == 1


def test_a_column_that_both_tables_lose_while_the_service_runs(tables: Tables, api: Api) -> None:
    """The cached statements name a column that is gone: the batch is retried."""
    tables.live(1, 2)
    assert api.archive_all([1]).json()["delete_count"] == 1
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} DROP COLUMN owner")

    assert api.archive_all([2]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_key_that_gets_another_name_while_the_service_runs(tables: Tables, api: Api, table: str) -> None:
    """The cached statements name a key that is gone: the batch is retried."""
    tables.live(1, 2)
    assert api.archive_all([1]).json()["delete_count"] == 1
    tables.execute(
        f"ALTER TABLE {table} MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD UNIQUE KEY `the lead` (lead_id)"
    )

    assert api.archive_all([2]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])


def test_a_column_that_both_tables_get_while_the_service_runs(tables: Tables, api: Api) -> None:
    """The copy differs only in the new column, which the service has not read yet. It is updated nevertheless."""
    tables.live(1)
    assert api.archive_all([1]).json()["delete_count"] == 1
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN tier INT")
    tables.live(2, tier=1)
    tables.archived(2, tier=2)
    live = tables.rows(LIST)

    answer = api.archive_all([2]).json()

    assert (answer["update_count"], answer["delete_count"]) == (1, 1)
    assert tables.rows(LIST) == {}
    assert tables.rows(ARCHIVE)[2] == live[2]


@pytest.mark.parametrize(
    "alter",
    [
        "CONVERT TO CHARACTER SET utf8mb4",
        "MODIFY phone_number VARCHAR(18) CHARACTER SET latin1",
        "MODIFY phone_number BIGINT UNSIGNED",
        "MODIFY phone_number VARBINARY(18)",
        "MODIFY entry_date VARCHAR(40)",
    ],
)
@pytest.mark.parametrize("where", [{}, {"statuses": ["SALE"]}], ids=["all", "statuses"])
@ENGINES
def test_a_column_that_gets_another_type_or_charset_while_the_service_runs(
    tables: Tables, api: Api, alter: str, where: dict[str, Any]
) -> None:
    """The statements that were made for the old definition fail, or mean something else."""
    body = {**Api.ALL, **({"where": where} if where else {})}
    tables.live(1, 2, 3)
    tables.archived(3, comments="old")
    assert api.archive({**body, "lead_ids": [1]}).json()["delete_count"] == 1

    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} {alter}")
    live, archived = tables.both()

    assert api.archive({**body, "lead_ids": [2, 3]}).json()["delete_count"] == 2
    assert tables.both() == ({}, {**archived, **live})
    assert api.dearchive_all([2, 3]).json()["delete_count"] == 2
    assert tables.both() == (live, {1: archived[1]})


@pytest.mark.parametrize(
    ("alter", "back", "where"),
    [
        ("MODIFY status VARBINARY(6)", "MODIFY status VARCHAR(6)", {"statuses": ["SALE"]}),
        ("MODIFY list_id VARCHAR(20)", "MODIFY list_id BIGINT(14) UNSIGNED NOT NULL DEFAULT 0", {"list_ids": [998]}),
        ("MODIFY entry_date TIMESTAMP NULL", "MODIFY entry_date DATETIME", {"entered_before": "2030-01-01"}),
    ],
)
@ENGINES
def test_a_condition_is_usable_as_soon_as_its_column_is_mended(
    tables: Tables, api: Api, alter: str, back: str, where: dict[str, Any]
) -> None:
    tables.live(1, entry_date="2020-01-01")
    before, _ = tables.both()
    body = {**Api.ALL, "lead_ids": [1], "where": where}
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} {alter}")

    refused = api.archive(body)

    assert refused.status_code == 503
    assert f"the condition {next(iter(where))} cannot be used" in refused.json()["message"]
    assert tables.ids() == ([1], [])
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} {back}")
    assert api.archive(body).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
