"""Keys that MariaDB does not use, columns of bytes, and ids with leading zeros: leads are moved, or the remedy is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.api import KEY, Api
from support.remedies import ARCHIVE, LIST, problems, refused_until_mended
from support.tables import Tables

TABLES = [(LIST,), (ARCHIVE,), (LIST, ARCHIVE)]


@pytest.mark.parametrize("kind", ["ENUM('a','A','é')", "SET('a','b','é')"])
@pytest.mark.parametrize("tables_of_bytes", TABLES, ids="-".join)
def test_members_of_bytes_are_compared_as_bytes(
    tables: Tables, api: Api, kind: str, tables_of_bytes: tuple[str, ...]
) -> None:
    for table in (LIST, ARCHIVE):
        charset = "binary" if table in tables_of_bytes else "utf8mb4"
        tables.execute(f"ALTER TABLE {table} ADD COLUMN own {kind} CHARACTER SET {charset}")
    tables.live(1, own="a")
    tables.live(2, own="é")
    tables.live(3, own=None)
    tables.live(4, own=0)
    for lead_id, value in ((5, None), (6, 0)):
        tables.live(lead_id, own="a")
        tables.archived(lead_id, own=value)
    before = tables.both()
    assert problems(api) == []
    leads = api.compare([5, 6]).json()["leads"]
    assert [lead["different_columns"] for lead in leads] == [["own"], ["own"]]

    assert api.archive({**Api.ALL, "update_leads": False, "lead_ids": [5, 6]}).json()["remaining_lead_ids"] == [5, 6]
    assert tables.both() == before
    answer = api.archive_all([1, 2, 3, 4, 5, 6]).json()

    assert (answer["update_count"], answer["remaining_lead_ids"]) == (2, [])
    assert tables.both()[0] == {}
    assert api.dearchive_all([1, 2, 3, 4, 5, 6]).json()["delete_count"] == 6
    assert tables.both() == (before[0], {})


@pytest.mark.parametrize("column", ["status VARCHAR(6)", "comments TEXT", "owner CHAR(20)", "phone_number VARCHAR(18)"])
@pytest.mark.parametrize("tables_of_bytes", TABLES, ids="-".join)
def test_texts_of_bytes_are_moved_whole(tables: Tables, api: Api, column: str, tables_of_bytes: tuple[str, ...]) -> None:
    for table in tables_of_bytes:
        tables.execute(f"ALTER TABLE {table} MODIFY {column} CHARACTER SET binary NOT NULL DEFAULT ''")
    name = column.split()[0]
    tables.live(1, comments="", **({} if name == "comments" else {name: "a"}))
    tables.live(2, comments="é")
    for lead_id in (1, 2):
        assert tables.ids()[0]
        assert api.compare([lead_id]).status_code == 200
    before, _ = tables.both()
    assert problems(api) == []

    archived = api.archive_all([1, 2])
    back = api.dearchive_all([1, 2])

    assert (archived.status_code, back.status_code) == (200, 200)
    live, left = tables.both()
    assert sorted({*live, *left}) == [1, 2]
    if name != "owner":  # BINARY(20) adds bytes to a value: such a lead stays where it is
        assert (live, left) == (before, {})


@pytest.mark.parametrize("kind", ["INT(10) UNSIGNED ZEROFILL", "BIGINT(12) UNSIGNED ZEROFILL"])
@pytest.mark.parametrize("other", ["INT(9) UNSIGNED", "BIGINT", "INT(10) ZEROFILL"])
@pytest.mark.parametrize("filled", [LIST, ARCHIVE])
def test_ids_with_leading_zeros_are_numbers(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, kind: str, other: str, filled: str
) -> None:
    for table, end in ((LIST, " AUTO_INCREMENT"), (ARCHIVE, "")):
        tables.execute(f"ALTER TABLE {table} MODIFY lead_id {kind if table == filled else other} NOT NULL{end}")
    tables.execute(f"ALTER TABLE vicidial_hopper MODIFY lead_id {kind} NOT NULL")
    tables.execute("INSERT INTO vicidial_hopper (lead_id, campaign_id) VALUES (7, 'A')")
    tables.live(123, 7)
    tables.live(8, entry_date="2024-01-01 00:00:00")
    tables.live(9, list_id=101)
    tables.archived(8, entry_date="2019-01-01 00:00:00", phone_number="9")
    tables.archived(123, 10, status="OLD")
    before = tables.both()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys_file.write_text(f'[[keys]]\nname = "tests"\nsha256 = "{digest}"\nlist_ids = [998]\n')
    api = new_api()

    assert problems(api) == []
    assert [lead["lead_id"] for lead in api.compare([123, 7, 8, 9, 10, 11]).json()["leads"]] == [123, 7, 8, 9, 10, 11]
    assert api.archive_all([123, 11]).json()["lead_ids"] == [11]
    assert api.archive_all([123, 9, 12]).json()["lead_ids"] == [9, 12]
    assert api.dearchive_all([9, 10]).json()["lead_ids"] == [9]
    assert tables.both() == before
    answer = api.archive_all([123, 7, 8, 10]).json()
    assert (answer["update_count"], answer["delete_count"]) == (1, 1)
    assert (answer["remaining_lead_ids"], answer["reused_lead_ids"]) == ([7, 8], [8])
    live, archived = tables.both()
    assert sorted(live) == [7, 8, 9]
    assert archived[123][1:] == before[0][123][1:]
    answer = api.dearchive_all([123, 10]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 2, [])
    assert tables.ids() == ([7, 8, 9, 10, 123], [8])
    assert tables.rows(LIST)[123] == before[0][123]


def skip_without_ignored_keys(tables: Tables) -> None:
    if (tables.execute("SELECT VERSION()")[0][0] or b"").startswith(b"10.5."):
        pytest.skip("IGNORED came with MariaDB 10.6")


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_key_that_the_server_ignores_is_no_key(tables: Tables, api: Api, table: str) -> None:
    skip_without_ignored_keys(tables)
    tables.execute(f"ALTER TABLE {table} MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY")
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY `the ``lead` (lead_id) COMMENT 'it''s IGNORED, `x`'")
    tables.live(1, 2)
    assert api.archive_all([1]).json()["delete_count"] == 1
    tables.execute(f"ALTER TABLE {table} ALTER INDEX `the ``lead` IGNORED")

    done = refused_until_mended(tables, api, f"the unique key of lead_id in {table} is IGNORED", [2])

    assert done == [f"ALTER TABLE `{table}` ALTER INDEX `the ``lead` NOT IGNORED"]
    assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
    assert tables.ids() == ([1, 2], [])


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_another_key_is_used_if_the_server_ignores_one(tables: Tables, api: Api, table: str) -> None:
    skip_without_ignored_keys(tables)
    tables.execute(f"ALTER TABLE {table} MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY")
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY a (lead_id) IGNORED, ADD UNIQUE KEY b (lead_id)")
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY c (lead_id) IGNORED")
    tables.live(1)

    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([1], [])
