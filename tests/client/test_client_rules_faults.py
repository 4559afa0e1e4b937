"""lead-archive run when it cannot or must not continue: office hours, --until, failures, signals."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.fake_service import FIND_OPENAPI, Reply, fake, finder, moved
from support.process import PATIENCE

from lead_archive.errors import UsageError
from lead_archive.progress import Progress
from lead_archive.until import next_time, wait_until

LATER = {"message": "the database could not process the batch; nothing was changed, repeat the request"}
FEW = ["--jobs", 1, "--retry-for", 0, "-q"]
Answer = Callable[[str, dict[str, Any]], Reply | None]


def rules(client: Client, *lists: int) -> str:
    """Write a rule for each list, with the number of the list as its name."""
    lines = [line for number in lists for line in ("[[rules]]", f"name = '{number}'", f"where.list_ids = [{number}]")]
    return client.write("rules.toml", *lines)


def service(move: Callable[[dict[str, Any]], Reply | None]) -> Answer:
    """Return a service whose list N has the leads N01 to N05."""
    left: dict[int, set[int]] = {}

    def answer(path: str, body: dict[str, Any]) -> Reply | None:
        (number,) = body["where"]["list_ids"]
        leads = left.setdefault(number, set(range(number * 100 + 1, number * 100 + 6)))
        if path.endswith("/find"):
            return finder(sorted(leads), body)
        reply = move(body)
        if reply and reply.status == 200:
            leads -= set(body["lead_ids"])
        return reply

    return answer


def ends(output: str) -> dict[str, str]:
    """Return the end of each rule from the JSON document."""
    document = json.loads(output)
    return {**{rule["name"]: rule["end"] for rule in document["rules"]}, **dict.fromkeys(document["not_begun"], "not begun")}


def test_failed_batches_are_status_1_and_the_next_rule_goes_on(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> Reply:
        return Reply(LATER, 503) if 204 in body["lead_ids"] else moved(body)

    with fake(service(move), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2, 3), "--json", *FEW)

    assert (result.status, ends(result.output)) == (1, {"1": "done", "2": "failed", "3": "done"})
    rule = json.loads(result.output)["rules"][1]
    assert (rule["moved"], rule["failed"], rule["reasons"]) == (3, 2, {f"failed: 503 {LATER['message']}": 2})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"message": "unable to validate api user"}, 401), "401 unable to validate api user"),
        (Reply({"message": "office hours"}, 403, {"Retry-After": "60"}), "403 office hours; it ends at"),
        (Reply(b"<html>", 404), "404 "),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value.status),
)
def test_a_refusal_ends_the_run_and_tells_what_was_not_begun(tmp_path: Path, reply: Reply, words: str) -> None:
    def move(body: dict[str, Any]) -> Reply:
        return reply if body["lead_ids"][0] == 204 else moved(body)

    with fake(service(move), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2, 3), "--json", *FEW)
        table = client.invoke("run", "rules.toml", *FEW)

    assert (result.status, ends(result.output)) == (3, {"1": "done", "2": "refused", "3": "not begun"})
    assert words in json.loads(result.output)["error"]
    assert result.errors.startswith("error: 2: ")
    assert "--resume" not in result.errors
    assert table.output.splitlines()[-1].split() == ["3", "not", "begun"]


def test_a_condition_that_the_server_does_not_take_ends_its_rule_only(tmp_path: Path) -> None:
    inner = service(moved)

    def answer(path: str, body: dict[str, Any]) -> Reply | None:
        if body["where"]["list_ids"] == [2]:
            return Reply({"message": "where.list_ids is odd", "lead_errors": 0, "lead_ids": []}, 400)
        return inner(path, body)

    with fake(answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2, 3), "--json", *FEW)

    assert (result.status, ends(result.output)) == (3, {"1": "done", "2": "refused", "3": "done"})
    assert "error: 2: the server refuses these conditions: 400 where.list_ids is odd" in result.errors


def test_a_server_that_is_not_there_is_status_3(tmp_path: Path) -> None:
    client = Client(tmp_path, "http://127.0.0.1:1")

    result = client.invoke("run", rules(client, 1, 2), "--json", *FEW)

    assert (result.status, ends(result.output)) == (3, {"1": "not begun", "2": "not begun"})
    assert "cannot be reached" in json.loads(result.output)["error"]


def test_wait_waits_for_the_end_of_office_hours(tmp_path: Path) -> None:
    hours = [Reply({"message": "office hours"}, 403, {"Retry-After": "1"})]

    with fake(service(lambda body: hours.pop() if hours else moved(body)), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2), "--json", "--wait", *FEW)

    assert (result.status, ends(result.output)) == (0, {"1": "done", "2": "done"})
    assert "1: office hours: waiting until" in result.errors


def the_time_comes_when(event: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of --until come after an event of the test."""

    async def wait(_: datetime, then: Callable[[], None]) -> None:
        assert await asyncio.to_thread(event.wait, PATIENCE)
        then()

    monkeypatch.setattr("lead_archive.rules_run.wait_until", wait)


def test_until_ends_a_wait_and_what_is_left_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = threading.Event()
    the_time_comes_when(refused, monkeypatch)

    def move(_: dict[str, Any]) -> Reply:
        refused.set()
        return Reply({"message": "office hours"}, 403, {"Retry-After": "3600"})

    with fake(service(move), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2), "--json", "--wait", "--until", "6:00", *FEW)

    assert (result.status, ends(result.output)) == (1, {"1": "stopped", "2": "not begun"})
    assert "1: it is 06:00: finishing what is in flight" in result.errors


def test_until_finishes_what_is_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[dict[str, Any]] = []
    sent, over = threading.Event(), threading.Event()
    the_time_comes_when(sent, monkeypatch)

    def say(_: Progress, words: str) -> None:
        assert words == "it is 06:00: finishing what is in flight"
        over.set()

    monkeypatch.setattr(Progress, "say", say)

    def move(body: dict[str, Any]) -> Reply:
        moves.append(body)
        sent.set()
        assert over.wait(PATIENCE)
        return moved(body)

    with fake(service(move), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("run", rules(client, 1, 2), "--json", "--until", "06:00", *FEW)

    assert (result.status, ends(result.output)) == (1, {"1": "stopped", "2": "not begun"})
    assert json.loads(result.output)["rules"][0]["moved"] == len(moves[0]["lead_ids"]) == 3
    assert len(moves) == 1


def test_the_clock_is_waited_for() -> None:
    came: list[bool] = []

    asyncio.run(wait_until(datetime.now() + timedelta(seconds=0.05), lambda: came.append(True)))

    assert came == [True]


@pytest.mark.parametrize(
    ("text", "now", "then"),
    [
        ("06:30", "2026-03-02 22:00", "2026-03-03 06:30"),
        ("6:30", "2026-03-02 06:29", "2026-03-02 06:30"),
        ("06:30", "2026-03-02 06:30", "2026-03-03 06:30"),
        ("00:00", "2026-12-31 23:59", "2027-01-01 00:00"),
        (" 23:59 ", "2026-03-02 00:00", "2026-03-02 23:59"),
    ],
)
def test_until_is_the_next_time_that_it_comes(text: str, now: str, then: str) -> None:
    assert next_time(text, datetime.fromisoformat(now)) == datetime.fromisoformat(then)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "now", "hours"),
    [
        # The clocks of Berlin went from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
        ("06:30", "2026-03-28T22:00+01:00", 7.5),
        ("02:30", "2026-03-28T22:00+01:00", 4),
        ("02:00", "2026-03-28T22:00+01:00", 4),
        ("03:00", "2026-03-28T22:00+01:00", 4),
        ("02:30", "2026-03-29T03:00+02:00", 23.5),
        ("06:30", "2026-10-24T22:00+02:00", 9.5),
        ("02:30", "2026-10-24T22:00+02:00", 4.5),
        ("02:30", "2026-10-25T02:30+02:00", 1),
        ("02:30", "2026-10-25T02:45+02:00", 0.75),
        ("02:00", "2026-10-25T02:45+02:00", 0.25),
        ("02:45", "2026-10-25T02:30+01:00", 0.25),
        ("02:30", "2026-10-25T02:30+01:00", 24),
    ],
)
@pytest.mark.usefixtures("in_berlin")
def test_until_is_the_next_time_also_if_the_clocks_change(text: str, now: str, hours: float) -> None:
    begun = datetime.fromisoformat(now).timestamp()

    end = next_time(text, datetime.fromtimestamp(begun)).timestamp()

    assert (end - begun) / 3600 == hours


@pytest.mark.parametrize("text", ["24:00", "12:60", "12", "", "12:30:00", "noon", "-1:00", "١٢:٣٠"])
def test_until_is_a_time_of_day(text: str) -> None:
    with pytest.raises(UsageError, match=r"--until: .* is not a time: write HH:MM, such as 06:30"):
        next_time(text, datetime(2026, 3, 2))


def test_a_signal_finishes_what_is_in_flight_and_begins_no_other_rule(tmp_path: Path) -> None:
    sent, over = threading.Event(), threading.Event()

    def move(body: dict[str, Any]) -> Reply:
        sent.set()
        assert over.wait(PATIENCE)
        return moved(body)

    with fake(service(move), FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        with client.start("run", rules(client, 1, 2), "--json", "--jobs", 1) as running:
            assert sent.wait(PATIENCE)
            running.send(signal.SIGTERM)
            running.wait_until_it_says("1: finishing what is in flight")
            over.set()
            result = running.end()

    assert (result.status, ends(result.output)) == (1, {"1": "stopped", "2": "not begun"})
    assert json.loads(result.output)["rules"][0]["moved"] == 3
