"""Office hours: the times of the week at which no lead may be archived.

An instant lies inside the office hours exactly when the wall clock in their time zone shows a time inside a window. So
when the clocks change, a window may be entered twice, be cut short or not happen at all.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Mon-Fri 08:00-17:00; Sat,Sun 09:00-13:00"
MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """Weekly windows in one time zone, made by `parse`.

    Answers are exact for zones whose offset from UTC is whole minutes, as all have been since 1972.
    """

    text: str
    timezone: tzinfo
    # A byte for each minute from Monday 00:00: 1 inside, 0 outside. Two equal weeks, as a search may run past Sunday.
    _minutes: bytes = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, timezone: ZoneInfo | None) -> Self:
        """Read `none`, or windows such as `Mon-Fri 08:00-17:00; Sat,Sun 09:00-13:00`.

        Times run from 00:00 to 24:00; a window includes its start and excludes its end. One that ends before it starts
        runs past midnight and belongs to its first day. Windows may touch and overlap.

        Raises ValueError, naming the wrong part and how to write it, if `text` is neither, if the windows cover the
        whole week, or if there are windows but no `timezone`.
        """
        text = re.sub(r"\s*([-,;])\s*", r"\1", text.strip())
        if text.lower() == "none":
            return cls("none", timezone or UTC, bytes(2 * MINUTES_PER_WEEK))
        if not text:
            raise ValueError(f"office hours are empty: write none, or windows such as {EXAMPLE}")

        week = bytearray(MINUTES_PER_WEEK)
        windows = [window.split() for window in text.split(";")]
        for window in windows:
            if not window:
                raise ValueError(f"{text!r} has an empty window: write ; only between windows, such as {EXAMPLE}")
            if len(window) != 2:
                raise ValueError(f"{' '.join(window)!r} is not a window: write days and times, such as {EXAMPLE}")
            days = _parse_days(window[0])
            start, end = _parse_times(window[1])
            for day in days:
                for minute in range(start, end):
                    week[(day * MINUTES_PER_DAY + minute) % MINUTES_PER_WEEK] = True

        if all(week):
            raise ValueError(f"{text!r} covers the whole week, so no lead could ever be archived: leave time free")
        if timezone is None:
            raise ValueError(f"{text!r} needs a time zone, such as Europe/Berlin")
        return cls("; ".join(" ".join(window) for window in windows).title(), timezone, bytes(week) * 2)

    def __str__(self) -> str:
        """The office hours as `parse` reads them, tidied up; without the time zone."""
        return self.text

    def end(self, now: datetime) -> datetime | None:
        """Return the instant at which the office hours that include `now` end, None if `now` lies outside.

        `now` is an aware datetime; the answer is in UTC and later than `now`. Raises ValueError if `now` is naive.
        """
        instant = _utc_minute(now)
        if not self._minutes[self._minute_of_week(instant)]:
            return None
        return self._first(instant, inside=False)

    def next_start(self, now: datetime) -> datetime | None:
        """Return the next instant at which office hours begin (inside them: the next ones), None if there are none.

        `now` is an aware datetime; the answer is in UTC and later than `now`. Raises ValueError if `now` is naive.
        """
        instant = _utc_minute(now)
        if True not in self._minutes:
            return None
        return self._first(self._first(instant, inside=False), inside=True)

    def _first(self, instant: datetime, *, inside: bool) -> datetime:
        """The first whole minute, `instant` or later, that lies inside the office hours, or else outside."""
        while (minute := self._minute_of_week(instant)) != (match := self._minutes.find(inside, minute)):
            instant += timedelta(minutes=self._steady(instant, match - minute))
        return instant

    def _steady(self, instant: datetime, minutes: int) -> int:
        """How many of the next `minutes`, up to a day, pass before the clocks change."""
        minutes = min(minutes, MINUTES_PER_DAY)  # no zone has changed its clocks and changed them back within a day
        offset = self._offset(instant)
        if self._offset(instant + timedelta(minutes=minutes)) == offset:
            return minutes
        return bisect_left(range(minutes), True, key=lambda m: self._offset(instant + timedelta(minutes=m)) != offset)

    def _minute_of_week(self, instant: datetime) -> int:
        wall_clock = instant.astimezone(self.timezone)
        return wall_clock.weekday() * MINUTES_PER_DAY + wall_clock.hour * 60 + wall_clock.minute

    def _offset(self, instant: datetime) -> timedelta | None:
        return instant.astimezone(self.timezone).utcoffset()


def _utc_minute(now: datetime) -> datetime:
    if now.utcoffset() is None:
        raise ValueError(f"{now!r} is naive: give a datetime with a time zone")
    return now.astimezone(UTC).replace(second=0, microsecond=0)


def _parse_days(text: str) -> list[int]:
    """The days of `Mon-Wed,Fri`, counted from Monday = 0."""
    days = []
    for part in text.split(","):
        names = part.split("-")
        for name in names:
            if name.capitalize() not in DAYS:
                raise ValueError(f"{name!r} in {text!r} is not a day: write {', '.join(DAYS)}, such as Mon-Wed,Fri")
        first, last = DAYS.index(names[0].capitalize()), DAYS.index(names[-1].capitalize())
        if len(names) > 2 or (len(names) == 2 and first == last):  # Mon-Mon could mean one day or the week
            raise ValueError(f"{part!r} is not a range of days: write one day, or the first and the last as in Mon-Fri")
        days += [(first + i) % 7 for i in range((last - first) % 7 + 1)]
    return days


def _parse_times(text: str) -> tuple[int, int]:
    """The start and the end of `22:00-06:00`, in minutes from midnight at the start of the first day."""
    times = text.split("-")
    if len(times) != 2:
        raise ValueError(f"{text!r} is not a start and an end: write them like 08:00-17:00, one pair after the days")
    for time in times:
        if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", time):
            raise ValueError(f"{time!r} in {text!r} is not a time: write 00:00 to 24:00, such as 08:00-17:00")
    start, end = (int(time[:2]) * 60 + int(time[3:]) for time in times)
    if start == MINUTES_PER_DAY:
        raise ValueError(f"{text!r} starts at 24:00: write 00:00 and the next day")
    if start == end:
        raise ValueError(f"{text!r} ends when it starts: write 00:00-24:00 for a whole day")
    return start, end if end > start else end + MINUTES_PER_DAY
