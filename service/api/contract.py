"""Validate request bodies against the schemas of openapi.yaml, and give its text the limit that is in force."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import yaml

from service import resource_path
from service.api import strict_json
from service.api.body_checks import body_error
from service.errors import InvalidBodyError, InvalidJSONError
from service.tables.definitions import LARGEST_LEAD_ID

DEFAULT_LIMIT = 500

UNKNOWN_FIELD = ""
"""A name that no field has."""


def _with_limit(name: str, limit: int) -> str:
    """Return the text of an OpenAPI document with this limit in the place of the default.

    The limit is replaced in the text, not in the parsed document, so that the text keeps its order and its comments.
    """
    text = resource_path(name).read_text(encoding="utf-8")
    for form in ("maxItems: {}", "cannot exceed {} values", "up to {} in a request"):
        default = form.format(DEFAULT_LIMIT)
        if default not in text:
            raise ValueError(f"{name} does not say '{default}'")
        text = text.replace(default, form.format(limit))
    return text


class Contract:
    """openapi.yaml, with the limit of lead ids that is in force."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """limit: the maximum number of lead ids in a request."""
        self.limit = limit
        self.text = _with_limit("openapi.yaml", limit)
        self.text_3_0 = _with_limit("api/openapi-3.0.yaml", limit)
        """The same for generators that do not read OpenAPI 3.1."""
        self._document = yaml.load(self.text, Loader=yaml.CSafeLoader)
        self.json = json.dumps(self._document, ensure_ascii=False)
        self.archive_request = RequestSchema(self, "ArchiveRequest")
        self.dearchive_request = RequestSchema(self, "DearchiveRequest")
        self.compare_request = RequestSchema(self, "CompareRequest")
        self.find_request = RequestSchema(self, "FindRequest")

    def schema(self, name: str) -> dict[str, Any]:
        """Return the schema with this name as a JSON Schema document."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{name}",
            "components": {"schemas": self._document["components"]["schemas"]},
        }


class RequestSchema:
    """The compiled schema of a request body. body_checks.py has the messages for bodies that do not match it."""

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
            raise body_error(body, list(self._validator.iter_errors(bounded)), self._fields, self._limit)
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
