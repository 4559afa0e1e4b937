"""The operations and limits of a server, read from its openapi.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from lead_archive.errors import RefusedError

DEEPEST = 100
"""Levels. The parser is written in C, and a document that is nested without end would end the process."""
LARGEST_PAGE = 10_000
"""Lead ids in a page, whatever a server offers: all of them are in memory."""
MOST_REFERENCES = 20
"""The number of references that are followed in a row: they may form a cycle."""


class Offer:
    """An OpenAPI document, empty for a server without one. All its scalars are strings."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    @classmethod
    def read(cls, content: bytes) -> Offer:
        """Parse an OpenAPI document. Raises RefusedError if it is not one."""
        try:
            # Events, since a loader would make objects of dates, merge keys and other things that can go wrong.
            document = _node(yaml.parse(content.decode("utf-8"), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
        except (yaml.YAMLError, ValueError, StopIteration):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            raise RefusedError("/openapi.yaml of the server is no OpenAPI document: is the address right?")
        return cls(document)

    def __bool__(self) -> bool:
        return bool(self._document)

    def has(self, path: str) -> bool:
        return path in self._document.get("paths", {})

    def limit(self, path: str) -> int | None:
        """Return the limit of lead ids in a request to a path, or None if the document has none."""
        return self._number(path, "lead_ids", "maxItems")

    def page_limit(self, path: str) -> int:
        """Return the most lead ids that find returns at a time."""
        return min(self._number(path, "limit", "maximum") or LARGEST_PAGE, LARGEST_PAGE)

    def _number(self, path: str, field: str, keyword: str) -> int | None:
        """Return the number of a keyword in the schema of a field of the body, or None if there is none."""
        place: Any = self._document
        names = ["paths", path, "post", "requestBody", "content", "application/json", "schema", "properties", field, keyword]
        references = 0
        while names:
            if isinstance(place, dict) and isinstance(reference := place.get("$ref"), str) and reference.startswith("#/"):
                references += 1
                if references > MOST_REFERENCES:
                    return None
                place, names = self._document, [*reference[2:].split("/"), *names]
            name = names.pop(0)
            place = place.get(name) if isinstance(place, dict) else None
        return int(place) if isinstance(place, str) and re.fullmatch(r"[1-9][0-9]{0,8}", place) else None


def _node(events: Iterator[yaml.Event]) -> Any:
    """Build the next node of a stream of events from dictionaries, lists and strings. Raises ValueError, YAMLError."""
    anchors: dict[str, Any] = {}

    def node(event: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError("nested too deep")
        if isinstance(event, yaml.AliasEvent):
            return anchors.get(event.anchor or "")
        value: Any = event.value if isinstance(event, yaml.ScalarEvent) else None
        if isinstance(event, yaml.SequenceStartEvent):
            value = []
        elif isinstance(event, yaml.MappingStartEvent):
            value = {}
        if event.anchor:
            anchors[event.anchor] = value
        if isinstance(value, list):
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                value.append(node(item, depth + 1))
        elif isinstance(value, dict):
            while not isinstance(item := next(events), yaml.MappingEndEvent):
                key, content = node(item, depth + 1), node(next(events), depth + 1)
                if isinstance(key, str):
                    value[key] = content
        return value

    for event in events:
        if isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            return node(event, 0)
    return None
