"""The text of OFFICE_HOURS: what is valid, how it is shown, and what the errors say."""

from __future__ import annotations

import dataclasses
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clocks import BERLIN, JUNE, NEW_YORK, june

from service.access.office_hours import OfficeHours


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("none", "none"),
        (" NONE\n", "none"),
        ("Mon 08:00-17:00", "Mon 08:00-17:00"),
        ("mon-FRI 08:00-17:00;sAT,sun 09:00-13:00", "Mon-Fri 08:00-17:00; Sat,Sun 09:00-13:00"),
        ("  Mon - Wed ,Fri\t08:00 -\n17:00  ;  Sat 09:00- 13:00 ", "Mon-Wed,Fri 08:00-17:00; Sat 09:00-13:00"),
        ("Fri-Mon 22:00-06:00", "Fri-Mon 22:00-06:00"),
        ("Mon 00:00-24:00", "Mon 00:00-24:00"),
    ],
)
def test_office_hours_are_read_and_shown_tidily(text: str, tidy: str) -> None:
    office_hours = OfficeHours.parse(text, BERLIN)
    assert str(office_hours) == tidy
    assert OfficeHours.parse(tidy, BERLIN) == office_hours


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("Wed", {"Wed"}),
        ("Mon-Fri", {"Mon", "Tue", "Wed", "Thu", "Fri"}),
        ("Mon-Sun", set(JUNE)),
        ("Fri-Mon", {"Fri", "Sat", "Sun", "Mon"}),
        ("Sun-Sat", set(JUNE)),
        ("Sat,Sun", {"Sat", "Sun"}),
        ("Mon-Wed,Fri", {"Mon", "Tue", "Wed", "Fri"}),
        ("Thu,Sat-Mon", {"Thu", "Sat", "Sun", "Mon"}),
        ("Mon,Mon-Tue", {"Mon", "Tue"}),
    ],
)
def test_days_are_named_alone_in_ranges_and_in_lists(days: str, expected: set[str]) -> None:
    office_hours = OfficeHours.parse(f"{days} 08:00-17:00", BERLIN)
    assert {day for day in JUNE if office_hours.end(june(day, "12:00"))} == expected


@pytest.mark.parametrize(
    ("text", "wrong", "remedy"),
    [
        ("", "empty", "write none, or windows such as Mon-Fri 08:00-17:00"),
        (" \n", "empty", "write none, or windows such as Mon-Fri 08:00-17:00"),
        (";", "';' has an empty window", "write ; only between windows"),
        ("Mon 08:00-17:00;", "'Mon 08:00-17:00;' has an empty window", "write ; only between windows"),
        ("; Mon 08:00-17:00", "';Mon 08:00-17:00' has an empty window", "write ; only between windows"),
        ("Mon 08:00-12:00; ;Mon 13:00-17:00", "has an empty window", "write ; only between windows"),
        ("always", "'always' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("none; Mon 08:00-17:00", "'none' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon 08:00-17:00; Fri", "'Fri' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("08:00-17:00", "'08:00-17:00' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon-Fri08:00-17:00", "'Mon-Fri08:00-17:00' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon Tue 08:00-17:00", "'Mon Tue 08:00-17:00' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon 08:00 17:00", "'Mon 08:00 17:00' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon 08:00-17:00 Tue 08:00-17:00", "'Mon 08:00-17:00 Tue 08:00-17:00' is not a window", "such as Mon-Fri"),
        ("Mon-Frei 08:00-17:00", "'Frei' in 'Mon-Frei' is not a day", "write Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ("Monday 08:00-17:00", "'Monday' in 'Monday' is not a day", "write Mon, Tue"),
        ("Mon-Fri: 08:00-17:00", "'Fri:' in 'Mon-Fri:' is not a day", "write Mon, Tue"),
        ("Mon, 08:00-17:00", "'Mon,08:00-17:00' is not a window", "such as Mon-Fri 08:00-17:00"),
        ("Mon,,Wed 08:00-17:00", "'' in 'Mon,,Wed' is not a day", "write Mon, Tue"),
        ("-Fri 08:00-17:00", "'' in '-Fri' is not a day", "write Mon, Tue"),
        ("Sat,Mon-Wed-Fri 08:00-17:00", "'Mon-Wed-Fri' is not a range of days", "as in Mon-Fri"),
        ("Mon-Mon 08:00-17:00", "'Mon-Mon' is not a range of days", "write one day, or the first and the last"),
        ("Mon 08:00", "'08:00' is not a start and an end", "write them like 08:00-17:00"),
        ("Mon 08:00-12:00-17:00", "'08:00-12:00-17:00' is not a start and an end", "write them like 08:00-17:00"),
        ("Mon 08:00\u201317:00", "'08:00\u201317:00' is not a start and an end", "write them like 08:00-17:00"),
        ("Mon 08:00-12:00, 13:00-17:00", "'08:00-12:00,13:00-17:00' is not a start and an end", "one pair"),
        ("Mon 8:00-17:00", "'8:00' in '8:00-17:00' is not a time", "write 00:00 to 24:00, such as 08:00-17:00"),
        ("Mon 08-17", "'08' in '08-17' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-", "'' in '08:00-' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-17:60", "'17:60' in '08:00-17:60' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-24:01", "'24:01' in '08:00-24:01' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-25:00", "'25:00' in '08:00-25:00' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-17:00:00", "'17:00:00' in '08:00-17:00:00' is not a time", "write 00:00 to 24:00"),
        ("Mon 08:00-1\u0667:00", "'1\u0667:00' in", "write 00:00 to 24:00"),
        ("Mon 08:00-08:00", "'08:00-08:00' ends when it starts", "write 00:00-24:00 for a whole day"),
        ("Mon 00:00-00:00", "'00:00-00:00' ends when it starts", "write 00:00-24:00 for a whole day"),
        ("Mon 24:00-06:00", "'24:00-06:00' starts at 24:00", "write 00:00 and the next day"),
        ("Mon 24:00-24:00", "'24:00-24:00' starts at 24:00", "write 00:00 and the next day"),
    ],
)
def test_an_error_names_the_wrong_part_and_how_to_write_it(text: str, wrong: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong)) as error:
        OfficeHours.parse(text, BERLIN)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "Mon-Sun 00:00-24:00",
        "Wed-Tue 00:00-24:00",
        "Mon-Sun 22:00-06:00; Mon-Sun 06:00-22:00",
        "Mon-Sun 08:00-24:00; Mon-Sun 00:00-08:00",
    ],
)
def test_windows_that_cover_the_whole_week_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="covers the whole week, so no lead could ever be archived"):
        OfficeHours.parse(text, BERLIN)


def test_a_single_free_minute_in_the_week_is_enough() -> None:
    office_hours = OfficeHours.parse("Mon-Sat 00:00-24:00; Sun 00:00-12:00; Sun 12:01-24:00", BERLIN)
    assert office_hours.end(june("Mon", "00:00")) == june("Sun", "12:00")
    assert office_hours.end(june("Sun", "12:00")) is None
    assert office_hours.next_start(june("Mon", "00:00")) == june("Sun", "12:01")


def test_windows_need_a_time_zone() -> None:
    with pytest.raises(ValueError, match=r"'Mon 08:00-17:00' needs a time zone, such as Europe/Berlin"):
        OfficeHours.parse("Mon 08:00-17:00", None)


@pytest.mark.parametrize("zone", [None, BERLIN])
def test_none_has_no_office_hours_with_or_without_a_time_zone(zone: ZoneInfo | None) -> None:
    office_hours = OfficeHours.parse("none", zone)
    assert office_hours.end(june("Mon", "12:00")) is None
    assert office_hours.next_start(june("Mon", "12:00")) is None


def test_office_hours_cannot_be_changed() -> None:
    office_hours = OfficeHours.parse("Mon 08:00-17:00", BERLIN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        office_hours.text = "none"  # type: ignore[misc]


def test_the_same_office_hours_in_another_time_zone_are_not_equal() -> None:
    assert OfficeHours.parse("Mon 08:00-17:00", BERLIN) != OfficeHours.parse("Mon 08:00-17:00", NEW_YORK)


pieces = st.sampled_from(["Mon", "fri", "SUN", "08:00", "17:00", "24:00", "none", "-", ",", ";", " ", "\n"])


@given(st.lists(pieces).map("".join) | st.text())
@settings(deadline=None)
def test_any_text_is_read_and_shown_so_that_it_reads_the_same_or_is_a_value_error(text: str) -> None:
    try:
        office_hours = OfficeHours.parse(text, BERLIN)
    except ValueError:
        return
    assert OfficeHours.parse(str(office_hours), BERLIN) == office_hours
