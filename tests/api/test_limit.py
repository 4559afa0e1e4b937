"""/openapi.yaml as it is served, and LEAD_IDS_LIMIT in it, in the messages and in what is accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from support.api import Api
from support.refusals import Refusals
from support.tables import Tables

from service import resource_path


def test_the_spec_is_served_word_for_word(refusals: Refusals) -> None:
    response = refusals.api.get("/openapi.yaml")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/yaml"
    assert response.content == resource_path("openapi.yaml").read_bytes()


def test_the_served_spec_tells_the_limit_in_force_and_differs_in_nothing_else(new_api: Callable[..., Api]) -> None:
    served = new_api(LEAD_IDS_LIMIT="3").get("/openapi.yaml").text

    document = yaml.safe_load(served)
    assert document["components"]["schemas"]["LeadIDs"]["maxItems"] == 3
    examples = document["paths"]["/vicidial/leads/archive"]["post"]["responses"]["400"]["content"]["application/json"]
    assert examples["examples"]["too_many_values"]["value"]["message"] == "lead_ids cannot exceed 3 values"
    written = resource_path("openapi.yaml").read_text().splitlines()
    different = [(old, new) for old, new in zip(written, served.splitlines(), strict=True) if old != new]
    assert [old.strip() for old, _ in different] == [
        "`vicidial_list_archive`, up to 500 in a request, and back if need be.",
        "value: { message: lead_ids cannot exceed 500 values, lead_errors: 0, lead_ids: [] }",
        "maxItems: 500",
    ]
    assert [new for _, new in different] == [old.replace("500", "3") for old, _ in different]


@pytest.mark.parametrize("limit", [1, 3, 499, 501, 10_000])
def test_as_many_ids_as_the_limit_are_archived_and_one_more_is_refused(
    tables: Tables, new_api: Callable[..., Api], limit: int
) -> None:
    api = new_api(LEAD_IDS_LIMIT=str(limit))
    lead_ids = list(range(1, limit + 2))
    tables.live(*lead_ids)
    before, _ = tables.both()

    response = api.archive_all(lead_ids)
    assert response.status_code == 400
    assert response.json() == {"message": f"lead_ids cannot exceed {limit} values", "lead_errors": 0, "lead_ids": []}
    assert tables.both() == (before, {})

    last = lead_ids.pop()
    assert api.archive_all(lead_ids).json()["delete_count"] == limit
    row = before.pop(last)
    assert tables.both() == ({last: row}, before)
