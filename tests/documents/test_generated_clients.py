"""Clients generated from the contract archive leads, and every answer, errors included, arrives as the type that it has there.

What no client can bring about, a body that does not arrive or a defect of the service, Prism's mock answers instead.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mariadb import PrivateMariaDB
from support.api import KEY, PATHS, SCHEMA, Api
from support.databases import MARIADB_OPTIONS, create_database, migrate
from support.fixtures import NewDatabase
from support.generated import NODE, PYTHON_CLIENT, Prism, mypy, run, tsc
from support.process import ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.settings import write_keys_file
from support.tables import Tables

from service.server.request_input import MOST_HEADERS

OPERATIONS = {operation["operationId"]: operation for path in PATHS.values() for operation in path.values()}


@dataclass(frozen=True)
class Servers:
    """Where a service answers, one within office hours, one whose database is down, and one that is made up."""

    tables: Tables
    service: str
    office_hours: str
    no_database: str
    mock: str


@pytest.fixture(scope="module")
def servers(mariadb: PrivateMariaDB, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    tables = Tables(mariadb, new_database())
    keys_file = write_keys_file(tmp_path_factory.mktemp("keys"))
    normal = {"DATABASE_URL": tables.url, "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}
    within = {**normal, "OFFICE_HOURS": every_day_but_the_one_in_three_days(), "OFFICE_HOURS_TIMEZONE": "UTC"}
    with contextlib.ExitStack() as stack:
        with PrivateMariaDB(tmp_path_factory.mktemp("mariadb"), MARIADB_OPTIONS) as other:  # gone when the calls come
            create_database(other, "asterisk")
            migrate(other.url("asterisk"), "head")
            down = {**normal, "DATABASE_URL": other.url("asterisk")}
            service, office_hours, no_database = [
                stack.enter_context(ServiceProcess(environment)).base_url for environment in (normal, within, down)
            ]
        yield Servers(tables, service, office_hours, no_database, stack.enter_context(Prism("mock")).url)
    tables.drop()


@dataclass(frozen=True)
class Call:
    """A request to archive leads, and its answer: status, name of the type, and what is in it."""

    url: str
    lead_ids: list[int]
    headers: dict[str, str]
    answer: tuple[int, str, Any]


def calls(servers: Servers, first: int) -> list[Call]:
    """Every answer that there is. first: a lead that does not exist yet, as the next two."""
    service, mock = servers.service, servers.mock
    batch = [first, first + 1]
    servers.tables.live(*batch)
    servers.tables.execute(f"INSERT INTO vicidial_hopper (lead_id, status) VALUES ({first + 1}, 'READY')")

    def error(status: int, message: str) -> tuple[int, str, str]:
        return status, "ErrorMessage", message

    unavailable = "the database could not process the batch; nothing was changed, repeat the request"
    return [
        Call(service, [first, first], {}, (400, "LeadError", [first])),
        Call(service, batch, {"Authorization": "Key=wrong"}, error(401, "unable to validate api user")),
        Call(servers.office_hours, batch, {}, error(403, "api cannot be executed during office hours time condition")),
        Call(service, [first, first + 2], {}, (404, "LeadError", [first + 2])),
        Call(mock, batch, {"Prefer": "code=405"}, error(405, "method not allowed; the methods of this path are POST")),
        Call(mock, batch, {"Prefer": "code=408"}, error(408, "request body did not arrive within 30 seconds")),
        Call(service, list(range(200_000)), {}, error(413, "request body cannot exceed 1048576 bytes")),
        Call(
            service,
            batch,
            {"Content-Encoding": "gzip"},
            error(415, "Content-Encoding is not supported; send the body as it is"),
        ),
        Call(
            service,
            batch,
            {f"X-{number}": "x" for number in range(MOST_HEADERS)},
            error(431, f"a request cannot have more than {MOST_HEADERS} headers"),
        ),
        Call(
            mock, batch, {"Prefer": "code=500"}, error(500, "internal error; no lead is lost, and the request can be repeated")
        ),
        Call(servers.no_database, batch, {}, error(503, unavailable)),
        Call(service, batch, {}, (200, "ArchiveResult", [first + 1])),
    ]


def assert_one_was_archived(servers: Servers, before: Any, lead_id: int) -> None:
    """The lead is archived; the next one, which is in use, and all others are as they were."""
    live, archived = before
    archived = {**archived, lead_id: live[lead_id]}
    assert servers.tables.both() == ({number: row for number, row in live.items() if number != lead_id}, archived)


@pytest.fixture
def package(generated: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generated Python package."""
    monkeypatch.syspath_prepend(str(generated))
    return importlib.import_module(PYTHON_CLIENT)


def client(package: Any, url: str, **headers: str) -> Any:
    """A client of the generated package. An answer that the contract does not have is an error."""
    key = headers.pop("Authorization", f"Key={KEY}")
    return package.AuthenticatedClient(
        base_url=url, prefix="", token=key, headers=headers, raise_on_unexpected_status=True, timeout=60
    )


def function(operation_id: str) -> Any:
    """The generated function of an operation."""
    (tag,) = OPERATIONS[operation_id]["tags"]
    return importlib.import_module(f"{PYTHON_CLIENT}.api.{tag.lower()}.{operation_id}").sync_detailed


def test_the_generated_code_is_sound_and_its_names_are_those_of_the_contract(generated: Path) -> None:
    for checked in (mypy(generated, "archive.py", PYTHON_CLIENT), tsc(generated, "archive.ts", "answers.ts")):
        assert checked.returncode == 0, checked.stdout

    modules = {path.stem.replace("_", "") for path in (generated / PYTHON_CLIENT / "models").glob("[!_]*.py")}
    schemas = SCHEMA.raw_schema["components"]["schemas"]
    assert modules == {name.lower() for name, schema in schemas.items() if schema["type"] == "object" or "enum" in schema}


def test_every_answer_arrives_typed_in_python(servers: Servers, package: ModuleType) -> None:
    request = importlib.import_module(f"{PYTHON_CLIENT}.models").ArchiveRequest
    all_calls = calls(servers, 10)
    before = servers.tables.both()

    for call in all_calls:
        assert servers.tables.both() == before
        with client(package, call.url, **call.headers) as connected:
            response = function("archive_leads")(client=connected, body=request(**Api.ALL, lead_ids=call.lead_ids))
        answer, (_, name, _) = response.parsed, call.answer
        field = {"ArchiveResult": "remaining_lead_ids", "LeadError": "lead_ids", "ErrorMessage": "message"}[name]
        assert (response.status_code, type(answer).__name__, getattr(answer, field)) == call.answer

    assert_one_was_archived(servers, before, 10)
    assert {str(call.answer[0]) for call in all_calls} == set(OPERATIONS["archive_leads"]["responses"])


def test_every_answer_arrives_typed_in_typescript(servers: Servers, generated: Path) -> None:
    all_calls = calls(servers, 20)
    before = servers.tables.both()
    given = [
        {
            "url": call.url,
            "headers": {"Authorization": f"Key={KEY}", **call.headers},
            "body": {**Api.ALL, "lead_ids": call.lead_ids},
        }
        for call in all_calls
    ]
    (generated / "calls.json").write_text(json.dumps(given))

    done = run(NODE, "answers.ts", "calls.json", folder=generated)

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    # The name twice: as the type checker knows it for the status, and as the answer was told from the others.
    assert answers == [[status, name, name, content] for status, name, content in (call.answer for call in all_calls)]
    assert_one_was_archived(servers, before, 20)


# What the page in /docs loads is of several types, and for browsers.
@pytest.mark.parametrize("operation_id", sorted(OPERATIONS.keys() - {"get_docs_file"}))
def test_every_answer_of_every_operation_has_its_class(servers: Servers, package: ModuleType, operation_id: str) -> None:
    """As the mock makes the answers up."""
    models = importlib.import_module(f"{PYTHON_CLIENT}.models")
    operation = OPERATIONS[operation_id]
    arguments = {}
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        model = getattr(models, name_in(content["schema"]))
        for example in content["examples"].values():
            arguments["body"] = model.from_dict(example["value"])
            assert arguments["body"].to_dict() == example["value"]

    for status, declared in operation["responses"].items():
        response = SCHEMA.raw_schema["components"]["responses"][name_in(declared)] if "$ref" in declared else declared
        (content,) = response["content"].values()
        with client(package, servers.mock, Prefer=f"code={status}") as connected:
            answer = function(operation_id)(client=connected, **arguments)
        # What is not JSON, YAML and Prometheus' figures, has no schema of that kind and is text.
        schema = content["schema"].get("anyOf", [content["schema"]])[0]
        expected = name_in(schema) if "$ref" in schema else "str"
        assert (answer.status_code, type(answer.parsed).__name__) == (int(status), expected)
        assert answer.headers["X-Request-ID"]


def name_in(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
