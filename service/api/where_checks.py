"""The messages for conditions of `where` that do not match the schema: which condition, what is wrong, how to write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from jsonschema_rs import ValidationError, ValidationErrorKind

from service.errors import InvalidBodyError

MOST_UNKNOWN = 20
"""The maximum number of unknown conditions that a message names."""

ARRAY_OF_TEXTS = "an array of 1 to 100 strings of at most 100 characters"
DATE = 'a date that exists, such as "2026-01-31", or a date and a time without a time zone, such as "2026-01-31T18:00:00"'
DAYS = "an integer from 1 to 36500, such as 90"

CORRECT = {
    "list_ids": "an array of 1 to 1000 integers from 0 to 9007199254740991, such as [998, 999]",
    "campaign_ids": f'{ARRAY_OF_TEXTS}, such as ["SPRING"]',
    "list_active": "true or false",
    "statuses": f'{ARRAY_OF_TEXTS}, such as ["SALE", "DNC"]',
    "not_statuses": f'{ARRAY_OF_TEXTS}, such as ["CALLBK"]',
    "entered_before": DATE,
    "called_before": DATE,
    "entered_at_least_days_ago": DAYS,
    "called_at_least_days_ago": DAYS,
    "never_called": "true or false",
    "called_count_at_least": "an integer from 0 to 65535, such as 5",
}
"""How to write each condition, in the order of openapi.yaml."""


WRONG = {
    "minItems": "is empty",
    "maxItems": "has too many values",
    "uniqueItems": "has a value twice",
    "minimum": "is too small",
    "maximum": "is too large",
    "pattern": "is not a date that can be understood",
}
"""What is wrong, by the keyword of the schema."""


def where_error(where: Any, errors: Iterable[ValidationError]) -> InvalidBodyError:
    """Return the error for the first condition that is wrong, in the order of the contract.

    where: as it was sent. errors: what the validator found, other errors of the body included.
    """
    if not isinstance(where, dict):
        return InvalidBodyError('where must be an object of conditions, such as {"statuses": ["SALE"]}')
    names = ", ".join(CORRECT)
    if not where:
        return InvalidBodyError(f"where must contain at least 1 condition; the conditions are {names}")
    if unknown := list(islice((name for name in where if name not in CORRECT), MOST_UNKNOWN)):
        shown = ", ".join(json.dumps(name[:50]) for name in unknown)
        return InvalidBodyError(f"unknown condition {shown[:500]} in where; the conditions are {names}")
    wrong: dict[str, str] = {}
    for error in errors:
        if error.instance_path[:1] == ["where"] and len(error.instance_path) > 1:
            name = str(error.instance_path[1])
            wrong.setdefault(name, _what(error))
    name = min(wrong, key=list(CORRECT).index)
    return InvalidBodyError(f"where.{name} {wrong[name]}; it must be {CORRECT[name]}")


def _what(error: ValidationError) -> str:
    """Return what is wrong with the value of a condition."""
    if len(error.instance_path) > 2:
        return "has a value that it cannot have"
    if isinstance(error.kind, ValidationErrorKind.Type):
        return f"is not of type {error.kind.types[0]}"
    return WRONG[str(error.schema_path[-1])]
