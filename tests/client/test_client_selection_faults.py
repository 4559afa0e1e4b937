"""Conditions under faults: leads that change meanwhile, office hours, failures, Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.fake_service import FIND_OPENAPI, LIMIT, PAGE, Reply, compared, fake, finder, lead, moved
from support.process import PATIENCE
from support.waiting import wait_until

WHERE = {"list_ids": [7]}
LATER = {"message": "the database could not process the batch; nothing was changed, repeat the request"}
OFFICE_HOURS = Reply({"message": "office hours"}, 403, {"Retry-After": "3600"})
Move = Callable[[dict[str, Any]], Reply | None]


class Leads:
    """The leads of a fake service, and the bodies of the requests that archive them."""

    def __init__(self, number: int, move: Move = moved) -> None:
        self.live = set(range(1, number + 1))
        self.finds: list[dict[str, Any]] = []
        self.moves: list[dict[str, Any]] = []
        self._move = move

    def answer(self, path: str, body: dict[str, Any]) -> Reply | None:
        if path.endswith("/find"):
            self.finds.append(body)
            return finder(sorted(self.live), body)
        if path.endswith("/compare"):
            return compared(*(lead(lead_id, in_use=True) for lead_id in body["lead_ids"]))
        self.moves.append(body)
        reply = self._move(body)
        if reply and reply.status == 200:
            self.live -= set(body["lead_ids"]) - set(reply.body["remaining_lead_ids"])
        return reply

    def sent(self) -> list[int]:
        return sorted(lead_id for body in self.moves for lead_id in body["lead_ids"])


def test_each_batch_carries_the_conditions_and_pages_are_larger_than_batches(tmp_path: Path) -> None:
    leads = Leads(25)

    with fake(leads.answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("archive", "--list", 7, "--json", "--no-update")

    assert (result.status, result.counts()) == (0, {"asked": 25, "moved": 25, "inserted": 25})
    flags = {"insert_leads": True, "update_leads": False, "delete_leads": True}
    assert all({**body, "lead_ids": []} == {**flags, "where": WHERE, "lead_ids": []} for body in leads.moves)
    assert max(len(body["lead_ids"]) for body in leads.moves) == LIMIT < PAGE
    assert leads.sent() == list(range(1, 26))
    assert leads.finds == [
        {"where": WHERE, "limit": PAGE},
        {"where": WHERE, "limit": PAGE, "after_lead_id": 10},
        {"where": WHERE, "limit": PAGE, "after_lead_id": 20},
    ]


def test_a_lead_that_no_longer_meets_them_is_left_as_it_is_and_that_is_well(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> Reply:
        called = [lead_id for lead_id in body["lead_ids"] if lead_id == 2]
        number = len(body["lead_ids"]) - len(called)
        fields = {"remaining_lead_ids": called, "unmatched_lead_ids": called}
        return moved(body, select_count=number, insert_count=number, delete_count=number, **fields)

    with fake(Leads(5, move).answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", "--list", 7, "--json")

    assert (result.status, result.counts()) == (0, {"asked": 5, "moved": 4, "unmatched": 1, "inserted": 4})
    assert client.read("found.archive.left.csv") == [
        "lead_id,reason",
        "2,no longer meets the conditions: it was left as it is",
    ]


def test_leads_that_stay_are_not_tried_again_in_the_same_run(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> Reply:
        return moved(body, insert_count=0, delete_count=0, remaining_lead_ids=body["lead_ids"])

    leads = Leads(23, move)
    with fake(leads.answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("archive", "--list", 7, "--at-most", 2, "--json")

    assert (result.status, result.counts()) == (1, {"asked": 23, "remained": 23})
    assert leads.sent() == list(range(1, 24))


def test_office_hours_end_it(tmp_path: Path) -> None:
    leads = Leads(25, lambda _: OFFICE_HOURS)

    with fake(leads.answer, FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("archive", "--list", 7, "--json", "--jobs", 1)

    assert (result.status, result.counts()) == (3, {"asked": 3, "not_sent": 3})
    assert "403 office hours; it ends at " in result.summary["error"]
    assert result.summary["error"].endswith(". Try again after that, or let --wait do it")
    assert len(leads.moves) == 1


def test_a_batch_that_fails_is_told_and_the_others_go(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> Reply:
        return Reply(LATER, 503) if 4 in body["lead_ids"] else moved(body)

    with fake(Leads(9, move).answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", "--list", 7, "--json", "--jobs", 1, "--retry-for", 0)

    assert (result.status, result.counts()) == (1, {"asked": 9, "moved": 6, "failed": 3, "inserted": 6})
    assert f"4,failed: 503 {LATER['message']}" in [line.replace('"', "") for line in client.read("found.archive.left.csv")]
    assert "To go on, run the same command again: what was archived no longer meets the conditions." in result.errors


def test_a_batch_that_failed_counts_for_at_most_since_it_may_have_been_processed(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> Reply:
        return Reply(LATER, 503) if 4 in body["lead_ids"] else moved(body)

    leads = Leads(20, move)
    with fake(leads.answer, FIND_OPENAPI) as url:
        Client(tmp_path, url).invoke("archive", "--list", 7, "--at-most", 8, "--jobs", 1, "--retry-for", 0)

    assert leads.sent() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_find_is_tried_again_and_given_up(tmp_path: Path) -> None:
    failures = [Reply(LATER, 503), None]

    def answer(path: str, body: dict[str, Any]) -> Reply | None:
        return failures.pop() if failures else leads.answer(path, body)

    leads = Leads(3)
    with fake(answer, FIND_OPENAPI) as url:
        assert Client(tmp_path, url).invoke("archive", "--list", 7, "--retry-for", 30).status == 0
    with fake(lambda *_: Reply(LATER, 503), FIND_OPENAPI) as url:
        result = Client(tmp_path, url).invoke("archive", "--list", 7, "--retry-for", 0, "--json")

    assert (result.status, result.counts()) == (3, {})
    assert f"503 {LATER['message']}" in result.summary["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_flight_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    go_on = threading.Event()

    def move(body: dict[str, Any]) -> Reply:
        if body["lead_ids"][0] == 4:
            assert go_on.wait(PATIENCE)
        return moved(body)

    leads = Leads(50, move)
    with fake(leads.answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        with client.start("archive", "--list", 7, "--jobs", 1, "--json") as running:
            wait_until(lambda: len(leads.moves) == 2)
            running.send(number)
            running.wait_until_it_says("finishing what is in flight")
            go_on.set()
            stopped = running.end()
        rest = client.run("archive", "--list", 7, "--json")

    assert (stopped.status, stopped.counts()) == (1, {"asked": 6, "moved": 6, "inserted": 6})
    assert "To go on, run the same command again: what was archived no longer meets the conditions." in stopped.errors
    assert "--resume" not in stopped.errors
    assert rest.counts() == {"asked": 44, "moved": 44, "inserted": 44}
    assert leads.sent() == list(range(1, 51))


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    over = threading.Event()

    def move(_: dict[str, Any]) -> None:
        over.wait(PATIENCE)

    leads = Leads(50, move)
    with fake(leads.answer, FIND_OPENAPI) as url:
        with Client(tmp_path, url).start("archive", "--list", 7, "--jobs", 2, "--json") as running:
            wait_until(lambda: len(leads.moves) == 2)
            running.send(signal.SIGINT)
            running.wait_until_it_says("finishing what is in flight")
            running.send(signal.SIGINT)
            result = running.end()
        over.set()

    assert (result.status, result.counts()) == (1, {"asked": 6, "not_sent": 6})
    assert "may have been processed: run the same command again" in result.errors


def test_a_signal_ends_a_search(tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(*_: object) -> None:
        asked.set()
        over.wait(PATIENCE)

    with fake(answer, FIND_OPENAPI) as url:
        for command, words in [
            ("archive", "To go on, run the same command again: "),
            ("compare", "To begin again at the first lead, run the same command again."),
            ("find", "stopped; the ids printed so far are not all"),
        ]:
            asked.clear()
            with Client(tmp_path, url).start(command, "--list", 7) as running:
                assert asked.wait(PATIENCE)
                running.send(signal.SIGTERM)
                result = running.end()
            assert result.status == 1, result.errors
            assert "No lead meets" not in result.output
            assert words in result.errors
        over.set()
