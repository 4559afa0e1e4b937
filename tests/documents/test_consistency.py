"""What is said in more than one place is the same everywhere: settings, routes, versions, messages."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.paths import ROOT

import lead_archive
from service import __version__
from service.app import ROUTES
from service.settings import Settings

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

ARCHIVE_RESPONSES = DOCUMENT["paths"]["/vicidial/leads/archive"]["post"]["responses"]


def lead_error(message: str, *lead_ids: Any) -> dict[str, Any]:
    return {"message": message, "lead_errors": len(lead_ids), "lead_ids": list(lead_ids)}


def media_type(response: dict[str, Any]) -> dict[str, Any]:
    """The one media type of an answer: its schema and its examples."""
    (content,) = response["content"].values()
    return dict(content)


def resolve(item: dict[str, Any]) -> dict[str, Any]:
    """Return the component that a $ref names, and anything else unchanged."""
    if "$ref" in item:
        _, _, kind, name = item["$ref"].split("/")
        item = DOCUMENT["components"][kind][name]
    return item


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def responses() -> Iterator[tuple[str, int, dict[str, Any]]]:
    for operation, definition in operations():
        for status, response in definition["responses"].items():
            yield f"{operation}, {status}", int(status), resolve(response)


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each example of a body, a header or a parameter: where it is, its schema, its value."""
    for operation, definition in operations():
        bodies = [(operation, content) for content in definition.get("requestBody", {}).get("content", {}).values()]
        headers = [(f"{operation}, {header['name']}", header) for header in map(resolve, definition["parameters"])]
        yield from found_in(bodies + headers)
    for where, _, response in responses():
        headers = [(f"{where}, {name}", resolve(header)) for name, header in response["headers"].items()]
        yield from found_in([*((where, content) for content in response["content"].values()), *headers])


def found_in(described: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    for where, description in described:
        named = {name: example["value"] for name, example in description.get("examples", {}).items()}
        if "example" in description:
            named["example"] = description["example"]
        for name, value in named.items():
            yield f"{where}, {name}", description["schema"], value


# The answers that clients know from the API that this one takes the place of.
KNOWN_ANSWERS = [
    (
        200,
        {
            "message": "lead_ids batch was successfully processed",
            "select_count": 1,
            "insert_count": 1,
            "update_count": 0,
            "delete_count": 1,
        },
    ),
    (401, {"message": "unable to validate api user"}),
    (403, {"message": "api cannot be executed during office hours time condition"}),
    (400, lead_error("insert_leads must be a boolean value")),
    (400, lead_error("update_leads must be a boolean value")),
    (400, lead_error("delete_leads must be a boolean value")),
    (400, lead_error("lead_ids must only contain integer values", "0")),
    (400, lead_error("lead_ids must contain atleast 1 value")),
    (400, lead_error("lead_ids cannot exceed 500 values")),
    (400, lead_error("lead_ids cannot contain duplicate values", 0)),
    (404, lead_error("lead_ids does not exist", 0)),
]


# --- README.md, CHANGELOG.md, pyproject.toml ---------------------------------------------------------------------------


def test_the_table_of_settings_in_the_readme_has_each_setting_and_its_default() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n### Settings\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", section, re.MULTILINE)

    assert documented == [
        (name, "none, required" if field.is_required() else "" if field.default is None else f"`{field.default}`")
        for name, field in Settings.model_fields.items()
    ]


def test_there_is_one_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest_release = re.findall(r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {newest_release, project["version"], DOCUMENT["info"]["version"], lead_archive.__version__} == {__version__}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_the_first_pages_point_to_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    folders = "deploy|docs|lead_archive|migrations|scripts|service|sql|tests"
    paths = re.findall(rf"`((?:{folders})/[a-z0-9_/.-]*[a-z0-9/])[` ]", text) + re.findall(r"\]\(([^)#:]+)[)#]", text)

    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


# --- openapi.yaml ------------------------------------------------------------------------------------------------------


def test_each_route_is_in_the_contract_and_the_other_way_round() -> None:
    served = {(route.path, method) for route in ROUTES for method in METHODS if hasattr(route.endpoint, method)}

    assert served == {(path, method) for path, item in DOCUMENT["paths"].items() for method in METHODS if method in item}


def test_the_contract_is_a_valid_openapi_document() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.mark.parametrize(
    ("status", "body"), KNOWN_ANSWERS, ids=lambda value: value if isinstance(value, int) else value["message"]
)
def test_an_answer_that_clients_know_is_in_the_contract_to_the_letter(status: int, body: dict[str, Any]) -> None:
    examples = [example["value"] for example in media_type(resolve(ARCHIVE_RESPONSES[str(status)]))["examples"].values()]
    if status == 200:  # answers may gain fields; errors have not
        examples = [{name: value for name, value in example.items() if name in body} for example in examples]

    assert body in examples


def test_each_error_has_an_example() -> None:
    without = [where for where, status, response in responses() if status >= 400 and not media_type(response).get("examples")]

    assert without == []


def test_each_example_matches_its_schema() -> None:
    wrong = [
        f"{where}: {error.message}"
        for where, schema, value in examples()
        for error in jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).iter_errors(value)
    ]

    assert wrong == []


# --- messages ----------------------------------------------------------------------------------------------------------

TAKES_MESSAGE = {
    "RefusalError": 1,
    "_refuse": 1,
    "error_response": 1,
    "InvalidBodyError": 0,
    "Problem": 0,
    "Obstacle": 0,
    "__init__": 0,
}
"""Which of a call's arguments is a message for callers."""


SAY_WHAT_IS_WRONG = {
    *(ROOT / "service/tables/preconditions").glob("*.py"),
    ROOT / "service/tables/damage.py",
    ROOT / "service/tables/statement_trial.py",
    ROOT / "service/archive/admin_log.py",
    ROOT / "service/archive/readiness.py",
    ROOT / "service/archive/refusals.py",
}
"""Modules whose messages are those of /readyz."""


def messages_in_code(*, problems: bool) -> set[str]:
    """What the code can say to callers, each message as a regular expression. problems: with those of /readyz."""
    paths = [path for path in (ROOT / "service").rglob("*.py") if problems or path not in SAY_WHAT_IS_WRONG]
    return messages_in(paths, problems=problems)


def messages_in(paths: Iterable[Path], *, problems: bool) -> set[str]:
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in TAKES_MESSAGE:
                    if problems or name not in {"Problem", "Obstacle"}:
                        found |= {text for argument in node.args[TAKES_MESSAGE[name] :][:1] for text in literals(argument)}
                case ast.Assign(targets=[ast.Name(id="message")]):
                    found |= literals(node.value)
                case ast.Dict():
                    found |= {
                        text
                        for key, value in zip(node.keys, node.values, strict=True)
                        if isinstance(key, ast.Constant) and key.value == "message"
                        for text in literals(value)
                    }
    return found


def test_each_problem_of_readyz_is_explained() -> None:
    """docs/readiness.md has a row for each, with an example of its message in the first column."""
    text = (ROOT / "docs" / "readiness.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    paths = [path for path in (ROOT / "service").rglob("*.py") if path in SAY_WHAT_IS_WRONG]
    given = messages_in(paths, problems=True)

    assert {pattern for pattern in given if not any(re.fullmatch(pattern, message) for message in explained)} == set()
    assert {message for message in explained if not any(re.fullmatch(pattern, message) for pattern in given)} == set()


def literals(node: ast.expr) -> set[str]:
    """The text that an expression is, as a regular expression; none if it comes from elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return {re.escape(text)}
        case ast.JoinedStr():
            return {"".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values)}
        case ast.IfExp():
            return literals(node.body) | literals(node.orelse)
        case _:
            return set()


def messages_in_contract() -> set[str]:
    """The messages in the examples of answers, those of problems in /readyz included."""
    bodies = [value for _, _, value in examples() if isinstance(value, dict)]
    bodies += [problem for body in bodies for problem in body.get("problems", [])]
    return {body["message"] for body in bodies if "message" in body}


def test_each_message_in_the_code_is_an_example_in_the_contract() -> None:
    known = messages_in_contract()

    assert {
        text for text in messages_in_code(problems=False) if not any(re.fullmatch(text, message) for message in known)
    } == set()


def test_each_message_in_the_contract_is_one_of_the_code() -> None:
    given = messages_in_code(problems=True)

    assert {message for message in messages_in_contract() if not any(re.fullmatch(text, message) for text in given)} == set()
