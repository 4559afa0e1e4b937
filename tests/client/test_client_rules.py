"""lead-archive run with the rules of a file, against the real service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.client import IN_USE, Client
from support.selections import fill, hopper
from support.tables import Tables

RULES = [
    "[[rules]]",
    'name = "called, of list 101"',
    "where = {list_ids = [101], never_called = false}",
    "[[rules]]",
    'name = "switched off"',
    "at_most = 3",
    "where = {list_active = false}",
    "[[rules]]",
    'name = "nothing"',
    "where = {statuses = ['NONE']}",
]


def rules_of(result: Any) -> list[dict[str, Any]]:
    """Return the result of each rule, without counts that are 0."""
    document = json.loads(result.output)
    assert document["status"] == result.status
    assert document["command"] == "run"
    return [{name: value for name, value in rule.items() if value} for rule in document["rules"]]


def test_the_rules_are_carried_out_one_after_the_other(client: Client, leads: Tables) -> None:
    fill(leads)
    hopper(leads, 4, 12)
    before, _ = leads.both()

    result = client.run("run", client.write("rules.toml", *RULES))

    assert result.status == 0
    assert result.output.splitlines() == [
        "rule                 found  moved  stayed  failed",
        "called, of list 101      5      4       1       0  done",
        f"    1  {IN_USE}",
        "switched off             4      3       1       0  at_most reached",
        f"    1  {IN_USE}",
        "nothing                  0      0       0       0  done",
    ]
    assert result.errors.splitlines() == [
        "called, of list 101: 5 found, 4 archived, 1 left",
        "switched off: 10 found, 3 archived, 1 left",
    ]
    moved = [2, 6, 8, 10, 11, 13, 14]
    assert leads.both() == (
        {lead_id: row for lead_id, row in before.items() if lead_id not in moved},
        {lead_id: before[lead_id] for lead_id in moved},
    )
    assert [path.name for path in client.folder.iterdir()] == ["rules.toml"]


def test_the_result_is_one_json_document_for_scripts(client: Client, leads: Tables) -> None:
    fill(leads)
    hopper(leads, 4, 12)
    file = client.write("rules.toml", *RULES)

    result = client.invoke("run", file, "--json", "-q", "--jobs", 1)

    assert (result.status, result.errors) == (0, "")
    assert rules_of(result) == [
        {
            "name": "called, of list 101",
            "operation": "archive",
            "end": "done",
            "found": 5,
            "moved": 4,
            "remained": 1,
            "reasons": {IN_USE: 1},
        },
        {
            "name": "switched off",
            "operation": "archive",
            "end": "at_most",
            "found": 4,
            "moved": 3,
            "remained": 1,
            "reasons": {IN_USE: 1},
        },
        {"name": "nothing", "operation": "archive", "end": "done"},
    ]
    document = json.loads(result.output)
    assert (document["not_begun"], document["error"], document["dry_run"]) == ([], None, False)
    assert document["seconds"] >= 0

    again = client.invoke("run", file, "--json", "-q")
    assert [rule.get("moved") for rule in rules_of(again)] == [None, 3, None]
    assert again.status == 0


def test_a_dry_run_says_what_each_rule_would_do_and_changes_nothing(client: Client, leads: Tables) -> None:
    fill(leads)
    hopper(leads, 4, 12)
    leads.archived(11, list_id=102, entry_date="2020-01-01", phone_number="999")  # another lead with this id
    before = leads.both()
    file = client.write("rules.toml", *RULES)

    result = client.invoke("run", file, "--dry-run", "-q")

    assert (result.status, result.errors) == (0, "")
    lines = result.output.splitlines()
    assert lines[:3] == [
        "rule                 match  would go  would stay  failed",
        "called, of list 101      5         4           1       0",
        f"    1  {IN_USE}",
    ]
    assert lines[3] == "switched off            10         3           2       0"
    assert lines[4].startswith("    1  id given out again: another lead has this id in vicidial_list_archive")
    assert lines[5:] == [
        f"    1  {IN_USE}",
        "    5  left for another run: at_most is 3",
        "nothing                  0         0           0       0",
    ]
    assert leads.both() == before
    told = rules_of(client.invoke("run", file, "--dry-run", "--json", "-q"))[1]
    assert (told["found"], told["moved"], told["beyond_at_most"]) == (10, 3, 5)
    assert json.loads(client.invoke("run", file, "--dry-run", "--json", "-q").output)["dry_run"] is True


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_rule_may_bring_leads_back(client: Client, leads: Tables, options: list[str]) -> None:
    fill(leads)
    before, _ = leads.both()
    assert client.invoke("archive", "--called-count", 0, "-q").status == 0
    archived = leads.both()
    back = [
        "[[rules]]",
        "name = 'back'",
        "operation = 'dearchive'",
        "where = {campaign_ids = ['AUTUMN'], never_called = true}",
    ]

    result = client.invoke("run", client.write("rules.toml", *back), "--json", "-q", *options)

    assert result.status == 0
    (told,) = rules_of(result)
    assert (told["operation"], told["found"], told["moved"]) == ("dearchive", 5, 5)
    assert leads.both() == (
        archived
        if options
        else (
            {lead_id: before[lead_id] for lead_id in (21, 23, 25, 27, 29)},
            {lead_id: row for lead_id, row in before.items() if lead_id not in (21, 23, 25, 27, 29)},
        )
    )


def test_a_rule_that_the_database_cannot_check_is_refused_and_the_others_go(client: Client, leads: Tables) -> None:
    fill(leads)
    leads.execute("RENAME TABLE vicidial_lists TO vicidial_lists_away")
    last = ["[[rules]]", "name = 'called, of list 103'", "where = {list_ids = [103], never_called = false}"]
    try:
        result = client.invoke("run", client.write("rules.toml", *RULES, *last), "-q")
    finally:
        leads.execute("RENAME TABLE vicidial_lists_away TO vicidial_lists")

    assert result.status == 3
    assert [line.split()[-1] for line in result.output.splitlines()] == ["failed", "done", "refused", "done", "done"]
    assert "error: switched off: the server refuses these conditions: 503 " in result.errors
    assert "vicidial_lists" in result.errors
    assert leads.ids()[1] == [2, 4, 6, 8, 10, 22, 24, 26, 28, 30]
