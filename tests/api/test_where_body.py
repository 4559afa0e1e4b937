"""Conditions in a body that are not as they must be: each message says which condition, what is wrong, and how to write it,
for each operation that takes conditions; and both tables are as they were before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.api import Api
from support.refusals import Refusals

NAMES = (
    "list_ids, campaign_ids, list_active, statuses, not_statuses, entered_before, called_before, entered_at_least_days_ago, "
    "called_at_least_days_ago, never_called, called_count_at_least"
)
NO_OBJECT = 'where must be an object of conditions, such as {"statuses": ["SALE"]}'
LISTS = "an array of 1 to 1000 integers from 0 to 9007199254740991, such as [998, 999]"
TEXTS = "an array of 1 to 100 strings of at most 100 characters, such as "
DATE = 'a date that exists, such as "2026-01-31", or a date and a time without a time zone, such as "2026-01-31T18:00:00"'
DAYS = "an integer from 1 to 36500, such as 90"
COUNT = "an integer from 0 to 65535, such as 5"
BOOLEAN = "true or false"

NO_DATES = [
    "2026-02-30",
    "2026-02-29",
    "1900-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-01-00",
    "0000-00-00",
    "0999-01-01",
    "2026-1-31",
    "2026-01-31 18:00:00",
    "2026-01-31T24:00:00",
    "2026-01-31T18:00",
    "2026-01-31T18:00:00Z",
    "2026-01-31T18:00:00+01:00",
    "2026-01-31T18:00:00.5",
    "2026-01-31\\n",
    " 2026-01-31",
    "\u0662\u0660\u0662\u0666-01-31",
    "tomorrow",
    "",
]

WRONG = [
    *((value, NO_OBJECT) for value in ("null", "[]", '"statuses"', "1", "true")),
    ("{}", f"where must contain at least 1 condition; the conditions are {NAMES}"),
    ('{"status": ["SALE"]}', f'unknown condition "status" in where; the conditions are {NAMES}'),
    ('{"Statuses": 1, "statuses": 1}', f'unknown condition "Statuses" in where; the conditions are {NAMES}'),
    ('{"list_ids": 998}', f"where.list_ids is not of type array; it must be {LISTS}"),
    ('{"list_ids": []}', f"where.list_ids is empty; it must be {LISTS}"),
    (f'{{"list_ids": {list(range(1001))}}}', f"where.list_ids has too many values; it must be {LISTS}"),
    ('{"list_ids": [1, 1.0]}', f"where.list_ids has a value twice; it must be {LISTS}"),
    *(
        (f'{{"list_ids": [998, {value}]}}', f"where.list_ids has a value that it cannot have; it must be {LISTS}")
        for value in ('"998"', "-1", "1.5", "null", "[1]", "9007199254740992", "1e999")
    ),
    ('{"campaign_ids": "SPRING"}', f'where.campaign_ids is not of type array; it must be {TEXTS}["SPRING"]'),
    ('{"campaign_ids": [1]}', f'where.campaign_ids has a value that it cannot have; it must be {TEXTS}["SPRING"]'),
    ('{"statuses": []}', f'where.statuses is empty; it must be {TEXTS}["SALE", "DNC"]'),
    (
        f'{{"statuses": {json.dumps(["A"] * 101)}}}',
        f'where.statuses has too many values; it must be {TEXTS}["SALE", "DNC"]',
    ),
    (
        f'{{"not_statuses": ["{"A" * 101}"]}}',
        f'where.not_statuses has a value that it cannot have; it must be {TEXTS}["CALLBK"]',
    ),
    ('{"list_active": "Y"}', f"where.list_active is not of type boolean; it must be {BOOLEAN}"),
    ('{"never_called": 1}', f"where.never_called is not of type boolean; it must be {BOOLEAN}"),
    ('{"entered_before": 20260131}', f"where.entered_before is not of type string; it must be {DATE}"),
    *(
        (f'{{"called_before": "{value}"}}', f"where.called_before is not a date that can be understood; it must be {DATE}")
        for value in NO_DATES
    ),
    ('{"entered_at_least_days_ago": 0}', f"where.entered_at_least_days_ago is too small; it must be {DAYS}"),
    ('{"called_at_least_days_ago": 36501}', f"where.called_at_least_days_ago is too large; it must be {DAYS}"),
    ('{"called_at_least_days_ago": "90"}', f"where.called_at_least_days_ago is not of type integer; it must be {DAYS}"),
    ('{"called_at_least_days_ago": 1.5}', f"where.called_at_least_days_ago is not of type integer; it must be {DAYS}"),
    ('{"called_count_at_least": -1}', f"where.called_count_at_least is too small; it must be {COUNT}"),
    ('{"called_count_at_least": 1, "statuses": 1}', f'where.statuses is not of type array; it must be {TEXTS}["SALE", "DNC"]'),
]


@pytest.mark.parametrize("path", ["find", "archive", "dearchive"])
def test_what_is_wrong_with_a_condition_is_told(refusals: Refusals, path: str) -> None:
    flags = {"find": "", "archive": '"insert_leads": true, "update_leads": true, "delete_leads": true, "lead_ids": [4711], '}
    flags["dearchive"] = flags["archive"].replace('"update_leads": true, ', "")
    for where, message in WRONG:
        response = refusals.api.post(f'{{{flags[path]}"where": {where}}}', f"/vicidial/leads/{path}")

        assert response.status_code == 400, where
        assert response.json() == {"message": message, "lead_errors": 0, "lead_ids": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, NO_OBJECT),
        ({"in": "list"}, NO_OBJECT),
        ({"where": {"never_called": True}, "in": "both"}, 'in must be "list" or "archive"'),
        ({"where": {"never_called": True}, "in": None}, 'in must be "list" or "archive"'),
        (
            {"where": {"never_called": True}, "after_lead_id": -1},
            "after_lead_id must be an integer value from 0 to 4294967295",
        ),
        (
            {"where": {"never_called": True}, "after_lead_id": "1"},
            "after_lead_id must be an integer value from 0 to 4294967295",
        ),
        (
            {"where": {"never_called": True}, "after_lead_id": 4294967296},
            "after_lead_id must be an integer value from 0 to 4294967295",
        ),
        ({"where": {"never_called": True}, "limit": 0}, "limit must be an integer value from 1 to 10000"),
        ({"where": {"never_called": True}, "limit": 10001}, "limit must be an integer value from 1 to 10000"),
        ({"where": {"never_called": True}, "limit": 1.5}, "limit must be an integer value from 1 to 10000"),
        ({"where": {}, "limit": 0}, "limit must be an integer value from 1 to 10000"),
        (
            {"where": {"never_called": True}, "lead_ids": [1]},
            'unknown field "lead_ids"; the fields are where, in, after_lead_id, limit',
        ),
        ([], "request body must be a JSON object"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_with_a_search_is_told(refusals: Refusals, body: Any, message: str) -> None:
    response = refusals.api.post(json.dumps(body), "/vicidial/leads/find")

    assert response.status_code == 400
    assert response.json() == {"message": message, "lead_errors": 0, "lead_ids": []}


def test_what_is_wrong_with_lead_ids_is_told_first(refusals: Refusals) -> None:
    response = refusals.api.archive({**Api.ALL, "lead_ids": [1, 1], "where": {}})

    assert response.json()["message"] == "lead_ids cannot contain duplicate values"


@pytest.mark.parametrize(
    "moment", ["2024-02-29", "2000-02-29T23:59:59", "1000-01-01", "9999-12-31T00:00:00", "2026-04-30", "2026-12-31"]
)
def test_a_date_that_exists_is_understood(refusals: Refusals, moment: str) -> None:
    assert refusals.api.find(where={"entered_before": moment}).status_code == 200


def test_a_condition_is_written_as_json_allows(refusals: Refusals) -> None:
    body = '{"where": {"list_ids": [1.0, 2e0], "called_at_least_days_ago": 9e1}, "limit": 1e1, "after_lead_id": 0.0}'

    assert refusals.api.post(body, "/vicidial/leads/find").status_code == 200


def test_a_field_of_a_condition_that_is_given_twice_is_refused(refusals: Refusals) -> None:
    response = refusals.api.post('{"where": {"list_ids": [1], "list_ids": [2]}}', "/vicidial/leads/find")

    assert response.status_code == 400
    assert 'the field "list_ids" is given twice' in response.json()["message"]
