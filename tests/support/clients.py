"""Clients of a service: threads that archive and dearchive batches of random leads, and count the answers."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import httpx2

from support.api import Api
from support.background import BackgroundThreads
from support.process import ServiceProcess

Batch = tuple[str, list[int]]
"""The method of Api to call, and its lead ids."""


class Clients(BackgroundThreads):
    """Use as a context manager: the clients send requests from entry to exit. The batches of several clients overlap."""

    def __init__(
        self,
        service: ServiceProcess,
        draw: Callable[[random.Random], Batch],
        threads: int,
        timeout: float,
        seed: object = 0,
        keep_alive: bool = True,
    ) -> None:
        """Prepare threads that send the requests that `draw` returns.

        timeout: seconds after which a request without an answer fails.
        keep_alive: whether to reuse connections. The service may close an idle one at the moment when it is used again.
        """
        super().__init__(partial(self._run, random.Random(f"{seed} {number}")) for number in range(threads))
        self.answers: Counter[str] = Counter()
        """How many answers had each status, and how many requests got none."""
        self.deleted = 0
        """Leads that batches deleted from vicidial_list, by their answers."""
        self.brought_back = 0
        """Leads that batches inserted into vicidial_list, by their answers."""
        self.slowest = 0.0
        """Seconds that the slowest answer took."""
        self.problems: list[str] = []
        """Failures: requests without an answer, and errors in the threads."""
        self.may_lose_answers = False
        """Whether requests without an answer are expected, since the test kills the service."""
        self._service = service
        self._draw = draw
        self._timeout = timeout
        self._keep_alive = keep_alive

    def connect(self) -> httpx2.Client:
        limits = httpx2.Limits() if self._keep_alive else httpx2.Limits(max_keepalive_connections=0)
        return httpx2.Client(base_url=self._service.base_url, timeout=self._timeout, limits=limits)

    def _run(self, rng: random.Random) -> None:
        try:
            with self.connect() as client:
                while not self._stop.is_set():
                    self._send(Api(client), *self._draw(rng))
        except Exception as error:  # of any type: the test reports it and fails
            self.problems.append(repr(error))

    def _send(self, api: Api, method: str, lead_ids: list[int]) -> None:
        started = time.monotonic()
        try:
            response = getattr(api, method)(lead_ids)
        except httpx2.TransportError as error:
            self._count("none")
            if not self.may_lose_answers:
                self.problems.append(f"a request got no answer: {error!r}")
            time.sleep(0.05)
            return
        self._count(str(response.status_code), time.monotonic() - started)
        if response.status_code == 200:
            with self._lock:
                if method.startswith("archive"):
                    self.deleted += response.json()["delete_count"]
                else:
                    self.brought_back += response.json()["insert_count"]
        elif response.status_code == 503:
            assert int(response.headers["Retry-After"]) > 0
            time.sleep(0.05)

    def _count(self, answer: str, seconds: float = 0.0) -> None:
        with self._lock:
            self.answers[answer] += 1
            self.slowest = max(self.slowest, seconds)
