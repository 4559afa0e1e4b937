"""Instants and time zones for the tests of office hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
HAVANA = ZoneInfo("America/Havana")
BEIRUT = ZoneInfo("Asia/Beirut")
APIA = ZoneInfo("Pacific/Apia")

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)

# 2025-06-02 was a Monday. No clock in these zones changed in June.
JUNE = {name: 2 + i for i, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))}


def june(day: str, time: str) -> datetime:
    """Return a time in Berlin on a day of the week that begins on 2025-06-02."""
    return datetime.fromisoformat(f"2025-06-{JUNE[day]:02}T{time}").replace(tzinfo=BERLIN)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CLOCK_CHANGES: dict[str, tuple[ZoneInfo, datetime]] = {
    "Berlin forward": (BERLIN, utc("2025-03-30 01:00")),
    "Berlin back": (BERLIN, utc("2025-10-26 01:00")),
    "New York forward": (NEW_YORK, utc("2025-03-09 07:00")),
    "New York back": (NEW_YORK, utc("2025-11-02 06:00")),
    "Lord Howe back": (LORD_HOWE, utc("2025-04-05 15:00")),
    "Lord Howe forward": (LORD_HOWE, utc("2025-10-04 15:30")),
    "Havana forward": (HAVANA, utc("2025-03-09 05:00")),
    "Havana back": (HAVANA, utc("2025-11-02 05:00")),
    "Beirut forward": (BEIRUT, utc("2025-03-29 22:00")),
    "Beirut back": (BEIRUT, utc("2025-10-25 21:00")),
    "Apia crosses the date line": (APIA, utc("2011-12-30 10:00")),
}
"""When the clocks of a zone were set forward or back, or skipped a day. Lord Howe changes them by half an hour."""
