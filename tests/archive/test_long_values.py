"""Values longer than max_allowed_packet, for which MariaDB's functions return NULL, are compared nevertheless."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

NewApi = Callable[..., Api]

LONG = 2_000_000
"""Bytes: twice as long as max_allowed_packet in most of the tests."""


@pytest.fixture
def packet(packet: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The service accepts a smaller one than it otherwise does, so that the values need not be as long as 16 MiB."""
    monkeypatch.setattr("service.app.LEAST_PACKET", 1024 * 1024)
    return packet


def add_column(tables: Tables, live: str, archived: str) -> None:
    for table, made in ((LIST, live), (ARCHIVE, archived)):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN own {made}")


def fill(tables: Tables, table: str, lead_id: int, value: str) -> None:
    """value: an expression."""
    tables.insert(table, lead_id)
    tables.execute(f"UPDATE {table} SET own = {value}, modify_date = '2024-03-01 10:20:30' WHERE lead_id = {lead_id}")


def digests(tables: Tables, table: str) -> dict[int, bytes | None]:
    """What tells the values apart, by lead_id: of a column itself, MD5() is known whatever its length. Short texts are the
    same in any charset."""
    rows = tables.execute(
        "SELECT lead_id, IF(LENGTH(own) < 100000, MD5(CONVERT(own USING utf8mb4)), CONCAT(MD5(own), LENGTH(own)))"
        f" FROM {table}"
    )
    return {int(lead_id or b""): digest for lead_id, digest in rows}


def assert_only_what_is_the_same_is_deleted(tables: Tables, api: Api, same: str, other: str) -> None:
    """same, other: expressions of two values of one length."""
    for lead_id, listed, archived in (
        (1, same, same),
        (2, same, other),
        (3, same, "NULL"),
        (4, "NULL", same),
        (5, same, None),
    ):
        fill(tables, LIST, lead_id, listed)
        if archived is not None:
            fill(tables, ARCHIVE, lead_id, archived)
    live, archived_before = digests(tables, LIST), digests(tables, ARCHIVE)
    assert problems(api) == []

    compared = {lead["lead_id"]: lead["different_columns"] for lead in api.compare([1, 2, 3, 4, 5]).json()["leads"]}
    assert compared == {1: [], 2: ["own"], 3: ["own"], 4: ["own"], 5: []}

    answer = api.archive({**api.ALL, "update_leads": False, "lead_ids": [1, 2, 3, 4, 5]}).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (1, 2, [2, 3, 4])
    assert digests(tables, LIST) == {lead_id: live[lead_id] for lead_id in (2, 3, 4)}
    assert digests(tables, ARCHIVE) == {**archived_before, 5: live[5]}

    answer = api.dearchive_all([1, 2, 3, 4, 5]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 2, [2, 3, 4])
    assert digests(tables, LIST) == live
    assert digests(tables, ARCHIVE) == {lead_id: archived_before[lead_id] for lead_id in (2, 3, 4)}

    answer = api.archive_all([1, 2, 3, 4, 5]).json()
    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (2, 3, 5)
    assert (digests(tables, LIST), digests(tables, ARCHIVE)) == ({}, live)


TEXT = (f"CONCAT(REPEAT('é', {LONG // 2}), 'a')", f"CONCAT(REPEAT('é', {LONG // 2}), 'b')")
BYTES = (f"CONCAT(REPEAT(x'e900', {LONG // 2}), x'00')", f"CONCAT(REPEAT(x'e900', {LONG // 2}), x'20')")
JSON = tuple(f"CONCAT('[\"', REPEAT('é', {LONG // 2}), '\", {number}]')" for number in (1, 2))
GEOMETRY = tuple(f"ST_GeomFromText(CONCAT('LINESTRING(', REPEAT('1 1,', {LONG // 16}), '{at} 2)'))" for at in (1, 2))


@pytest.mark.parametrize(
    ("made", "values"),
    [
        ("MEDIUMTEXT CHARACTER SET latin1", TEXT),
        ("MEDIUMTEXT", TEXT),
        ("LONGTEXT CHARACTER SET utf8mb4", TEXT),
        ("LONGTEXT CHARACTER SET utf16", TEXT),
        ("LONGTEXT CHARACTER SET utf8mb4 COMPRESSED", TEXT),
        ("MEDIUMBLOB", BYTES),
        ("LONGBLOB", BYTES),
        ("MEDIUMBLOB COMPRESSED", BYTES),
        ("JSON", JSON),
        ("GEOMETRY", GEOMETRY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_long_value_is_compared_to_its_end(
    tables: Tables, new_api: NewApi, packet: Callable[[int], None], made: str, values: tuple[str, str]
) -> None:
    add_column(tables, made, made)
    packet(1024 * 1024)
    assert_only_what_is_the_same_is_deleted(tables, new_api(), *values)


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_nor_does_a_larger_packet_bound_what_is_compared(
    tables: Tables, new_api: NewApi, packet: Callable[[int], None]
) -> None:
    add_column(tables, "LONGTEXT", "LONGTEXT")
    packet(64 * 1024 * 1024)
    longer = Tables(tables.mariadb, tables.database)
    packet(16 * 1024 * 1024)
    assert_only_what_is_the_same_is_deleted(longer, new_api(), *(f"CONCAT(REPEAT('x', 20000000), '{end}')" for end in "ab"))
    longer.close()


@pytest.mark.parametrize(
    ("live", "archived"),
    [
        ("MEDIUMTEXT", "LONGTEXT"),
        ("MEDIUMTEXT", "MEDIUMTEXT COMPRESSED"),
        ("MEDIUMTEXT COLLATE utf8_bin", "LONGTEXT COLLATE utf8_general_ci"),
        ("JSON", "LONGTEXT CHARACTER SET utf8mb4"),
    ],
)
def test_columns_that_are_made_otherwise_and_hold_the_same(
    tables: Tables, new_api: NewApi, packet: Callable[[int], None], live: str, archived: str
) -> None:
    add_column(tables, live, archived)
    packet(1024 * 1024)
    assert_only_what_is_the_same_is_deleted(tables, new_api(), *(JSON if live == "JSON" else TEXT))


@pytest.mark.parametrize(
    ("live", "archived"),
    [
        ("TEXT CHARACTER SET latin1", "TEXT CHARACTER SET utf8mb4"),
        ("VARCHAR(10000) CHARACTER SET utf16", "TEXT CHARACTER SET utf8mb4"),
        ("TEXT CHARACTER SET utf8mb4", "TEXT CHARACTER SET utf16"),
    ],
)
def test_texts_that_are_converted_are_compared_to_their_end(
    tables: Tables, new_api: NewApi, packet: Callable[[int], None], live: str, archived: str
) -> None:
    """Of two charsets, as long as both columns can hold."""
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ROW_FORMAT = DYNAMIC")
    add_column(tables, live, archived)
    packet(1024 * 1024)
    assert_only_what_is_the_same_is_deleted(tables, new_api(), *(f"CONCAT(REPEAT('é', 9999), '{end}')" for end in "ab"))


def test_a_text_that_is_cut_off_on_its_way_stays(tables: Tables, new_api: NewApi, packet: Callable[[int], None]) -> None:
    add_column(tables, "LONGTEXT", "TEXT")
    packet(1024 * 1024)
    fill(tables, LIST, 1, TEXT[0])
    fill(tables, LIST, 2, "REPEAT('é', 9)")
    live = digests(tables, LIST)
    api = new_api()

    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [1]

    assert digests(tables, LIST) == {1: live[1]}
    assert digests(tables, ARCHIVE)[2] == live[2]
    assert api.compare([1]).json()["leads"][0]["different_columns"] == ["own"]
    # The copy that was cut off is never brought back over the lead that is whole.
    assert api.dearchive_all([1, 2]).json()["remaining_lead_ids"] == [1]
    assert digests(tables, LIST) == live


def test_every_charset_has_the_collation_that_compares_bytes(tables: Tables) -> None:
    lacking = tables.execute(
        "SELECT character_set_name FROM information_schema.character_sets WHERE character_set_name <> 'binary'"
        " AND CONCAT(character_set_name, '_nopad_bin') NOT IN (SELECT collation_name FROM information_schema.collations)"
    )
    assert lacking == []
