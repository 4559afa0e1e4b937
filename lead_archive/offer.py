"""What a server offers, as its own openapi.yaml says."""

from __future__ import annotations

from typing import Any

import yaml

from lead_archive.errors import RefusedError


class Offer:
    """An OpenAPI document, or an empty one for a server that has none."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    @classmethod
    def read(cls, text: str) -> Offer:
        """Raises RefusedError if this is no OpenAPI document."""
        try:
            document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
        except yaml.YAMLError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            raise RefusedError("/openapi.yaml of the server is no OpenAPI document: is the address right?")
        return cls(document)

    def __bool__(self) -> bool:
        return bool(self._document)

    def has(self, path: str) -> bool:
        return path in self._document.get("paths", {})

    def limit(self, path: str) -> int | None:
        """How many lead ids a request to a path may have, None if the document does not say."""
        schema = self._at(
            self._document,
            "paths",
            path,
            "post",
            "requestBody",
            "content",
            "application/json",
            "schema",
            "properties",
            "lead_ids",
        )
        limit = schema.get("maxItems")
        return limit if isinstance(limit, int) and limit > 0 else None

    def _at(self, place: Any, *names: str) -> dict[str, Any]:
        """What stands in the document under these names, references followed; empty if nothing does."""
        for name in (*names, None):
            while isinstance(place, dict) and str(place.get("$ref", "")).startswith("#/"):
                place = self._at(self._document, *place["$ref"][2:].split("/"))
            if name is not None:
                place = place.get(name) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else {}
