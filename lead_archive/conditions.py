"""The conditions that choose leads: their names in the contract, and the values that each may have.

The service checks them too. They are checked here so that a rules file or a command is refused before the first request,
with all of its errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from lead_archive.errors import visible

Where = dict[str, Any]
"""Conditions by name, as the service takes them. A lead must meet all of them."""

MOST_LISTS, MOST_TEXTS = 1000, 100
LARGEST_LIST_ID = 2**53 - 1
LONGEST_TEXT = 100
MOST_DAYS = 36500
MOST_CALLS = 65535
_DATE = re.compile(r"[1-9]\d{3}-\d\d-\d\d(T\d\d:\d\d:\d\d)?", re.ASCII)


TRAP = (
    "new leads that nobody has called meet these conditions too: Vicidial's list loader gives them a last call in 2008. To "
    "keep them, add {entered} or {count}"
)


class ValueRefusedError(Exception):
    """The value of a condition is wrong. The message says what it must be."""


def checked(name: str, value: Any) -> Any:
    """Return the value of a condition as the service takes it. Raises ValueRefusedError. name: one of CONDITIONS."""
    return CONDITIONS[name](value)


def trap(where: Where) -> str:
    """Return a warning if conditions on the last call also match leads that were loaded a moment ago; empty if they do not."""
    if not {"called_before", "called_at_least_days_ago"} & where.keys() or where.get("never_called"):
        return ""
    new_ones_stay = (
        bool({"entered_before", "entered_at_least_days_ago"} & where.keys())
        or where.get("called_count_at_least", 0) > 0
        or ("statuses" in where and "NEW" not in map(str.upper, where["statuses"]))
        or "NEW" in map(str.upper, where.get("not_statuses", []))
    )
    return "" if new_ones_stay else TRAP


def shown(value: Any) -> str:
    """Return a value as a rules file writes it, on one line."""
    return visible(json.dumps(value, ensure_ascii=False, default=str), 60)


def _list_ids(value: Any) -> list[int]:
    lists: list[int] = _array(value, "integers, such as [101, 102]", MOST_LISTS)
    for item in lists:
        if not _is_integer(item) or not 0 <= item <= LARGEST_LIST_ID:
            raise ValueRefusedError(f"{shown(item)} is not the number of a list: write integers, such as [101, 102]")
    return _each_once(lists)


def _texts(value: Any) -> list[str]:
    texts: list[str] = _array(value, 'strings, such as ["NA", "B"]', MOST_TEXTS)
    for item in texts:
        if not isinstance(item, str):
            raise ValueRefusedError(f'{shown(item)} is not a string: write it in quotes, such as ["NA", "B"]')
        if len(item) > LONGEST_TEXT:
            raise ValueRefusedError(f"{shown(item)} has more than {LONGEST_TEXT} characters")
        if "," in item or item != item.strip() or not item.isprintable():
            # With not_statuses, "NA,B" would exclude no lead, and all of them would be archived.
            raise ValueRefusedError(
                f"{shown(item)} is not one name: write each by itself, without commas, spaces and line breaks"
            )
    return _each_once(texts)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueRefusedError(f"{shown(value)} is not a boolean: write true or false")
    return value


def _before(value: Any) -> str:
    how = "write a date, such as 2026-01-31, or a local time, such as 2026-01-31T18:00:00"
    if isinstance(value, datetime) and (value.tzinfo or value.microsecond):
        raise ValueRefusedError(f"{value.isoformat()} has a time zone or fractions of a second: {how}")
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValueRefusedError(f"{shown(text)} is not a time: {how}")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueRefusedError(f"{text} is not in the calendar: {how}") from None
    return text


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not _is_integer(value) or not least <= value <= most:
            raise ValueRefusedError(f"{shown(value)} is not an integer from {least} to {most}")
        return int(value)

    return check


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _array(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise ValueRefusedError(f"{shown(value)} is not an array of {what}")
    if not 1 <= len(value) <= most:
        raise ValueRefusedError(f"it has {len(value)} values: an array of 1 to {most} is needed")
    return value


def _each_once(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueRefusedError(f"{shown(twice)} is given twice")
    return values


CONDITIONS: dict[str, Callable[[Any], Any]] = {
    "list_ids": _list_ids,
    "campaign_ids": _texts,
    "list_active": _boolean,
    "statuses": _texts,
    "not_statuses": _texts,
    "entered_before": _before,
    "called_before": _before,
    "entered_at_least_days_ago": _integer(1, MOST_DAYS),
    "called_at_least_days_ago": _integer(1, MOST_DAYS),
    "never_called": _boolean,
    "called_count_at_least": _integer(0, MOST_CALLS),
}
"""Each condition, with the function that checks its value and returns it as the service takes it."""
