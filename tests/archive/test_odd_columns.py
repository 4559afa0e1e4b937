"""Keys that MariaDB does not use, columns of bytes, and ids with leading zeros: leads are moved, or the remedy is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems, refused_until_fixed
from support.settings import key_entry
from support.tables import Tables

TABLES = [(LIST,), (ARCHIVE,), (LIST, ARCHIVE)]


@pytest.mark.parametrize("tables_of_bytes", TABLES, ids="-".join)
def test_members_of_bytes_are_compared_as_bytes(tables: Tables, api: Api, tables_of_bytes: tuple[str, ...]) -> None:
    for table in (LIST, ARCHIVE):
        charset = "CHARACTER SET binary" if table in tables_of_bytes else "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        tables.execute(
            f"ALTER TABLE {table} ADD COLUMN one ENUM('a','A','é') {charset}, ADD COLUMN some SET('a','b','é') {charset}"
        )
    for lead_id, one in enumerate(["a", "A", "é", 0, None]):
        tables.live(lead_id, one=one, some="b")
        tables.live(10 + lead_id, one="a", some="a")
        tables.archived(10 + lead_id, one=one, some="a")
    for lead_id, some in enumerate(["a", "a,é", 0, None], start=20):
        tables.live(lead_id, some="b")
        tables.archived(lead_id, some=some)
    before = tables.both()
    leads = list(before[0])
    differ = [lead_id for lead_id in leads if lead_id > 10]
    assert problems(api) == []
    found = api.compare(leads).json()["leads"]
    assert [lead["different_columns"] for lead in found[5:]] == [[], *[["one"]] * 4, *[["some"]] * 4]

    assert api.archive({**Api.ALL, "update_leads": False, "lead_ids": differ}).json()["remaining_lead_ids"] == differ
    assert tables.both() == before
    answer = api.archive_all(leads).json()

    assert (answer["update_count"], answer["remaining_lead_ids"]) == (8, [])
    assert tables.both()[0] == {}
    assert api.dearchive_all(leads).json()["delete_count"] == len(leads)
    assert tables.both() == (before[0], {})


@pytest.mark.parametrize("tables_of_bytes", TABLES, ids="-".join)
def test_texts_of_bytes_are_moved_whole_or_stay(tables: Tables, api: Api, tables_of_bytes: tuple[str, ...]) -> None:
    bytes_of = "MODIFY {} CHARACTER SET binary NOT NULL DEFAULT ''"
    changes = [bytes_of.format(each) for each in ("status VARCHAR(6)", "comments TEXT", "phone_number VARCHAR(18)")]
    changes += [f"ADD COLUMN {kind[0].lower()} {kind}TEXT CHARACTER SET binary" for kind in ("TINY", "MEDIUM", "LONG")]
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} {', '.join(changes if table in tables_of_bytes else changes[3:])}")
    tables.live(1, comments="", t="a", m="a ", l="a")
    tables.live(2, comments="é", t="A", m="A", l="")
    tables.live(3, comments="a ")
    tables.archived(3, comments="a", status="OLD")
    before, _ = tables.both()
    assert problems(api) == []
    (lead,) = api.compare([3]).json()["leads"]
    assert lead["different_columns"] == ["status", "comments"]

    assert api.archive_all([1, 2, 3]).json()["delete_count"] == 3
    assert tables.both()[0] == {}
    assert api.dearchive_all([1, 2, 3]).json()["delete_count"] == 3
    assert tables.both() == (before, {})


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_text_of_bytes_of_one_length_keeps_shorter_values_where_they_are(tables: Tables, api: Api, table: str) -> None:
    """BINARY(20) fills a value up with zeros: it is no copy any more."""
    tables.execute(f"ALTER TABLE {table} MODIFY owner CHAR(20) CHARACTER SET binary")
    tables.live(1, owner="twenty characters 20")
    tables.live(2, owner="a")
    before, _ = tables.both()

    answer = api.archive_all([1, 2]).json()

    assert answer["remaining_lead_ids"] == ([2] if table == ARCHIVE else [])
    live, archived = tables.both()
    assert live == {lead_id: row for lead_id, row in before.items() if lead_id in answer["remaining_lead_ids"]}
    assert sorted(archived) == [1, 2]
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.rows(LIST)[1] == before[1]


@pytest.mark.parametrize(
    ("filled", "kind", "other"),
    [
        (LIST, "INT(10) UNSIGNED ZEROFILL", "INT(9) UNSIGNED"),
        (LIST, "INT(10) UNSIGNED ZEROFILL", "BIGINT"),
        (LIST, "BIGINT ZEROFILL", "INT(10) ZEROFILL"),
        (ARCHIVE, "BIGINT(12) UNSIGNED ZEROFILL", "INT(9) UNSIGNED"),
    ],
)
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
    keys_file.write_text(key_entry([998]))
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


OTHER_PRIMARY_KEY = (
    "ALTER TABLE {} MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id)"
)


def skip_without_ignored_keys(tables: Tables) -> None:
    if (tables.execute("SELECT VERSION()")[0][0] or b"").startswith(b"10.5."):
        pytest.skip("IGNORED came with MariaDB 10.6")


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_key_that_the_server_ignores_is_no_key(tables: Tables, api: Api, table: str) -> None:
    skip_without_ignored_keys(tables)
    tables.execute(OTHER_PRIMARY_KEY.format(table))
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY `the ``lead` (lead_id) COMMENT 'it''s IGNORED, `x`'")
    tables.live(1, 2)
    assert api.archive_all([1]).json()["delete_count"] == 1
    tables.execute(f"ALTER TABLE {table} ALTER INDEX `the ``lead` IGNORED")

    done = refused_until_fixed(tables, api, f"the unique key of lead_id in {table} is IGNORED", [2])

    assert done == [f"ALTER TABLE `{table}` ALTER INDEX `the ``lead` NOT IGNORED"]
    assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
    assert tables.ids() == ([1, 2], [])


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
@pytest.mark.parametrize("keys", ["", ", ADD PRIMARY KEY (lead_id, list_id)"])
def test_a_unique_key_in_which_no_lead_can_be_looked_up_is_no_key(tables: Tables, api: Api, table: str, keys: str) -> None:
    tables.execute(
        f"ALTER TABLE {table} MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY{keys},"
        " ADD UNIQUE KEY own_key (lead_id) USING HASH"
    )
    tables.live(1, 2)

    done = refused_until_fixed(
        tables, api, f"the unique key of lead_id in {table} is USING HASH: no statement can look a lead up in it", [2]
    )

    kind = "UNIQUE KEY" if keys else "PRIMARY KEY"
    assert done == [f"SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `{table}` ADD {kind} (`lead_id`)"]
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert api.dearchive_all([1, 2]).json()["delete_count"] == 2
    assert tables.ids() == ([1, 2], [])


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_primary_key_that_was_declared_as_a_hash_is_one(tables: Tables, api: Api, table: str) -> None:
    """MariaDB makes a tree of it."""
    tables.execute(f"ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id) USING HASH")
    tables.live(1)

    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_another_key_is_used_if_the_server_ignores_one(tables: Tables, api: Api, table: str) -> None:
    skip_without_ignored_keys(tables)
    tables.execute(OTHER_PRIMARY_KEY.format(table))
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY a (lead_id) IGNORED, ADD UNIQUE KEY b (lead_id)")
    tables.execute(f"ALTER TABLE {table} ADD UNIQUE KEY c (lead_id) IGNORED")
    tables.live(1)

    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([1], [])
