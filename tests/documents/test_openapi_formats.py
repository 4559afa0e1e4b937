"""The contract as JSON and as OpenAPI 3.0: it has the same limit, and accepts and refuses the same requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from openapi_3_0 import convert
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from support.api import Api
from support.paths import ROOT

WRITTEN = ROOT / "service/api/openapi-3.0.yaml"

DOCUMENT = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
DOCUMENT_3_0 = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))

REQUESTS = sorted(name for name in DOCUMENT["components"]["schemas"] if name.endswith("Request"))

VALUES: list[Any] = [
    None,
    True,
    "",
    "7",
    0,
    -1,
    1.5,
    4294967295,
    4294967296,
    [],
    [1],
    [1, 1],
    [-1],
    ["1"],
    {},
    {"a": 1},
]
"""Values that a field may get in the place of its own. Not 1.0: only since OpenAPI 3.1 it is an integer."""


def test_the_3_0_document_is_made_from_the_contract() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == convert(ROOT / "openapi.yaml"), "run scripts/openapi-3.0"


def test_the_3_0_document_is_valid_and_has_no_type_arrays() -> None:
    validate(DOCUMENT_3_0)

    assert DOCUMENT_3_0["openapi"].startswith("3.0.")
    assert not type_arrays(DOCUMENT_3_0["components"]["schemas"])


def type_arrays(part: Any) -> list[Any]:
    if isinstance(part, dict):
        here = [part] if isinstance(part.get("type"), list) else []
        return here + [found for value in part.values() for found in type_arrays(value)]
    return [found for value in part for found in type_arrays(value)] if isinstance(part, list) else []


def schema_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a schema without references."""

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(value) for value in part]
        if not isinstance(part, dict):
            return part
        if isinstance(reference := part.get("$ref"), str):
            return resolve(document["components"]["schemas"][reference.rpartition("/")[2]])
        return {key: resolve(value) for key, value in part.items()}

    schema: dict[str, Any] = resolve(document["components"]["schemas"][name])
    return schema


def examples_of(name: str) -> list[dict[str, Any]]:
    """Return the bodies that the contract shows for a request schema."""
    contents = [
        operation["requestBody"]["content"]["application/json"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    ]
    return [
        example["value"]
        for content in contents
        if content["schema"]["$ref"].endswith(f"/{name}")
        for example in content["examples"].values()
    ]


@pytest.mark.parametrize("name", REQUESTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_3_0_document_accepts_and_refuses_the_same_requests(name: str, data: st.DataObject) -> None:
    schema, schema_3_0 = schema_of(DOCUMENT, name), schema_of(DOCUMENT_3_0, name)
    body = deepcopy(data.draw(st.sampled_from(examples_of(name))))
    for container in data.draw(st.lists(st.sampled_from([body, *([body["where"]] if "where" in body else [])]), max_size=2)):
        field = data.draw(st.sampled_from([*container, "unknown"]))
        match data.draw(st.sampled_from(["remove", "replace"])):
            case "remove":
                container.pop(field, None)
            case "replace":
                container[field] = data.draw(st.sampled_from(VALUES))

    accepted = [validator.is_valid(body) for validator in (Draft202012Validator(schema), OAS30Validator(schema_3_0))]

    assert accepted[0] == accepted[1], body


def test_the_json_document_is_the_same_contract(api: Api) -> None:
    response = api.get("/openapi.json")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi-3.0.yaml"])
def test_every_format_has_the_limit_in_force(new_api: Callable[..., Api], path: str) -> None:
    text = new_api(LEAD_IDS_LIMIT="3").get(path).text

    document = json.loads(text) if path.endswith("json") else yaml.safe_load(text)
    assert document["components"]["schemas"]["LeadIDs"]["maxItems"] == 3
    assert "lead_ids cannot exceed 3 values" in text
    assert "500 values" not in text
