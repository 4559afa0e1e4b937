"""The bulk client knows the pace of the service: a gentle one gets fewer requests at a time, and the progress says why."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.fake_service import FIND_OPENAPI, LIMIT, Reply, fake, finder, moved

from lead_archive.progress import GENTLY
from lead_archive.sending import GENTLE_JOBS

LEADS = 20 * LIMIT
JOBS = 4


class Paced:
    """A service that says its pace, and counts the requests that it has at the same time."""

    def __init__(self, pace: Callable[[int], str | None]) -> None:
        """pace: that of the answer to each request, by its number."""
        self.at_a_time: list[int] = []
        """With each batch, how many are in progress."""
        self._pace = pace
        self._in_progress = 0
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        if path.endswith("/find"):
            return finder(range(1, LEADS + 1), body)
        with self._lock:
            number = len(self.at_a_time)
            self._in_progress += 1
            self.at_a_time.append(self._in_progress)
        time.sleep(0.2)
        with self._lock:
            self._in_progress -= 1
        pace = self._pace(number)
        reply = moved(body)
        return Reply(reply.body, headers={"X-Lead-Archive-Pace": pace} if pace else {})


@pytest.mark.parametrize("chosen_by", ["file", "conditions"])
@pytest.mark.parametrize(
    ("pace", "is_gentle_at_first", "is_gentle_at_last"),
    [
        (lambda _: "gentle", True, True),
        (lambda _: "full", False, False),
        (lambda _: None, False, False),
        (lambda _: "something else", False, False),
        (lambda number: "gentle" if number < 10 else "full", True, False),
    ],
    ids=["gentle", "full", "not told", "unknown", "gentle, then full"],
)
def test_a_gentle_service_gets_two_requests_at_a_time(
    tmp_path: Path, chosen_by: str, pace: Callable[[int], str | None], is_gentle_at_first: bool, is_gentle_at_last: bool
) -> None:
    service = Paced(pace)
    with fake(service.answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        leads = [client.write("leads", f"1-{LEADS}")] if chosen_by == "file" else ["--list", "1"]
        result = client.invoke("archive", *leads, "--json", "--jobs", JOBS)

    assert result.counts()["moved"] == LEADS
    assert service.at_a_time[0] == 1
    # The first requests are sent before the pace is known.
    assert (max(service.at_a_time[JOBS + 2 : 10]) <= GENTLE_JOBS) == is_gentle_at_first
    assert (max(service.at_a_time[12:]) <= GENTLE_JOBS) == is_gentle_at_last


@pytest.mark.parametrize("pace", ["gentle", "full"])
def test_the_progress_says_that_the_service_is_gentle(tmp_path: Path, pace: str) -> None:
    service = Paced(lambda _: pace)
    with fake(service.answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", f"1-{LEADS}"))

    assert (GENTLY in result.errors.splitlines()[-1]) == (pace == "gentle"), result.errors


def test_ctrl_c_ends_the_requests_that_a_gentle_service_keeps_back(tmp_path: Path) -> None:
    service = Paced(lambda _: "gentle")
    with fake(service.answer, FIND_OPENAPI) as url:
        client = Client(tmp_path, url)
        with client.start("archive", client.write("leads", f"1-{1000 * LIMIT}"), "--json") as running:
            while len(service.at_a_time) < JOBS + 2:
                time.sleep(0.01)
            running.send(signal.SIGINT)
            result = running.end()

    assert result.status == 1
    assert result.counts()["not_sent"] > 0
