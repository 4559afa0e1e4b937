"""The end of a run by the clock: --until HH:MM."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime

from lead_archive.errors import UsageError

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
LONGEST_NAP = 60.0
"""Seconds after which the clock is read again: it may have been set, and a machine may have slept."""


def next_time(text: str, now: datetime) -> datetime:
    """Return when it is HH:MM the next time after now, both by the local clock: also the second time within an hour that it
    repeats, and the moment at which it skips that time. Raises UsageError."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--until: {text!r} is not a time: write HH:MM, such as 06:30")
    before = datetime.fromtimestamp(now.timestamp() // 60 * 60)
    while True:
        shown = datetime.fromtimestamp(before.timestamp() + 60)
        at = shown.replace(hour=int(match[1]), minute=int(match[2]))
        if at == shown or before < at < shown:
            return shown
        before = shown


async def wait_until(moment: datetime, then: Callable[[], None]) -> None:
    """Call a function when the local clock shows this moment."""
    while (left := moment.timestamp() - time.time()) > 0:  # noqa: ASYNC110  # nothing but the clock says it
        await asyncio.sleep(min(left, LONGEST_NAP))
    then()
