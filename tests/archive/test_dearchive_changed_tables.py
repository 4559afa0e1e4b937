"""Dearchiving where columns differ: only rows that vicidial_list can hold whole are inserted, with every engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

NewApi = Callable[..., Api]

KINDS = {
    "partitioned": ["PARTITION BY RANGE (lead_id) (PARTITION a VALUES LESS THAN (5), PARTITION b VALUES LESS THAN MAXVALUE)"],
    "partitioned by a hash": ["PARTITION BY HASH (lead_id) PARTITIONS 3"],
    "with a FULLTEXT index": ["ADD FULLTEXT INDEX words (comments)"],
    "system-versioned": ["ADD SYSTEM VERSIONING"],
    "system-versioned but for a column": ["ADD SYSTEM VERSIONING", "MODIFY owner VARCHAR(20) WITHOUT SYSTEM VERSIONING"],
    "compressed": ["ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 8"],
    "with a CHECK": ["ADD CONSTRAINT sane CHECK (list_id >= 0)"],
    "with a CHECK of a column": ["ADD COLUMN own INT DEFAULT 1 CHECK (own > 0)"],
    "with generated columns": [
        "ADD COLUMN full_name VARCHAR(61) AS (CONCAT(first_name, last_name)) VIRTUAL,"
        " ADD COLUMN twice INT AS (called_count * 2) STORED"
    ],
    "with an index on a generated column": ["ADD COLUMN twice INT AS (called_count * 2) VIRTUAL, ADD INDEX (twice)"],
    "with a foreign key": ["ADD FOREIGN KEY (list_id) REFERENCES own_lists (list_id)"],
    "with a unique key of two columns": ["ADD UNIQUE KEY two (lead_id, phone_number)"],
    "with a SEQUENCE for a default": ["ADD COLUMN own BIGINT DEFAULT (NEXT VALUE FOR numbers)"],
    "with an expression for a default": ["ADD COLUMN own VARCHAR(36) DEFAULT (UUID())"],
    "with an invisible column": ["ADD COLUMN own INT INVISIBLE DEFAULT 4"],
}


@pytest.mark.parametrize("alters", KINDS.values(), ids=KINDS.keys())
def test_leads_that_fit_come_back_and_the_others_stay(tables: Tables, api: Api, alters: list[str]) -> None:
    tables.execute("CREATE TABLE own_lists (list_id BIGINT(14) UNSIGNED PRIMARY KEY)")
    tables.execute("INSERT INTO own_lists VALUES (998)")
    tables.execute("CREATE SEQUENCE numbers")
    tables.execute("SET SESSION system_versioning_alter_history = KEEP")
    for alter in alters:
        tables.execute(f"ALTER TABLE {LIST} {alter}")
        if "ADD COLUMN" in alter:
            tables.execute(f"ALTER TABLE {ARCHIVE} {alter}")
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY first_name VARCHAR(99)")
    tables.archived(1, 2, 7)
    tables.archived(3, first_name="A name that vicidial_list has no room for")
    tables.live(8)
    _, archived = tables.both()
    (own,) = tables.rows(LIST).values()
    assert problems(api) == []

    answer = api.dearchive_all([1, 2, 3, 7]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 3, [3])
    assert tables.both() == ({1: archived[1], 2: archived[2], 7: archived[7], 8: own}, {3: archived[3]})
    assert api.archive_all([1, 2, 7]).json()["delete_count"] == 3
    assert tables.both() == ({8: own}, archived)


@pytest.mark.parametrize("seconds", [3, 60], ids=["a while", "too long"])
def test_a_wait_for_a_lock_in_the_first_batch_after_an_alter_changes_nothing(
    tables: Tables, new_api: NewApi, seconds: int
) -> None:
    """The batch is retried. If that takes too long, the answer says that nothing was changed."""
    api = new_api(REQUEST_TIMEOUT="6")  # a wait for a lock ends after a third of it
    tables.live(1, 2, 3)
    assert api.archive_all([1]).json()["delete_count"] == 1
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN own INT DEFAULT 7")
    before = tables.both()
    other = tables.mariadb.connect(tables.database, autocommit=False)
    with other.cursor() as cursor, ThreadPoolExecutor(1) as client:
        cursor.execute(f"INSERT INTO {ARCHIVE} (lead_id, phone_number) VALUES (2, '9')")
        batch = client.submit(api.archive_all, [2, 3])
        tables.wait_until_a_lock_is_in_the_way()
        wait([batch], timeout=seconds)
        assert batch.done() == (seconds > 6)
        other.rollback()
        response = batch.result()
    other.close()
    if seconds > 6:
        assert response.status_code == 503
        assert "nothing was changed" in response.json()["message"]
        assert tables.both() == before
        response = api.archive_all([2, 3])
    assert response.json()["delete_count"] == 2
    assert tables.both() == ({}, {**before[1], **before[0]})
