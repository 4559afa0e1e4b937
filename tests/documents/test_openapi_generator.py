"""Clients that openapi-generator makes from the contract, in Java, Go, PHP and TypeScript, archive leads: each compiles, each
understands every answer, the largest lead_id, and an answer with a field of a later release."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.api import KEY, PATHS, SCHEMA
from support.fake_service import Reply, fake, moved
from support.generated import NODE, Prism, documented_all, npm_program, run
from support.paths import ROOT, SCRATCH
from support.process import ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.tables import Tables

DRIVERS = ROOT / "tests/support/drivers"

LARGEST = 4294967295

OK = "lead_ids batch was successfully processed"

RESPONSES: dict[str, Any] = PATHS["/vicidial/leads/archive"]["post"]["responses"]

LANGUAGES = ("java", "go", "php", "typescript-fetch")


def generator_jar() -> Path:
    """Return the jar of the generator. It contains the JSON library that the generated Java code needs."""
    spec = find_spec("openapi_generator_cli")
    assert spec
    assert spec.origin
    return Path(spec.origin).with_name("openapi-generator.jar")


def succeed(*command: str | Path, folder: Path, **environment: str) -> str:
    done = run(*map(str, command), folder=folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class GeneratedClient:
    """A generated client with its driver, compiled in a folder."""

    def __init__(self, language: str, folder: Path) -> None:
        self._language = language
        self._folder = folder
        (arguments,) = [line for line in documented_all("openapi-generator-cli") if line[line.index("-g") + 1] == language]
        shutil.copy(ROOT / "openapi.yaml", folder)
        succeed(Path(sys.executable).with_name("openapi-generator-cli"), *arguments, folder=folder)
        self.operations = " ".join(path.read_text() for path in (folder / "client").rglob("*") if self._is_code(path))
        compile_ = {"java": self._java, "go": self._go, "php": self._php, "typescript-fetch": self._typescript}[language]
        self._command = compile_()

    def send(self, *calls: dict[str, Any]) -> list[list[Any]]:
        """Return for each call the status, the ids in the answer, and the message."""
        (self._folder / "calls.json").write_text(json.dumps(calls))
        lines = succeed(*self._command, "calls.json", folder=self._folder).splitlines()
        return [json.loads(line) for line in lines]

    @staticmethod
    def _is_code(path: Path) -> bool:
        return path.suffix in {".java", ".go", ".php", ".ts"} and "Model" not in path.parts

    def _java(self) -> list[str]:
        classpath = str(generator_jar())
        sources = [*(self._folder / "client/src/main").rglob("*.java"), DRIVERS / "Calls.java", DRIVERS / "Generated.java"]
        succeed("javac", "-nowarn", "-encoding", "UTF-8", "-d", "classes", "-cp", classpath, *sources, folder=self._folder)
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"classes:{classpath}", "Calls"]

    def _go(self) -> list[str]:
        (self._folder / "client/go.mod").unlink()
        shutil.rmtree(self._folder / "client/test")  # it needs libraries, and calls nothing
        (self._folder / "go.mod").write_text("module lead_archive\n\ngo 1.19\n")
        shutil.copy(DRIVERS / "calls.go", self._folder)
        go = {"GOCACHE": str(SCRATCH / "go-cache"), "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
        succeed("go", "vet", "./...", folder=self._folder, **go)
        succeed("go", "build", "-o", "calls", ".", folder=self._folder, **go)
        return [str(self._folder / "calls")]

    def _php(self) -> list[str]:
        for path in (self._folder / "client/lib").rglob("*.php"):
            succeed("php", "-l", path, folder=self._folder)
        shutil.copy(DRIVERS / "calls.php", self._folder / "client")
        return ["php", "client/calls.php"]

    def _typescript(self) -> list[str]:
        shutil.copy(DRIVERS / "calls.ts", self._folder)
        (self._folder / "package.json").write_text('{"type": "commonjs"}')
        modules = ("--module", "commonjs", "--moduleResolution", "node10", "--ignoreDeprecations", "5.0")
        options = ("--target", "es2022", "--types", "node", "--outDir", "built", "--strict")
        succeed(*npm_program("tsc"), *modules, *options, "calls.ts", folder=self._folder)
        return [NODE, "built/calls.js"]


@pytest.fixture(scope="module", params=LANGUAGES)
def client(request: pytest.FixtureRequest) -> Iterator[GeneratedClient]:
    with TemporaryDirectory(dir=SCRATCH) as folder:
        yield GeneratedClient(request.param, Path(folder))


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with Prism("mock") as prism:
        yield prism.url


def call(url: str, *lead_ids: int, **headers: str) -> dict[str, Any]:
    return {"url": url, "lead_ids": lead_ids, "headers": {"Authorization": f"Key={KEY}", **headers}}


def test_leads_are_archived_and_every_refusal_is_understood(
    client: GeneratedClient, tables: Tables, environment: dict[str, str]
) -> None:
    tables.live(1, 2, LARGEST)
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY')")
    live, _ = tables.both()
    within = {"OFFICE_HOURS": every_day_but_the_one_in_three_days(), "OFFICE_HOURS_TIMEZONE": "UTC"}
    with ServiceProcess(environment) as service, ServiceProcess({**environment, **within}) as office_hours:
        url = service.base_url
        answers = client.send(
            call(url, -1),
            call(url, 1, Authorization="Key=wrong"),
            call(office_hours.base_url, 1),
            call(url, 1, 3),
            call(url, 1, **{"Content-Encoding": "gzip"}),
            call(url, 1, 2, LARGEST),
        )

    assert answers == [
        [400, [-1], f"lead_ids must only contain integer values from 0 to {LARGEST}"],
        [401, None, "unable to validate api user"],
        [403, None, "api cannot be executed during office hours time condition"],
        [404, [3], "lead_ids does not exist"],
        [415, None, "Content-Encoding is not supported; send the body as it is"],
        [200, [2], OK],
    ]
    stayed = {2: live.pop(2)}
    assert tables.both() == (stayed, live)


def test_every_error_of_the_contract_is_understood(client: GeneratedClient, mock: str) -> None:
    """A mock gives the answers, since no client can bring about all of them."""
    errors = sorted(set(RESPONSES) - {"200"})

    answers = client.send(*(call(mock, 1, Prefer=f"code={status}") for status in errors))

    assert [str(status) for status, _, _ in answers] == errors
    for status, (_, lead_ids, message) in zip(errors, answers, strict=True):
        examples = [
            example["value"] for example in resolve(RESPONSES[status])["content"]["application/json"]["examples"].values()
        ]
        assert {"message": message, "lead_ids": lead_ids} in [
            {"message": example["message"], "lead_ids": example.get("lead_ids")} for example in examples
        ]


def resolve(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response of the contract, also if it is a reference."""
    resolved: dict[str, Any] = response
    if "$ref" in response:
        resolved = SCHEMA.raw_schema["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return resolved


def test_an_answer_may_have_fields_of_a_later_release(client: GeneratedClient) -> None:
    lists = {"remaining_lead_ids": [LARGEST], "reused_lead_ids": [], "unmatched_lead_ids": []}

    def answer(_: str, body: dict[str, Any]) -> Reply:
        reply = moved(body, **lists, of_a_later_release={"any": ["thing"]})
        return Reply(reply.body, headers={"Content-Type": "application/json"})

    with fake(answer) as url:
        assert client.send(call(url, LARGEST)) == [[200, [LARGEST], OK]]


def test_a_client_has_no_methods_for_metrics_and_pages(client: GeneratedClient) -> None:
    code = client.operations.lower().replace("_", "")

    assert "archiveleads" in code
    assert not [name for name in ("getmetrics", "getdocs", "getopenapi") if name in code]
