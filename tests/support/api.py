"""Call the API. Every answer is validated against openapi.yaml, in addition to what the test asserts."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import httpx2
import schemathesis

from service import resource_path

KEY = "correct-horse-battery-staple"

SCHEMA = schemathesis.openapi.from_path(resource_path("openapi.yaml"))

PATHS = SCHEMA.raw_schema["paths"]


class Api:
    """A client of one application. It sends a valid key unless a test passes other headers."""

    ALL: ClassVar[dict[str, Any]] = {"insert_leads": True, "update_leads": True, "delete_leads": True}

    def __init__(self, client: httpx2.Client, key: str = KEY) -> None:
        self.client = client
        self.headers = {"Authorization": f"Key={key}", "Content-Type": "application/json"}

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        response: httpx2.Response = self.client.request(method, path, **options)
        check(method, path, response)
        return response

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("GET", path, **options)

    def post(self, content: str | bytes, path: str = "/vicidial/leads/archive", **headers: str) -> httpx2.Response:
        """POST a body unchanged."""
        return self.request("POST", path, content=content, headers={**self.headers, **headers})

    def archive(self, body: Any) -> httpx2.Response:
        return self.post(json.dumps(body))

    def archive_all(self, lead_ids: list[int]) -> httpx2.Response:
        """Archive leads with the three flags that are recommended."""
        return self.archive({**self.ALL, "lead_ids": lead_ids})

    def archive_if_active(self, lead_ids: list[int]) -> httpx2.Response:
        """As archive_all(), only leads whose list is active."""
        return self.archive({**self.ALL, "lead_ids": lead_ids, "where": {"list_active": True}})

    def dearchive(self, body: Any) -> httpx2.Response:
        return self.post(json.dumps(body), "/vicidial/leads/dearchive")

    def dearchive_all(self, lead_ids: list[int]) -> httpx2.Response:
        """Dearchive leads with both flags: insert them, and delete their archived rows."""
        return self.dearchive({"insert_leads": True, "delete_leads": True, "lead_ids": lead_ids})

    def find(self, **body: Any) -> httpx2.Response:
        return self.post(json.dumps(body), "/vicidial/leads/find")

    def find_all(self, **body: Any) -> list[int]:
        """Return the leads of all pages."""
        found: list[int] = []
        done = False
        while not done:
            page = self.find(**body).json()
            found += page["lead_ids"]
            done, body["after_lead_id"] = page["done"], page["next_after_lead_id"]
        return found

    def compare(self, lead_ids: list[int]) -> httpx2.Response:
        return self.post(json.dumps({"lead_ids": lead_ids}), "/vicidial/leads/compare")


def check(method: str, path: str, response: httpx2.Response) -> None:
    """Validate an answer against the contract. Raises an exception that names the violation."""
    assert response.headers["X-Request-ID"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    known = path if path in PATHS else re.sub("^/docs/[^/]+$", "/docs/{file}", path)
    if known in PATHS and method.lower() in PATHS[known]:
        SCHEMA[known][method].validate_response(response)
    elif method != "HEAD":
        # Not an operation of the contract: the answer must still have the format of its errors.
        assert response.status_code in {404, 405}
        assert response.headers["Content-Type"] == "application/json"
        assert response.json()["message"]
