"""Prism on the contract: its mock answers as the contract says, and its proxy, which holds every request and every answer
against the contract, sees no violation in front of the service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.api import KEY, PATHS, SCHEMA
from support.generated import Prism
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.tables import Tables

HEADERS = {"Authorization": f"Key={KEY}", "Content-Type": "application/json"}

LEADS = "/vicidial/leads/"

ALL = {"insert_leads": True, "update_leads": True, "delete_leads": True}

BACK = {"insert_leads": True, "delete_leads": True}


def connect(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=PATIENCE, trust_env=False)


@pytest.fixture(scope="module")
def mock() -> Iterator[httpx2.Client]:
    with Prism("mock") as prism, connect(prism.url) as client:
        yield client


# The page in /docs is for browsers: test_docs.py has one look at it.
OPERATIONS = [(path, method) for path, methods in PATHS.items() if not path.startswith("/docs") for method in methods]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_mock_answers_each_operation_with_each_of_its_examples(mock: httpx2.Client, path: str, method: str) -> None:
    operation = PATHS[path][method]
    bodies: list[Any] = [None]
    if "requestBody" in operation:
        bodies = [example["value"] for example in operation["requestBody"]["content"]["application/json"]["examples"].values()]
    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = SCHEMA.raw_schema["components"]["responses"][response["$ref"].rpartition("/")[2]]  # noqa: PLW2901
        ((media_type, content),) = response["content"].items()
        for name, example in content["examples"].items():
            headers = {**HEADERS, "Prefer": f"code={status}, example={name}"}
            answer = mock.request(method, path, json=bodies[0], headers=headers)

            assert answer.status_code == int(status)
            assert answer.headers["Content-Type"].partition(";")[0] == media_type
            assert (answer.text if media_type != "application/json" else answer.json()) == example["value"]
            SCHEMA[path][method].validate_response(answer)
    answer = mock.request(method, path, json=bodies[0], headers=HEADERS)
    assert answer.status_code == 200
    assert "sl-violations" not in answer.headers


class Watched:
    """The service behind Prism, which is the only judge here."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def post(self, name: str, body: Any, status: int, **headers: str) -> list[str]:
        """The violations that Prism tells of, each with its place: request.body and so on."""
        answer = self._client.post(LEADS + name, content=json.dumps(body), headers={**HEADERS, **headers})
        return self._violations(answer, status)

    def get(self, path: str, status: int) -> list[str]:
        return self._violations(self._client.get(path), status)

    def _violations(self, answer: httpx2.Response, status: int) -> list[str]:
        told = json.loads(answer.headers.get("sl-violations", "[]"))
        if answer.headers["Content-Type"] == "application/problem+json":  # Prism answers in the place of the service
            assert told, answer.text
        else:
            assert answer.status_code == status, answer.text
        return [f"{'.'.join(violation['location'])}: {violation['message']}" for violation in told]


@contextlib.contextmanager
def watched(environment: dict[str, str], errors: bool = True, spec: str = "openapi.yaml") -> Iterator[Watched]:
    with (
        ServiceProcess(environment) as service,
        Prism("proxy", service.base_url, errors, spec) as prism,
        connect(prism.url) as client,
    ):
        yield Watched(client)


def test_requests_that_fit_the_contract_are_answered_without_a_violation(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1, 2, 3)
    tables.archived(2, status="OLD")
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (3, 'READY')")
    with watched(environment) as service:
        seen = service.post("compare", {"lead_ids": [1, 2, 3, 4]}, 200)
        seen += service.post("archive", {**ALL, "lead_ids": [1, 2, 3]}, 200)
        seen += service.post("archive", {**ALL, "lead_ids": [1, 2, 3]}, 200)
        seen += service.post("archive", {**ALL, "lead_ids": [4]}, 404)
        seen += service.post("archive", {**ALL, "lead_ids": [1]}, 401, Authorization="Key=wrong")
        seen += service.post("dearchive", {**BACK, "lead_ids": [1]}, 200)
        seen += service.post("dearchive", {**BACK, "lead_ids": [4]}, 404)
        seen += service.post("compare", {"lead_ids": [1]}, 401, Authorization="Key=wrong")
        seen += service.get("/livez", 200) + service.get("/readyz", 200) + service.get("/openapi.yaml", 200)
        seen += service.get("/metrics", 200)
        tables.execute("ALTER TABLE vicidial_list ADD loyalty_tier INT")
        seen += service.post("archive", {**ALL, "lead_ids": [3]}, 503)
        seen += service.get("/readyz", 503)
        tables.execute("RENAME TABLE vicidial_list_archive TO elsewhere")
        for name, body in (("archive", ALL), ("dearchive", BACK), ("compare", {})):
            seen += service.post(name, {**body, "lead_ids": [3]}, 503)
        seen += service.get("/readyz", 503)

        assert seen == []


@pytest.mark.parametrize(
    ("written", "changed", "seen"),
    [
        ("const: leads were compared", "const: leads were seen", "response.body.message: "),
        ("required: [lead_id, in_list,", "required: [lead_id, in_lists,", "response.body.leads.0: "),
        ('pattern: "^[A-Za-z0-9._-]{1,128}$"', 'pattern: "^never$"', "response.header.x-request-id: "),
    ],
    ids=["a value", "a field", "a header"],
)
def test_an_answer_that_did_not_fit_would_be_seen(
    tables: Tables, environment: dict[str, str], tmp_path: Path, written: str, changed: str, seen: str
) -> None:
    text = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert text.count(written) == 1
    (tmp_path / "other.yaml").write_text(text.replace(written, changed))
    tables.live(1)
    with watched(environment, spec=str(tmp_path / "other.yaml")) as service:
        (violation,) = service.post("compare", {"lead_ids": [1]}, 200)

    assert violation.startswith(seen)


def test_refusals_within_office_hours_are_no_violation(tables: Tables, environment: dict[str, str]) -> None:
    hours = every_day_but_the_one_in_three_days()
    settings = {"OFFICE_HOURS": hours, "DEARCHIVE_OFFICE_HOURS": hours, "OFFICE_HOURS_TIMEZONE": "UTC"}
    tables.live(1)
    with watched({**environment, **settings}) as service:
        seen = service.post("archive", {**ALL, "lead_ids": [1]}, 403)
        seen += service.post("dearchive", {**BACK, "lead_ids": [1]}, 403)
        seen += service.get("/readyz", 200)

        assert seen == []
    assert tables.ids() == ([1], [])


def test_of_a_wrong_request_only_the_request_is_a_violation(tables: Tables, environment: dict[str, str]) -> None:
    """Wrong requests would not get past a Prism that answers with errors itself."""
    tables.live(1)
    with watched(environment, errors=False) as service:
        seen = []
        for name, flags in (("archive", ALL), ("dearchive", BACK), ("compare", {})):
            seen += [
                service.post(name, {**flags, "lead_ids": [1, 1]}, 400),
                service.post(name, {**flags, "lead_ids": []}, 400),
                service.post(name, {**flags, "lead_ids": ["1", None, {}]}, 400),
                service.post(name, {**flags, "lead_ids": list(range(501))}, 400),
                service.post(name, {**flags, "lead_ids": [1], "unknown": 1}, 400),
                service.post(name, {**flags, "lead_ids": list(range(200_000))}, 413),
                service.post(name, {**flags, "lead_ids": [1]}, 415, **{"Content-Type": "text/plain"}),
            ]
        seen += [service.post(name, {"lead_ids": [1]}, 400) for name in ("archive", "dearchive")]

    assert all(seen), "each of them is a violation"
    assert all(violation.startswith("request") for violations in seen for violation in violations)
    assert tables.ids() == ([1], [])
