"""Random rows in both tables and random flags: the real database gives the same results as the model.

LEAD_ARCHIVE_EXAMPLES sets the number of cases. scripts/chaos tries thousands.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import model
from support.api import Api
from support.tables import Row, Tables

EXAMPLES = int(os.environ.get("LEAD_ARCHIVE_EXAMPLES", "100"))

CALLED = ["Y", "N", *(f"Y{number}" for number in range(1, 11)), "D"]

# Texts that are equal to some collations, charsets or paddings, and random ones from all of Unicode.
ODD_TEXTS = [
    "",
    "0",
    " ",
    "a",
    "A",
    "a ",
    " a",
    "á",
    "a\u0301",
    "ß",
    "ss",
    "😀",
    "日本",
    "?",
    "\\",
    "'",
    "\0",
    "\u00ad",
    "\u0130",
    "\u0131",
]


def texts(length: int) -> st.SearchStrategy[str | None]:
    any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=length)
    return st.none() | st.sampled_from([text for text in ODD_TEXTS if len(text) <= length]) | any_text


def integers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.sampled_from([least, most, 0]) | st.integers(least, most)


DATES = st.sampled_from(
    ["0000-00-00", "2020-02-00", "2020-00-00", "0000-01-01", "1000-01-01", "2024-02-29", "9999-12-31"]
) | st.dates().map(str)
DATETIMES = DATES | st.datetimes().map(lambda moment: str(moment.replace(microsecond=0)))
# Around the repeated hour of Europe/Berlin, and the smallest and largest TIMESTAMP.
TIMESTAMPS = st.sampled_from(
    ["0000-00-00 00:00:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07"]
    + [f"2024-10-27 {hour:02}:{minute}:00" for hour in (0, 1, 2) for minute in (10, 30, 59)]
)

ROWS = st.fixed_dictionaries(
    {
        "modify_date": TIMESTAMPS,
        "phone_number": texts(18).map(lambda text: text or ""),
    },
    optional={
        "entry_date": st.none() | DATETIMES,
        "status": texts(6),
        "list_id": integers(0, 2**64 - 1),
        "gmt_offset_now": st.none() | st.decimals(-99, 99, places=2),
        "called_since_last_reset": st.none() | st.just(0) | st.sampled_from(CALLED),
        "middle_initial": texts(1),
        "last_name": texts(30),
        "comments": texts(255),
        "gender": st.none() | st.just(0) | st.sampled_from(["M", "F", "U"]),
        "date_of_birth": st.none() | DATES,
        "called_count": st.none() | integers(0, 65535),
        "last_local_call_time": st.none() | DATETIMES,
        "rank": integers(-32768, 32767),
        "owner": texts(20),
    },
)

# A lead: its live row, its archived row, and whether the two are the same.
LEADS = st.tuples(st.none() | ROWS, st.none() | ROWS, st.booleans())


@pytest.mark.parametrize("charsets", [("utf8mb4", "utf8mb4"), ("utf8mb3", "utf8mb4")], ids="-".join)
def test_random_rows_are_archived_and_dearchived_as_the_model_says(
    tables: Tables, api: Api, charsets: tuple[str, str]
) -> None:
    for table, charset in zip(("vicidial_list", "vicidial_list_archive"), charsets, strict=True):
        tables.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET {charset}")
    tables.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")

    def fits(row: Row) -> bool:
        """Return whether vicidial_list can store an archived row: utf8mb3 has no characters of four bytes."""
        return charsets[0] == "utf8mb4" or not any(byte >= 0xF0 for value in row for byte in value or b"")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        leads=st.lists(LEADS, min_size=1, max_size=5),
        flags=st.tuples(*[st.booleans()] * 5),
    )
    def check(leads: list[tuple[dict[str, Any] | None, dict[str, Any] | None, bool]], flags: tuple[bool, ...]) -> None:
        tables.execute("DELETE FROM vicidial_list")
        tables.execute("DELETE FROM vicidial_list_archive")
        for lead_id, (live, archived, alike) in enumerate(leads):
            if live is not None:
                tables.live(lead_id, **live)
            if archived is not None:
                tables.archived(lead_id, **(live if alike and live is not None else archived))
        lead_ids = list(range(len(leads)))
        there = dict(zip(("insert_leads", "update_leads", "delete_leads"), flags[:3], strict=True), lead_ids=lead_ids)
        back = dict(zip(("insert_leads", "delete_leads"), flags[3:], strict=True), lead_ids=lead_ids)
        for call, expected, body in (
            (api.archive, model.archive, there),
            (api.dearchive, partial(model.dearchive, fits=fits), back),
        ):
            status, answer, live_after, archived_after = expected(*tables.both(), body)

            response = call(body)

            assert (response.status_code, response.json()) == (status, answer)
            assert tables.both() == (live_after, archived_after)

    check()
