"""The messages for request bodies that do not match the schema, such as too many lead ids. contract.py does the validation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from jsonschema_rs import ValidationError

from service.api import strict_json
from service.api.where_checks import where_error
from service.errors import InvalidBodyError
from service.tables.definitions import LARGEST_LEAD_ID

MOST_UNKNOWN_FIELDS = 100
"""The maximum number of unknown fields that a message names."""

FLAGS = ("insert_leads", "update_leads", "delete_leads")

MOST_FOUND = 10_000
"""The largest limit of a search."""

Violations = set[tuple[str, str]]
"""For each violation: the field ("" is the body itself), and the keyword of the schema. "items." precedes the keyword if the
violation is within the field's value."""


def found_violations(errors: Iterable[ValidationError]) -> Violations:
    """Return what the validator found."""
    found: Violations = set()
    for error in errors:
        field, *index = error.instance_path or [""]
        found.add((str(field), f"items.{error.schema_path[-1]}" if index else str(error.schema_path[-1])))
    return found


def body_error(body: Any, errors: Sequence[ValidationError], fields: Sequence[str], limit: int) -> InvalidBodyError:
    """Return the error for the first violation in the order of the contract.

    body: as it was sent. errors: what the validator found. fields: the fields that the schema has. limit: the maximum number
    of lead ids in a request.
    """
    violations = found_violations(errors)
    if ("", "type") in violations:
        return InvalidBodyError("request body must be a JSON object")
    if ("", "additionalProperties") in violations:
        return _unknown_fields(body, fields)
    for flag in fields:
        if flag in FLAGS and (flag not in body or (flag, "type") in violations):
            return InvalidBodyError(f"{flag} must be a boolean value")
    if "lead_ids" in fields and (("lead_ids" not in body) or any(field == "lead_ids" for field, _ in violations)):
        return _lead_ids_error(body, violations, limit)
    return _search_error(violations) or where_error(body.get("where"), errors)


def _search_error(violations: Violations) -> InvalidBodyError | None:
    """Return the error for a field of a search, other than `where`."""
    wrong = {field for field, _ in violations}
    if "in" in wrong:
        return InvalidBodyError('in must be "list" or "archive"')
    if "after_lead_id" in wrong:
        return InvalidBodyError(f"after_lead_id must be an integer value from 0 to {LARGEST_LEAD_ID}")
    if "limit" in wrong:
        return InvalidBodyError(f"limit must be an integer value from 1 to {MOST_FOUND}")
    return None


def _unknown_fields(body: Mapping[str, Any], fields: Sequence[str]) -> InvalidBodyError:
    names = islice((field for field in body if field not in fields), MOST_UNKNOWN_FIELDS)
    unknown = ", ".join(json.dumps(field[:50]) for field in names)
    return InvalidBodyError(f"unknown field {unknown[:500]}; the fields are {', '.join(fields)}")


def _lead_ids_error(body: Mapping[str, Any], violations: Violations, limit: int) -> InvalidBodyError:
    if "lead_ids" not in body or ("lead_ids", "minItems") in violations:
        return InvalidBodyError("lead_ids must contain atleast 1 value")
    if ("lead_ids", "type") in violations:
        return InvalidBodyError("lead_ids must be an array of integer values")
    if ("lead_ids", "maxItems") in violations:
        return InvalidBodyError(f"lead_ids cannot exceed {limit} values")
    return _lead_id_values_error(body["lead_ids"], violations)


def _lead_id_values_error(lead_ids: Sequence[Any], violations: Violations) -> InvalidBodyError:
    sent = [(value, strict_json.integer(value)) for value in lead_ids]
    if ("lead_ids", "items.type") in violations:
        not_integers = [value for value, integer in sent if integer is None]
        return InvalidBodyError("lead_ids must only contain integer values", strict_json.shown(not_integers))
    if violations & {("lead_ids", "items.minimum"), ("lead_ids", "items.maximum")}:
        out_of_range = [value for value, integer in sent if integer is not None and not 0 <= integer <= LARGEST_LEAD_ID]
        return InvalidBodyError(
            f"lead_ids must only contain integer values from 0 to {LARGEST_LEAD_ID}", strict_json.shown(out_of_range)
        )
    if ("lead_ids", "uniqueItems") in violations:
        times = Counter(integer for _, integer in sent)
        first = {integer: value for value, integer in reversed(sent)}
        twice = [first[integer] for integer, count in times.items() if count > 1]
        return InvalidBodyError("lead_ids cannot contain duplicate values", strict_json.shown(twice))
    raise AssertionError(f"a violation that has no message: {sorted(violations)}")
