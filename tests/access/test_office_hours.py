"""Office hours: when exactly they end and begin, also when the clocks change."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from support.clocks import APIA, BERLIN, CLOCK_CHANGES, JUNE, MICROSECOND, NEW_YORK, june, utc

from service.access.office_hours import OfficeHours


def test_a_window_includes_its_start_and_excludes_its_end_to_the_microsecond() -> None:
    office_hours = OfficeHours.parse("Wed 08:00-17:00", BERLIN)
    start, end = june("Wed", "08:00"), june("Wed", "17:00")
    assert office_hours.end(start - MICROSECOND) is None
    assert office_hours.end(start) == end
    assert office_hours.end(end - MICROSECOND) == end
    assert office_hours.end(end) is None


def test_the_next_start_is_later_than_now_to_the_microsecond() -> None:
    office_hours = OfficeHours.parse("Wed-Thu 08:00-17:00", BERLIN)
    start, next_start = june("Wed", "08:00"), june("Thu", "08:00")
    assert office_hours.next_start(start - MICROSECOND) == start
    assert office_hours.next_start(start) == next_start
    assert office_hours.next_start(june("Wed", "17:00") - MICROSECOND) == next_start
    assert office_hours.next_start(june("Wed", "17:00")) == next_start


def test_answers_are_in_utc() -> None:
    office_hours = OfficeHours.parse("Wed 08:00-17:00", BERLIN)
    answers = office_hours.end(june("Wed", "12:00")), office_hours.next_start(june("Wed", "12:00"))
    assert [answer and answer.isoformat() for answer in answers] == [
        "2025-06-04T15:00:00+00:00",
        "2025-06-11T06:00:00+00:00",
    ]


def test_now_may_be_in_any_time_zone() -> None:
    office_hours = OfficeHours.parse("Wed 08:00-17:00", BERLIN)
    for zone in (UTC, NEW_YORK, APIA, timezone(timedelta(hours=5, minutes=45, seconds=30))):
        assert office_hours.end(june("Wed", "16:59:59").astimezone(zone)) == june("Wed", "17:00")
        assert office_hours.end(june("Wed", "17:00").astimezone(zone)) is None


@pytest.mark.parametrize("text", ["none", "Mon 08:00-17:00"])
def test_a_naive_now_is_an_error(text: str) -> None:
    office_hours = OfficeHours.parse(text, BERLIN)
    naive = datetime(2025, 6, 2, 12)
    for method in (office_hours.end, office_hours.next_start):
        with pytest.raises(ValueError, match=r"datetime\.datetime\(2025, 6, 2, 12, 0\) is naive"):
            method(naive)


def test_a_window_past_midnight_belongs_to_its_first_day() -> None:
    office_hours = OfficeHours.parse("Fri 22:00-06:00", BERLIN)
    assert office_hours.end(june("Fri", "05:59")) is None
    assert office_hours.end(june("Fri", "22:00")) == june("Sat", "06:00")
    assert office_hours.end(june("Sat", "05:59")) == june("Sat", "06:00")
    assert office_hours.end(june("Sat", "22:00")) is None


def test_a_window_past_midnight_on_sunday_reaches_into_monday() -> None:
    office_hours = OfficeHours.parse("Sun 22:00-06:00", BERLIN)
    monday = june("Sun", "06:00") + timedelta(days=1)
    assert office_hours.end(june("Sun", "22:00")) == monday
    assert office_hours.end(june("Mon", "05:59")) == june("Mon", "06:00")
    assert office_hours.end(june("Mon", "06:00")) is None
    assert office_hours.next_start(june("Mon", "00:00")) == june("Sun", "22:00")


def test_a_window_may_end_at_midnight_in_both_notations() -> None:
    for text in ("Fri 22:00-24:00", "Fri 22:00-00:00"):
        assert OfficeHours.parse(text, BERLIN).end(june("Fri", "23:00")) == june("Sat", "00:00")


@pytest.mark.parametrize(
    ("text", "now", "end"),
    [
        ("Mon 08:00-12:00; Mon 12:00-17:00", ("Mon", "08:00"), ("Mon", "17:00")),
        ("Mon 12:00-17:00; Mon 08:00-13:00", ("Mon", "08:00"), ("Mon", "17:00")),
        ("Mon 08:00-17:00; Mon 09:00-10:00", ("Mon", "09:30"), ("Mon", "17:00")),
        ("Mon-Tue 00:00-24:00", ("Mon", "12:00"), ("Wed", "00:00")),
        ("Mon-Sun 22:00-24:00; Mon-Sun 00:00-06:00", ("Wed", "23:00"), ("Thu", "06:00")),
        ("Thu 22:00-06:00; Fri 05:00-07:00", ("Thu", "22:00"), ("Fri", "07:00")),
    ],
)
def test_windows_that_touch_or_overlap_are_one_period(text: str, now: tuple[str, str], end: tuple[str, str]) -> None:
    assert OfficeHours.parse(text, BERLIN).end(june(*now)) == june(*end)


def test_one_period_may_run_from_sunday_into_monday() -> None:
    office_hours = OfficeHours.parse("Sat-Sun 00:00-24:00; Mon 00:00-06:00", BERLIN)
    assert office_hours.end(june("Sat", "00:00")) == june("Sun", "06:00") + timedelta(days=1)


def test_the_next_start_may_be_a_week_away() -> None:
    office_hours = OfficeHours.parse("Wed 08:00-17:00", BERLIN)
    assert office_hours.next_start(june("Wed", "08:00")) == june("Wed", "08:00") + timedelta(days=7)


# --- When the clocks change ----------------------------------------------------------------------------------------------

CASES = """\
Berlin forward
    Sat-Sun 22:00-06:00 | Sat 21:00-Sun 04:00, Sun 20:00-Mon 04:00 | a night is an hour shorter
    Sun 01:00-02:30 | Sun 00:00-01:00 | an end within the gap is the jump
    Sun 02:30-04:00 | Sun 01:00-02:00 | a start within the gap is the jump
    Sun 02:15-02:45 | - | a window within the gap does not happen
    Sun 00:00-02:00; Sun 03:00-05:00 | Sat 23:00-Sun 03:00 | windows on both sides of the gap are one period
Berlin back
    Sat-Sun 22:00-06:00 | Sat 20:00-Sun 05:00, Sun 21:00-Mon 05:00 | a night is an hour longer
    Sun 02:15-02:45 | Sun 00:15-00:45, Sun 01:15-01:45 | a window in the repeated hour is entered twice
    Sun 01:00-02:30 | Sat 23:00-Sun 00:30, Sun 01:00-01:30 | one that ends in the repeated hour is entered again at the change
    Sun 02:30-04:00 | Sun 00:30-01:00, Sun 01:30-03:00 | one that starts in the repeated hour is left again at the change
    Sun 02:00-03:00 | Sun 00:00-02:00 | the repeated hour itself lasts two
New York forward
    Sun 01:30-02:30; Sun 12:00-13:00 | Sun 06:30-07:00, Sun 16:00-17:00 | the hour that is skipped
New York back
    Sun 01:15-01:45; Sun 12:00-13:00 | Sun 05:15-05:45, Sun 06:15-06:45, Sun 17:00-18:00 | the repeated hour
Lord Howe forward
    Sun 01:00-02:15; Sun 02:45-03:00 | Sat 14:30-15:30, Sat 15:45-16:00 | by half an hour
Lord Howe back
    Sun 01:40-01:50; Sun 02:10-02:20 | Sat 14:40-14:50, Sat 15:10-15:20, Sat 15:40-15:50 | by half an hour
Havana forward
    Sat 22:00-00:30; Sun 00:15-01:15 | Sun 03:00-05:15 | Sunday begins at 01:00
Havana back
    Sat 22:00-00:30 | Sun 02:00-04:30, Sun 05:00-05:30 | Sunday begins twice
Beirut forward
    Sat 22:00-24:00; Sun 00:00-00:30 | Sat 20:00-22:00 | Sunday begins at 01:00
Beirut back
    Sat 22:00-24:00 | Sat 19:00-22:00 | Saturday ends an hour later
Apia crosses the date line
    Thu 22:00-06:00; Fri 08:00-17:00; Sat 09:00-13:00 | Fri 08:00-10:00, Fri 19:00-23:00 | a Thursday is followed by a Saturday
"""
"""By clock change: windows, the office hours that begin within a day of it in UTC, and what the case shows."""


def clock_change_cases() -> Iterator[object]:
    change = ""
    for line in CASES.splitlines():
        if not line.startswith(" "):
            change = line
            continue
        windows, expected, what = line.strip().split(" | ")
        yield pytest.param(change, windows, expected.removeprefix("-").strip(), id=f"{change}: {what}")


def periods(office_hours: OfficeHours, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the start and the end of the office hours that begin later than `since` and before `until`."""
    start = office_hours.next_start(since)
    while start and start < until:
        end = office_hours.end(start)
        assert end
        yield start, end
        start = office_hours.next_start(start)


def shown(found: Iterator[tuple[datetime, datetime]]) -> str:
    """Return "Sat 23:00-Sun 01:00, Sun 02:00-03:00": the day of an end only if it is another one."""
    return ", ".join(
        f"{start:%a %H:%M}-{end:%H:%M}" if start.date() == end.date() else f"{start:%a %H:%M}-{end:%a %H:%M}"
        for start, end in found
    )


@pytest.mark.parametrize(("change", "windows", "expected"), list(clock_change_cases()))
def test_the_wall_clock_decides_when_the_clocks_change(change: str, windows: str, expected: str) -> None:
    zone, at = CLOCK_CHANGES[change]
    day = timedelta(days=1)
    assert shown(periods(OfficeHours.parse(windows, zone), at - day, at + day)) == expected


def test_after_a_window_that_does_not_happen_the_next_one_is_a_week_later() -> None:
    office_hours = OfficeHours.parse("Sun 02:15-02:45", BERLIN)
    (found,) = periods(office_hours, utc("2025-03-23 12:00"), utc("2025-04-06 12:00"))
    assert found == (utc("2025-04-06 00:15"), utc("2025-04-06 00:45"))


def test_the_repeated_hour_is_told_apart_to_the_microsecond() -> None:
    office_hours = OfficeHours.parse("Sun 01:00-02:30", BERLIN)
    half_past_two = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN)
    change = utc("2025-10-26 01:00")
    assert office_hours.end(half_past_two - MICROSECOND) == utc("2025-10-26 00:30")
    assert office_hours.end(half_past_two) is None
    assert office_hours.end(change - MICROSECOND) is None
    assert office_hours.end(change) == utc("2025-10-26 01:30")
    assert office_hours.end(half_past_two.replace(fold=1)) is None


def test_the_jump_ends_a_window_to_the_microsecond() -> None:
    office_hours = OfficeHours.parse("Sun 01:00-02:30", BERLIN)
    jump = utc("2025-03-30 01:00")
    assert office_hours.end(jump - MICROSECOND) == jump
    assert office_hours.end(jump) is None


def test_clocks_may_change_and_change_back_within_days() -> None:
    # No zone has done so yet; this one is in UTC, and an hour ahead from Tuesday to Thursday noon.
    changes = [int(utc(f"2025-06-{day:02} 12:00").timestamp()) for day in (JUNE["Tue"], JUNE["Thu"])]
    header = struct.pack(">4s16x6l", b"TZif", 0, 0, 0, len(changes), 2, 4)
    rules = struct.pack(">2l2BlBBlBB4s", *changes, 1, 0, 0, 0, 0, 3600, 1, 0, b"ABC")
    zone = ZoneInfo.from_file(io.BytesIO(header + rules))
    found = periods(OfficeHours.parse("Thu 12:15-12:45", zone), utc("2025-06-02 00:00"), utc("2025-06-08 00:00"))
    assert shown(found) == "Thu 11:15-11:45, Thu 12:15-12:45"
