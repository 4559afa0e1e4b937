"""The contract, openapi.yaml, as the code's source: request bodies are validated against the schemas in it, and the text is
served with the limit in force."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import jsonschema_rs
import yaml

from service import shipped

DEFAULT_LIMIT = 500
LARGEST_LEAD_ID = 4294967295

DEEPEST_NESTING = 100
"""Levels of arrays and objects in JSON that is read. A batch has two; the validator and the answer that shows what was wrong
go no deeper than some hundred."""


MANY_DIGITS = re.compile(rb"[0-9]{1000}")
"""Python reads numbers of more digits only if it is asked to, and says so in words of its own."""


class InvalidBodyError(Exception):
    """A request body that the contract refuses: the message, in the contract's words, and the values that are the reason."""

    def __init__(self, message: str, lead_ids: list[Any] | None = None) -> None:
        super().__init__(message)
        self.lead_ids = lead_ids or []


class Contract:
    """openapi.yaml with a limit of lead ids."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """limit: how many lead ids a request may have."""
        self.limit = limit
        # The limit stands in the text in three forms. Replaced there and not in the parsed document, the text keeps its
        # order and its comments.
        text = shipped("openapi.yaml").read_text(encoding="utf-8")
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
        """The schema of that name as a JSON Schema document of its own."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{name}",
            "components": {"schemas": self._document["components"]["schemas"]},
        }


class RequestSchema:
    """A request body's schema, compiled, and what is said when a body does not match it."""

    def __init__(self, contract: Contract, name: str) -> None:
        schema = contract.schema(name)
        self._limit = contract.limit
        self._fields = list(schema["components"]["schemas"][name]["properties"])
        self._validator = jsonschema_rs.Draft202012Validator(schema)

    def parse(self, raw: bytes) -> dict[str, Any]:
        """The body, its lead_ids as integers (1.0 is 1). Raises InvalidBodyError with the contract's message."""
        body = parse_json(raw)
        if isinstance(body, dict) and isinstance(body.get("lead_ids"), list):
            # One too many is too many: to look at each of the 500,000 that fit into a body would take seconds.
            del body["lead_ids"][self._limit + 1 :]
        if not self._validator.is_valid(body):
            self._refuse(body)
        body["lead_ids"] = [int(lead_id) for lead_id in body["lead_ids"]]
        return body  # type: ignore[no-any-return]

    def _refuse(self, body: Any) -> NoReturn:
        """Say what is wrong: of several things the first in the order of the contract."""
        # Where in the body, and which keyword of the schema was violated. Nothing below looks at more.
        violations: dict[tuple[str, str], list[Any]] = {}
        for error in self._validator.iter_errors(body):
            field, *index = error.instance_path or [""]
            key = (str(field), f"items.{error.schema_path[-1]}" if index else str(error.schema_path[-1]))
            violations.setdefault(key, []).append(body[field][index[0]] if index else None)

        if ("", "type") in violations:
            raise InvalidBodyError("request body must be a JSON object")
        if ("", "additionalProperties") in violations:
            unknown = ", ".join(json.dumps(field[:50]) for field in body if field not in self._fields)
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
        if not_integers := violations.get(("lead_ids", "items.type")):
            raise InvalidBodyError("lead_ids must only contain integer values", not_integers)
        out_of_range = [
            value for keyword in ("minimum", "maximum") for value in violations.get(("lead_ids", f"items.{keyword}"), [])
        ]
        if out_of_range:
            raise InvalidBodyError(f"lead_ids must only contain integer values from 0 to {LARGEST_LEAD_ID}", out_of_range)
        if ("lead_ids", "uniqueItems") in violations:
            twice = [value for value, times in Counter(body["lead_ids"]).items() if times > 1]
            raise InvalidBodyError("lead_ids cannot contain duplicate values", twice)
        raise AssertionError(f"a violation that has no message: {sorted(violations)}")


def parse_json(raw: bytes) -> Any:
    """Parse JSON, and nothing that only resembles it. Raises InvalidBodyError.

    Refused beyond the grammar: a field given twice (which one counts would be a guess), numbers that no double holds, lone
    surrogates, which no UTF-8 text can hold, and very deep nesting.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_no_field_twice,
            parse_constant=_no_constant,
            parse_float=_finite,
            # Called for each of 500 ids, it would take longer than all the rest.
            parse_int=_integer if MANY_DIGITS.search(raw) else None,
        )
        if text.count("[") + text.count("{") > DEEPEST_NESTING and _is_too_deep(value):
            raise RecursionError
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 at byte {error.start}"
    except UnicodeEncodeError:
        reason = "it holds a lone surrogate"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    else:
        return value
    raise InvalidBodyError(f"request body is not valid JSON: {reason}")


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST_NESTING + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"the field {json.dumps(name[:50])} is given twice")
        fields[name] = value
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:50]} is too large")
    return value


def _integer(digits: str) -> int:
    # Python refuses to read more digits than this, to bound the time that it takes.
    if len(digits) > 1_000:
        raise ValueError(f"the number {digits[:50]}… is too large")
    return int(digits)
