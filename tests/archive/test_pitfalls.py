"""The ways in which copying and comparing all columns goes wrong, each on real rows.

The numbers are those of the list in docs/guarantees.md.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.api import Api
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"
EVERY_NULLABLE_TEXT = ("status", "user", "vendor_lead_code", "source_id", "first_name", "comments", "owner", "email")


def assert_archived(tables: Tables, api: Api, *lead_ids: int) -> None:
    """Assert that the leads are archived byte for byte, dearchived, and archived again."""
    before, _ = tables.both()
    for call, after in (
        (api.archive_all, ({}, before)),
        (api.dearchive_all, (before, {})),
        (api.archive_all, ({}, before)),
    ):
        response = call(list(lead_ids))
        assert response.json()["delete_count"] == len(lead_ids), response.json()
        assert tables.both() == after


def assert_kept(tables: Tables, api: Api, *lead_ids: int, update: bool = False) -> None:
    """Assert that the leads stay unchanged in vicidial_list, and that the answer names them."""
    before, archived = tables.both()
    response = api.archive({**api.ALL, "update_leads": update, "lead_ids": list(lead_ids)})
    assert response.json()["delete_count"] == 0
    assert response.json()["remaining_lead_ids"] == sorted(lead_ids)
    assert tables.rows(LIST) == before
    if archived and not update:
        assert {lead_id: tables.rows(ARCHIVE)[lead_id] for lead_id in archived} == archived


# 1


@pytest.mark.parametrize(
    ("live", "archived"),
    [(None, ""), ("", None), (None, "0"), ("0", None), ("", "0"), ("0", "")],
)
@pytest.mark.parametrize("column", EVERY_NULLABLE_TEXT)
def test_null_and_empty_and_zero_are_three_values(tables: Tables, api: Api, column: str, live: Any, archived: Any) -> None:
    tables.live(1, **{column: live})
    tables.archived(1, **{column: archived})
    assert_kept(tables, api, 1)


@pytest.mark.parametrize("column", ["called_count", "gmt_offset_now"])
def test_null_and_zero_are_two_numbers(tables: Tables, api: Api, column: str) -> None:
    tables.live(1, **{column: None})
    tables.archived(1, **{column: 0})
    tables.live(2, **{column: 0})
    tables.archived(2, **{column: None})
    assert_kept(tables, api, 1, 2)


def test_nulls_are_equal_to_nulls(tables: Tables, api: Api) -> None:
    nullable = [
        (column or b"").decode()
        for (column,) in tables.execute(
            "SELECT column_name FROM information_schema.columns"
            f" WHERE table_schema = DATABASE() AND table_name = '{LIST}' AND is_nullable = 'YES'"
        )
    ]
    assert len(nullable) == 29
    tables.live(1, **dict.fromkeys(nullable))
    assert_archived(tables, api, 1)


# 2


@pytest.mark.parametrize(
    ("live", "archived"),
    [("josé", "JOSE"), ("josé", "José"), ("trail ", "trail"), ("trail", "trail  "), ("straße", "strasse"), ("e\u0301", "é")],
)
@pytest.mark.parametrize("collation", ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_unicode_520_nopad_ci"])
def test_texts_that_a_collation_calls_equal_differ(tables: Tables, api: Api, live: str, archived: str, collation: str) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")
    tables.live(1, last_name=live)
    tables.archived(1, last_name=archived)
    assert_kept(tables, api, 1)
    assert api.archive_all([1]).json()["update_count"] == 1
    assert tables.ids() == ([], [1])
    assert tables.execute(f"SELECT last_name FROM {ARCHIVE}") == [(live.encode(),)]


def test_enum_values_that_a_collation_calls_equal_differ(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} MODIFY gender ENUM('M','F','U')")
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY gender ENUM('m','F','U')")
    tables.live(1, gender="M")
    assert_kept(tables, api, 1)


# 3


def test_leads_are_archived_between_two_collations_of_one_charset(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    tables.execute(f"ALTER TABLE {ARCHIVE} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    tables.live(1, last_name="Müller", comments="ß ")
    assert_archived(tables, api, 1)


# 4


@pytest.mark.parametrize(
    ("live", "archive"), [("latin1", "utf8mb4"), ("utf8mb4", "latin1"), ("utf8mb3", "utf8mb4"), ("cp1250", "utf8mb3")]
)
def test_leads_are_archived_between_tables_in_two_charsets(tables: Tables, api: Api, live: str, archive: str) -> None:
    tables.execute(f"ALTER TABLE {LIST} CONVERT TO CHARACTER SET {live}")
    tables.execute(f"ALTER TABLE {ARCHIVE} CONVERT TO CHARACTER SET {archive}")
    tables.live(1, last_name="José ?", called_since_last_reset="Y", comments=None, owner="")

    response = api.archive_all([1])

    assert response.json()["delete_count"] == 1
    assert tables.ids() == ([], [1])
    archived = tables.execute(
        f"SELECT CONVERT(last_name USING utf8mb4), called_since_last_reset, comments, owner FROM {ARCHIVE}"
    )
    assert archived == [("José ?".encode(), b"Y", None, b"")]


def test_leads_are_archived_from_a_charset_with_two_bytes_a_character(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} MODIFY last_name VARCHAR(30) CHARACTER SET ucs2")
    tables.live(1, last_name="José")
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.execute(f"SELECT last_name FROM {ARCHIVE}") == [("José".encode(),)]
    assert tables.rows(LIST) == {}


# 5


@pytest.mark.parametrize("text", ["Łukasz", "😀", "日本", "\u202e"])
def test_a_character_that_the_archives_charset_lacks(tables: Tables, api: Api, text: str) -> None:
    tables.execute(f"ALTER TABLE {LIST} CONVERT TO CHARACTER SET utf8mb4")
    tables.execute(f"ALTER TABLE {ARCHIVE} CONVERT TO CHARACTER SET latin1")
    tables.live(1, last_name=text)
    assert_kept(tables, api, 1)


def test_a_character_that_the_lists_charset_lacks(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} CONVERT TO CHARACTER SET latin1")
    tables.execute(f"ALTER TABLE {ARCHIVE} CONVERT TO CHARACTER SET utf8mb4")
    tables.live(1, last_name="?")
    tables.archived(1, last_name="😀")
    assert_kept(tables, api, 1)


# 6


def test_an_enum_value_that_the_archive_lacks(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY called_since_last_reset ENUM('Y','N','Y1') DEFAULT 'N'")
    tables.live(1, called_since_last_reset="D")
    assert_kept(tables, api, 1)


def test_enums_whose_values_stand_in_another_order(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY gender ENUM('U','F','M') DEFAULT 'U'")
    tables.live(1, gender="M")
    assert_archived(tables, api, 1)


def test_an_empty_enum_is_not_null(tables: Tables, api: Api) -> None:
    tables.execute("SET SESSION sql_mode = ''")
    tables.live(1, gender=0)
    tables.live(2, gender=None)
    tables.archived(1, gender=None)
    tables.archived(2, gender=0)
    assert tables.execute(f"SELECT gender FROM {LIST}") == [(b"",), (None,)]
    assert_kept(tables, api, 1, 2)


def test_an_empty_enum_is_archived(tables: Tables, api: Api) -> None:
    tables.execute("SET SESSION sql_mode = ''")
    tables.live(1, gender=0, called_since_last_reset=0)
    assert_archived(tables, api, 1)


# 7


@pytest.mark.usefixtures("strict_server")
@pytest.mark.parametrize("date", ["0000-00-00", "2020-02-00", "2020-00-00", "0000-02-01", "1000-01-01", "9999-12-31"])
@pytest.mark.parametrize("column", ["entry_date", "last_local_call_time", "date_of_birth"])
def test_zero_and_partial_dates_are_archived(tables: Tables, api: Api, column: str, date: str) -> None:
    tables.live(1, **{column: date})
    (row,) = tables.execute(f"SELECT {column} FROM {LIST}")
    assert (row[0] or b"").startswith(date.encode())
    assert_archived(tables, api, 1)


@pytest.mark.usefixtures("strict_server")
def test_a_zero_timestamp_is_archived(tables: Tables, api: Api) -> None:
    tables.live(1, modify_date="0000-00-00 00:00:00")
    assert_archived(tables, api, 1)


@pytest.mark.parametrize("column", ["entry_date", "date_of_birth"])
def test_a_zero_date_is_not_null(tables: Tables, api: Api, column: str) -> None:
    tables.live(1, **{column: "0000-00-00"})
    tables.archived(1, **{column: None})
    tables.live(2, **{column: None})
    tables.archived(2, **{column: "0000-00-00"})
    assert_kept(tables, api, 1, 2)


# 8


def test_an_update_keeps_modify_date(tables: Tables, api: Api) -> None:
    tables.live(1, status="SALE", modify_date="2020-05-05 05:05:05")
    tables.archived(1, status="NEW", modify_date="2020-05-05 05:05:05")
    tables.live(2, status="SALE", modify_date="2021-05-05 05:05:05")
    tables.archived(2, status="NEW", modify_date="2020-05-05 05:05:05")
    assert_archived(tables, api, 1, 2)


# 9


def test_a_null_modify_date_that_the_archive_cannot_hold(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} MODIFY modify_date TIMESTAMP NULL DEFAULT NULL")
    tables.live(1, modify_date=None)
    assert_kept(tables, api, 1, update=True)


# 10


def test_the_hour_that_daylight_saving_time_repeats(tables: Tables, api: Api) -> None:
    # 02:30 in Berlin, where the server's clock is, twice: half an hour before and after the clocks went back.
    tables.live(1, modify_date="2024-10-27 00:30:00")
    tables.live(2, modify_date="2024-10-27 01:30:00")
    assert_archived(tables, api, 1, 2)


def test_two_instants_that_a_wall_clock_shows_alike(tables: Tables, api: Api) -> None:
    tables.live(1, modify_date="2024-10-27 00:30:00")
    tables.archived(1, modify_date="2024-10-27 01:30:00")
    assert_kept(tables, api, 1)


# 11


def test_a_change_that_modify_date_does_not_tell(tables: Tables, api: Api) -> None:
    tables.live(1, gmt_offset_now="-4.00")
    tables.archived(1, gmt_offset_now="-5.00")
    assert_kept(tables, api, 1)
    assert api.archive_all([1]).json()["update_count"] == 1
    assert tables.ids() == ([], [1])


# 12


def test_lead_0_keeps_its_number(tables: Tables, api: Api) -> None:
    # Into a table that counts: what dearchiving does, and an archive whose AUTO_INCREMENT was never taken off.
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY lead_id INT(9) UNSIGNED NOT NULL AUTO_INCREMENT")
    tables.live(0, 1)
    assert_archived(tables, api, 0, 1)


# 13


def test_columns_in_another_order_are_not_mixed_up(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY first_name VARCHAR(30) AFTER last_name")
    tables.live(1, first_name="Ada", last_name="Lovelace")
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.execute(f"SELECT first_name, last_name FROM {ARCHIVE}") == [(b"Ada", b"Lovelace")]


def test_an_extra_column_in_the_archive(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN archived_by VARCHAR(20) DEFAULT 'api' FIRST")
    tables.live(1)
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.execute(f"SELECT lead_id, archived_by FROM {ARCHIVE}") == [(b"1", b"api")]
    assert tables.rows(LIST) == {}


# 14 and 15: see test_engines.py and test_concurrency.py too


def test_a_lead_that_changes_while_it_is_copied_stays(tables: Tables, api: Api) -> None:
    """The dialler has locked the row when the batch begins, and changes it. The batch waits, and copies the committed row."""
    tables.live(1, status="NEW")
    tables.archived(1, status="NEW")
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with dialler.cursor() as cursor:
        cursor.execute(f"UPDATE {LIST} SET status = 'SALE', modify_date = modify_date WHERE lead_id = 1")
    answers: list[dict[str, Any]] = []
    body = {**api.ALL, "update_leads": False, "lead_ids": [1]}
    batch = threading.Thread(target=lambda: answers.append(api.archive(body).json()))
    batch.start()
    tables.wait_until_a_lock_is_in_the_way()
    assert batch.is_alive()
    dialler.commit()
    batch.join()
    dialler.close()
    assert answers[0]["remaining_lead_ids"] == [1]
    assert tables.execute(f"SELECT status FROM {LIST}") == [(b"SALE",)]


# 16


def test_a_modify_date_without_attributes(tables: Tables, api: Api) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} MODIFY modify_date TIMESTAMP NULL DEFAULT NULL")
    tables.live(1, modify_date=None)
    tables.live(2, modify_date="2020-05-05 05:05:05")
    assert_archived(tables, api, 1, 2)
