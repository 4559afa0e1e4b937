"""Validate request bodies against the schemas of openapi.yaml, and serve its text with the limit that is in force."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import Any, NoReturn

import jsonschema_rs
import yaml

from service import resource_path
from service.api import strict_json
from service.errors import InvalidBodyError, InvalidJSONError
from service.tables.definitions import LARGEST_LEAD_ID

DEFAULT_LIMIT = 500

UNKNOWN_FIELD = ""
"""A name that no field has."""

MOST_UNKNOWN_FIELDS = 100
"""The maximum number of unknown fields that a message names."""


class Contract:
    """openapi.yaml, with the limit of lead ids that is in force."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """limit: the maximum number of lead ids in a request."""
        self.limit = limit
        # The text has the limit in three forms. It is replaced in the text, not in the parsed document, so that the text keeps
        # its order and its comments.
        text = resource_path("openapi.yaml").read_text(encoding="utf-8")
        for form in ("maxItems: {}", "cannot exceed {} values", "up to {} in a request"):
            default = form.format(DEFAULT_LIMIT)
            if default not in text:
                raise ValueError(f"openapi.yaml does not say '{default}'")
            text = text.replace(default, form.format(limit))
        self.text = text
        self._document = yaml.load(text, Loader=yaml.CSafeLoader)
        self.archive_request = RequestSchema(self, "ArchiveRequest")
        self.dearchive_request = RequestSchema(self, "DearchiveRequest")
        self.compare_request = RequestSchema(self, "CompareRequest")

    def schema(self, name: str) -> dict[str, Any]:
        """Return the schema with this name as a JSON Schema document."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{name}",
            "components": {"schemas": self._document["components"]["schemas"]},
        }


class RequestSchema:
    """The compiled schema of a request body, and the messages for bodies that do not match it."""

    def __init__(self, contract: Contract, name: str) -> None:
        schema = contract.schema(name)
        self._limit = contract.limit
        self._fields = list(schema["components"]["schemas"][name]["properties"])
        self._validator = jsonschema_rs.Draft202012Validator(schema)

    def parse(self, raw: bytes) -> dict[str, Any]:
        """Return the body, with lead_ids as integers (1.0 is 1). Raises InvalidBodyError with the contract's message."""
        try:
            body = strict_json.parse(raw)
        except InvalidJSONError as error:
            raise InvalidBodyError(f"request body is {error}") from None
        bounded = self._bounded(body)
        if not self._validator.is_valid(bounded):
            self._refuse(body, bounded)
        return bounded  # type: ignore[no-any-return]

    def _bounded(self, body: Any) -> Any:
        """Return what the validator gets in place of the body, so that it never takes long: a valid body itself."""
        if not isinstance(body, dict):
            return strict_json.bounded(body, depth=0)
        bounded = {field: strict_json.bounded(body[field]) for field in self._fields if field in body and field != "lead_ids"}
        if len(bounded) + ("lead_ids" in body) < len(body):
            bounded[UNKNOWN_FIELD] = None
        if "lead_ids" in body:
            lead_ids = body["lead_ids"]
            bounded["lead_ids"] = (
                self._bounded_lead_ids(lead_ids) if isinstance(lead_ids, list) else strict_json.bounded(lead_ids, depth=0)
            )
        return bounded

    def _bounded_lead_ids(self, lead_ids: list[Any]) -> list[int | None]:
        """Return the values as integers. Of the values that are no integers, too small or too large, keep one each."""
        if len(lead_ids) > self._limit:
            # The number alone is too large. To look at each of the 500,000 values that fit into a body would take seconds.
            return [0] * (self._limit + 1)
        if set(map(type, lead_ids)) == {int} and min(lead_ids) >= 0 and max(lead_ids) <= LARGEST_LEAD_ID:
            return lead_ids
        right: list[int | None] = []
        wrong: set[int | None] = set()
        for value in map(strict_json.integer, lead_ids):
            if value is not None and 0 <= value <= LARGEST_LEAD_ID:
                right.append(value)
            else:
                wrong.add(value if value is None else -1 if value < 0 else LARGEST_LEAD_ID + 1)
        return [*right, *wrong]

    def _refuse(self, body: Any, bounded: Any) -> NoReturn:
        """Raise InvalidBodyError for the first violation in the order of the contract."""
        # For each violation: the field, and the keyword of the schema.
        violations: set[tuple[str, str]] = set()
        for error in self._validator.iter_errors(bounded):
            field, *index = error.instance_path or [""]
            violations.add((str(field), f"items.{error.schema_path[-1]}" if index else str(error.schema_path[-1])))

        if ("", "type") in violations:
            raise InvalidBodyError("request body must be a JSON object")
        if ("", "additionalProperties") in violations:
            names = islice((field for field in body if field not in self._fields), MOST_UNKNOWN_FIELDS)
            unknown = ", ".join(json.dumps(field[:50]) for field in names)
            raise InvalidBodyError(f"unknown field {unknown[:500]}; the fields are {', '.join(self._fields)}")
        for flag in self._fields:
            if flag != "lead_ids" and (flag not in body or (flag, "type") in violations):
                raise InvalidBodyError(f"{flag} must be a boolean value")
        if "lead_ids" not in body or ("lead_ids", "minItems") in violations:
            raise InvalidBodyError("lead_ids must contain atleast 1 value")
        if ("lead_ids", "type") in violations:
            raise InvalidBodyError("lead_ids must be an array of integer values")
        if ("lead_ids", "maxItems") in violations:
            raise InvalidBodyError(f"lead_ids cannot exceed {self._limit} values")

        sent = [(value, strict_json.integer(value)) for value in body["lead_ids"]]
        if ("lead_ids", "items.type") in violations:
            not_integers = [value for value, integer in sent if integer is None]
            raise InvalidBodyError("lead_ids must only contain integer values", strict_json.shown(not_integers))
        if violations & {("lead_ids", "items.minimum"), ("lead_ids", "items.maximum")}:
            out_of_range = [value for value, integer in sent if integer is not None and not 0 <= integer <= LARGEST_LEAD_ID]
            raise InvalidBodyError(
                f"lead_ids must only contain integer values from 0 to {LARGEST_LEAD_ID}", strict_json.shown(out_of_range)
            )
        if ("lead_ids", "uniqueItems") in violations:
            times = Counter(integer for _, integer in sent)
            first = {integer: value for value, integer in reversed(sent)}
            twice = [first[integer] for integer, count in times.items() if count > 1]
            raise InvalidBodyError("lead_ids cannot contain duplicate values", strict_json.shown(twice))
        raise AssertionError(f"a violation that has no message: {sorted(violations)}")
