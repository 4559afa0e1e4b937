"""Conditions on the command line of the bulk client: what each option sends, and which combinations are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.client import Client
from support.fake_service import FIND_OPENAPI, Reply, fake, page
from support.paths import ROOT

from lead_archive.answers import Answer
from lead_archive.condition_options import CONDITION_OPTIONS
from lead_archive.conditions import CONDITIONS

NOWHERE = "http://127.0.0.1:1"
"""A server that no test may reach."""

SENT: list[tuple[list[object], dict[str, Any]]] = [
    (["--list", 101, "--list", 102, "--list", 101], {"list_ids": [101, 102]}),
    (["--campaign", "X", "--campaign", "Y"], {"campaign_ids": ["X", "Y"]}),
    (["--status", "NA", "--status", "", "--not-status", "Ü"], {"statuses": ["NA", ""], "not_statuses": ["Ü"]}),
    (["--active-lists", "--called"], {"list_active": True, "never_called": False}),
    (["--inactive-lists", "--never-called"], {"list_active": False, "never_called": True}),
    (["--entered-before", "2026-01-31"], {"entered_before": "2026-01-31"}),
    (["--called-before", "2024-02-29T18:00:00"], {"called_before": "2024-02-29T18:00:00"}),
    (
        ["--entered-days-ago", 1, "--called-days-ago", 36500],
        {"entered_at_least_days_ago": 1, "called_at_least_days_ago": 36500},
    ),
    (["--called-count", 0, "--list", 0], {"called_count_at_least": 0, "list_ids": [0]}),
]


@pytest.mark.parametrize(("options", "where"), SENT, ids=str)
def test_each_option_is_a_condition_of_the_contract(tmp_path: Path, options: list[object], where: dict[str, Any]) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(_: str, body: dict[str, Any]) -> Reply:
        bodies.append(body)
        return page()

    with fake(answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("find", *options)

    assert (result.status, result.output) == (0, "")
    assert result.errors.endswith("find: no lead meets the conditions\n")
    assert bodies == [{"where": where, "limit": 10}]


def test_all_conditions_of_the_contract_have_an_option() -> None:
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))

    contract = set(document["components"]["schemas"]["Where"]["properties"])
    assert contract == set(CONDITIONS) == {name for name, _ in CONDITION_OPTIONS.values()}
    assert {name for _, where in SENT for name in where} == contract


REFUSED: list[tuple[list[object], str]] = [
    ([], "name either a FILE of lead ids or conditions such as --list 101"),
    (["leads", "--list", 1], "name either a FILE of lead ids or conditions such as --list 101"),
    (["leads", "--at-most", 1], "--at-most belongs to conditions, and FILE is given"),
    (["--list", 1, "--column", "x"], "--column belongs to a FILE, and conditions are given"),
    (["--list", 1, "--resume"], "--resume belongs to a FILE, and conditions are given"),
    (["--list", 1, "--start-over"], "--start-over belongs to a FILE, and conditions are given"),
    (["--list", 1, "--journal", "x"], "--journal belongs to a FILE, and conditions are given"),
    (["--at-most", 5], "name either a FILE of lead ids or conditions"),
    (["--list", 1, "--at-most", 0], "--at-most"),
    (["--list", "x"], "--list"),
    (["--list", -1], "--list: -1 is not the number of a list"),
    (["--status", "NA,B"], '--status: "NA,B" is not one name: write each by itself'),
    (["--not-status", "NA B "], '--not-status: "NA B " is not one name: write each by itself'),
    (["--status", "x" * 101], "has more than 100 characters"),
    (["--active-lists", "--inactive-lists"], "--active-lists and --inactive-lists are opposites: give one of them"),
    (["--called", "--never-called"], "--never-called and --called are opposites: give one of them"),
    (["--entered-before", "31.1.2026"], '--entered-before: "31.1.2026" is not a time: write a date, such as 2026-01-31'),
    (["--called-before", "2026-02-29"], "--called-before: 2026-02-29 is not in the calendar"),
    (["--called-before", "2026-01-01T24:00:00"], "--called-before: 2026-01-01T24:00:00 is not in the calendar"),
    (["--entered-before", "2026-01-31T18:00:00Z"], "is not a time: write a date"),
    (["--entered-before", "0000-00-00"], "is not a time: write a date"),
    (["--entered-days-ago", 0], "--entered-days-ago: 0 is not an integer from 1 to 36500"),
    (["--called-days-ago", 36501], "--called-days-ago: 36501 is not an integer from 1 to 36500"),
    (["--called-count", 65536], "--called-count: 65536 is not an integer from 0 to 65535"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=str)
def test_wrong_conditions_are_wrong_usage(tmp_path: Path, arguments: list[object], message: str) -> None:
    client = Client(tmp_path, NOWHERE)
    client.write("leads", 1)

    for command in ("archive", "dearchive", "compare"):
        result = client.invoke(command, *arguments)
        assert message in result.errors
        assert (result.status, result.output) == (2, "")


def test_find_needs_conditions(tmp_path: Path) -> None:
    client = Client(tmp_path, NOWHERE)

    assert client.invoke("find").errors == "error: no conditions are given: name at least one, such as --list 101\n"
    assert client.invoke("find", "leads").status == 2
    assert client.invoke("find", "--in", "hopper", "--list", 1).status == 2


def test_all_wrong_conditions_are_told_at_once(tmp_path: Path) -> None:
    result = Client(tmp_path, NOWHERE).invoke("archive", "--called-count", -1, "--status", "A,B", "--called", "--never-called")

    assert [line.split(":")[1].strip().split(" ")[0] for line in result.errors.splitlines()] == [
        "--status",
        "--never-called",
        "--called-count",
    ]


def test_a_service_that_cannot_find_is_named(tmp_path: Path) -> None:
    def answer(*_: object) -> Reply:
        pytest.fail("a request was sent")

    with fake(answer) as url:
        client = Client(tmp_path, url)
        found = client.invoke("find", "--list", 1)
        archived = client.invoke("archive", "--list", 1, "--json")

    assert (found.status, found.errors) == (3, f"error: {url} does not offer /vicidial/leads/find\n")
    assert archived.status == 3
    assert json.loads(archived.output)["error"] == f"{url} does not offer /vicidial/leads/find, which archive needs"


GUARDED: list[list[object]] = [
    ["--entered-days-ago", 1],
    ["--entered-before", "2026-01-01"],
    ["--called-count", 1],
    ["--status", "NA"],
    ["--not-status", "new"],
    ["--never-called"],
]


@pytest.mark.parametrize("last_call", [["--called-days-ago", 90], ["--called-before", "2026-01-01"]], ids=str)
def test_conditions_that_match_new_leads_are_told(tmp_path: Path, last_call: list[object]) -> None:
    """Vicidial's list loader writes 2008-01-01 as the last call of a new lead."""
    with fake(lambda *_: page(), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        for guard in GUARDED:
            assert "note: " not in client.invoke("find", "--list", 1, *last_call, *guard).errors
        for options in (["--called-count", 0], ["--status", "new"], ["--not-status", "NA"], ["--called"]):
            told = client.invoke("archive", *last_call, *options, "-q").errors
            assert told.startswith("note: new leads that nobody has called meet these conditions too: Vicidial's list loader")
            assert told.endswith("To keep them, add --entered-days-ago or --called-count 1\n")
        client.write("rules.toml", "[[rules]]", "name = 'a'", "where.called_at_least_days_ago = 90")
        assert client.invoke("run", "rules.toml", "-q").errors == (
            "note: a: new leads that nobody has called meet these conditions too: Vicidial's list loader gives them a last "
            "call in 2008. To keep them, add entered_at_least_days_ago or called_count_at_least = 1\n"
        )


def test_that_new_leads_match_is_not_told_of_archived_leads(tmp_path: Path) -> None:
    with fake(lambda *_: page(), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        for command in (["dearchive"], ["find", "--in", "archive"], ["compare", "--in", "archive"]):
            assert "note: " not in client.invoke(*command, "--called-days-ago", 90, "-q").errors
        client.write("rules.toml", "[[rules]]", "name = 'a'", "operation = 'dearchive'", "where.called_at_least_days_ago = 90")
        assert client.invoke("run", "rules.toml", "-q").errors == ""


def test_the_words_of_the_contract_for_a_condition_that_cannot_be_checked_are_known() -> None:
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    examples = document["components"]["responses"]["ServiceUnavailable"]["content"]["application/json"]["examples"]

    final = {
        name
        for name, example in examples.items()
        if Answer(503, "", {}, json.dumps(example["value"]).encode()).refuses_condition()
    }

    assert final == {"condition"}
