"""Office hours against a model that reads the clock at every minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.clocks import CLOCK_CHANGES, JUNE, MINUTE, utc

from service.access.office_hours import OfficeHours

Window = tuple[set[str], str, str]


def shows_office_hours(windows: list[Window], instant: datetime, zone: ZoneInfo) -> bool:
    """Whether the wall clock, read as text, is in one of the windows."""
    wall_clock = instant.astimezone(zone)
    today, yesterday = (list(JUNE)[(wall_clock.weekday() - back) % 7] for back in (0, 1))
    time = f"{wall_clock:%H:%M}"
    for days, start, end in windows:
        if start < end:
            inside = today in days and start <= time < end
        else:
            inside = (today in days and time >= start) or (yesterday in days and time < end)
        if inside:
            return True
    return False


def model_of_end(inside: Callable[[datetime], bool], now: datetime) -> datetime | None:
    instant = now.replace(second=0, microsecond=0)
    if not inside(instant):
        return None
    while inside(instant):
        instant += MINUTE
    return instant


def model_of_next_start(inside: Callable[[datetime], bool], now: datetime) -> datetime:
    instant = model_of_end(inside, now) or now.replace(second=0, microsecond=0)
    while not inside(instant):
        instant += MINUTE
    return instant


# Midnight and the hours at which clocks change are more likely to go wrong than others.
times = st.sampled_from(["00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "23:00"]) | st.times().map(
    "{:%H:%M}".format
)
window_lists: st.SearchStrategy[list[Window]] = st.lists(
    st.tuples(st.sets(st.sampled_from(list(JUNE)), min_size=1), times, times | st.just("24:00")).filter(
        lambda window: window[1] != window[2]
    ),
    min_size=1,
    max_size=4,
)
changes = st.sampled_from([*CLOCK_CHANGES.values(), (ZoneInfo("Asia/Kathmandu"), utc("2025-06-04 12:00"))])
distances = st.one_of(
    st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
    st.timedeltas(timedelta(days=-8), timedelta(days=2)),
)


@given(window_lists, changes, distances)
@example([({"Sun"}, "02:15", "02:45")], CLOCK_CHANGES["Berlin forward"], timedelta(days=-7))
@settings(deadline=None)
def test_ends_and_starts_agree_with_a_model_that_reads_the_clock_every_minute(
    windows: list[Window], change: tuple[ZoneInfo, datetime], distance: timedelta
) -> None:
    zone, near = change
    now = near + distance
    known: dict[datetime, bool] = {}

    def inside(instant: datetime) -> bool:
        if instant not in known:
            known[instant] = shows_office_hours(windows, instant, zone)
        return known[instant]

    text = "; ".join(f"{','.join(sorted(days))} {start}-{end}" for days, start, end in windows)
    ordinary_week = (utc("2025-06-02 00:00") + i * MINUTE for i in range(7 * 24 * 60))
    if all(shows_office_hours(windows, minute, ZoneInfo("UTC")) for minute in ordinary_week):
        with pytest.raises(ValueError, match="covers the whole week"):
            OfficeHours.parse(text, zone)
        return
    office_hours = OfficeHours.parse(text, zone)
    assert office_hours.end(now) == model_of_end(inside, now)
    assert office_hours.next_start(now) == model_of_next_start(inside, now)
