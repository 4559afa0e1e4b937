"""The command find of the bulk client, against the real service and against fake ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.client import COMMAND, Client
from support.fake_service import FIND_OPENAPI, PAGE, Reply, fake, finder, page
from support.selections import fill
from support.tables import Tables

from lead_archive.answers import Answer
from lead_archive.errors import MalformedError
from lead_archive.pages import Page

FEW = ["--retry-for", 0]


def lines(*lead_ids: int) -> str:
    return "".join(f"{lead_id}\n" for lead_id in lead_ids)


def test_find_prints_the_ids_that_archive_reads(client: Client, leads: Tables) -> None:
    fill(leads)
    before, _ = leads.both()

    result = client.invoke("find", "--list", 101, "--status", "NA")

    assert (result.status, result.output, result.errors) == (0, lines(2, 4, 6, 8, 10), "find: 5 leads\n")
    assert leads.both() == (before, {})
    client.write("found", *result.output.split())
    assert client.invoke("archive", "found", "--json").counts() == {"asked": 5, "moved": 5, "inserted": 5}
    assert leads.ids()[1] == [2, 4, 6, 8, 10]

    assert client.invoke("find", "--list", 101, "--status", "NA").output == ""
    assert client.invoke("find", "--list", 101, "--in", "archive", "-q").output == lines(2, 4, 6, 8, 10)
    assert client.invoke("find", "--list", 101, "--in", "list", "-q").output == lines(1, 3, 5, 7, 9)


def test_the_conditions_must_all_hold(client: Client, leads: Tables) -> None:
    fill(leads)

    cases: list[tuple[list[object], list[int]]] = [
        (["--campaign", "SPRING", "--inactive-lists", "--called"], [12, 14, 16, 18, 20]),
        (["--campaign", "AUTUMN", "--not-status", "NEW"], [22, 24, 26, 28, 30]),
        (["--entered-before", "2024-01-01T08:00:01", "--called-before", "2024-02-02", "--list", "101"], [2, 4, 6, 8, 10]),
        (
            ["--entered-days-ago", 90, "--called-days-ago", 90, "--called-count", 2, "--active-lists", "--list", 101],
            [2, 4, 6, 8, 10],
        ),
        (["--never-called", "--list", 103, "--list", 104], [21, 23, 25, 27, 29]),
        (["--list", 104], []),
    ]
    for options, found in cases:
        assert client.invoke("find", *options).output == lines(*found), options


def test_at_most_ends_the_search(client: Client, leads: Tables) -> None:
    fill(leads)

    result = client.invoke("find", "--called", "--at-most", 3)

    assert (result.status, result.output, result.errors) == (0, lines(2, 4, 6), "find: 3 leads\n")


def test_every_page_is_asked_for_even_after_empty_ones(tmp_path: Path) -> None:
    asked: list[tuple[Any, int]] = []
    pages = iter([page(after=400), page(401, after=401), page()])

    def answer(_: str, body: dict[str, Any]) -> Reply:
        asked.append((body.get("after_lead_id"), body["limit"]))
        return next(pages)

    with fake(answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("find", "--list", 1)

    assert (result.status, result.output) == (0, "401\n")
    assert asked == [(None, PAGE), (400, PAGE), (401, PAGE)]


def test_an_error_says_that_the_ids_are_not_all(tmp_path: Path) -> None:
    def answer(_: str, body: dict[str, Any]) -> Reply:
        if "after_lead_id" in body:
            return Reply({"message": "unable to validate api user"}, 401)
        return finder(range(1, 100), body)

    with fake(answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("find", "--list", 1, *FEW)

    assert (result.status, result.output) == (3, lines(*range(1, 11)))
    assert "401 unable to validate api user" in result.errors
    assert result.errors.endswith("; the ids printed so far are not all\n")


def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    with fake(lambda _, body: finder(range(1, 100_000), body), FIND_OPENAPI) as url:
        result = Client(tmp_path, url).shell(f"set -o pipefail; {COMMAND} find --list 1 | head -n 1")

    assert (result.returncode, result.stdout) == (2, "1\n")
    assert result.stderr == "error: cannot write the ids: Broken pipe; the ids printed so far are not all\n"


WRONG_VALUES: dict[str, list[Any]] = {
    "message": [None, 1, []],
    "lead_ids": [None, "5", [1, 5], [5, 5], [6, 5], [5.0], [True], ["5"], [4], [4294967296], list(range(5, 16))],
    "done": [None, 0, "false"],
    "next_after_lead_id": [None, "7", 7.0, True, 4, 5, -1],
}
WRONG = [{name: value} for name, values in WRONG_VALUES.items() for value in values]


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: str(fields)[:50])
def test_200_of_find_with_a_wrong_field_is_none(fields: dict[str, Any]) -> None:
    body = {"where": {"list_ids": [1]}, "after_lead_id": 4, "limit": 10}
    reply = page(5, 6, after=7, **fields)

    with pytest.raises(MalformedError):
        Page.read(Answer(200, "", {}, reply.content), body)


def test_a_page_that_leads_back_ends_it(tmp_path: Path) -> None:
    with fake(lambda *_: page(5, 6, after=5), FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("find", "--list", 1, *FEW)

    assert (result.status, result.output) == (3, "")
    assert "is not this API's: next_after_lead_id is not an integer, or leads back" in result.errors
    assert "Run the same command again, which is safe" in result.errors


def test_what_find_answers_is_read() -> None:
    body = {"where": {"list_ids": [1]}, "after_lead_id": 4, "limit": 10}

    assert Page.read(Answer(200, "", {}, page(5, 6, after=7).content), body) == Page([5, 6], 7)
    assert Page.read(Answer(200, "", {}, page(after=5).content), body) == Page([], 5)
    assert Page.read(Answer(200, "", {}, page(next_after_lead_id=None).content), body) == Page([], None)
