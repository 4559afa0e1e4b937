"""Whose turn it is: requests wait inside the service, not in front of the tables, and fairly among the API keys."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque

from prometheus_client import Gauge

from service.observability import metrics
from service.observability.process_end import end_for_lack_of_memory


class Turns:
    """At most a number of requests have their turn at a time. The next turn is that of the key with the fewest; among equals,
    of the key that had none for the longest time. The requests of one key come in their order."""

    def __init__(self, most: int, waiting: Gauge = metrics.WAITING_TURN) -> None:
        """most: the number of turns at a time where nothing forbids it. Until at_most() is called, there is one at a time.
        waiting: counts those who wait."""
        self._most = most
        self._limit = 1
        self._gauge = waiting
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By key, those who wait."""
        self._numbers = itertools.count(1)
        self._latest: Counter[str] = Counter()
        """By key, the number of its latest turn."""

    def at_most(self, number: int | None) -> None:
        """Set how many requests may have their turn at a time; None: nothing forbids more. Requests that have theirs already
        keep it."""
        self._limit = self._most if number is None else min(number, self._most)
        self._admit()

    async def take(self, key: str) -> None:
        """Wait for a turn. Each call that returns must be followed by a call of release(). key: the name of the API key."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.setdefault(key, deque()).append(turn)
            self._admit()
            with self._gauge.track_inprogress():
                await turn
        except BaseException:  # it is cancelled, or memory is lacking
            if turn.done() and not turn.cancelled():  # it was given a turn at the same moment
                self.release(key)
            else:
                turn.cancel()
                self._forget(key, turn)
            raise

    def release(self, key: str) -> None:
        """End a turn."""
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._admit()

    def _admit(self) -> None:
        try:
            self._admit_next()
        except MemoryError:
            end_for_lack_of_memory()  # nobody knows who has a turn now

    def _admit_next(self) -> None:
        while self._waiting and self._running.total() < self._limit:
            key = min(self._waiting, key=lambda waiting: (self._running[waiting], self._latest[waiting]))
            turn = self._waiting[key].popleft()
            if not self._waiting[key]:
                del self._waiting[key]
            if not turn.done():  # else it was cancelled a moment ago
                self._running[key] += 1
                self._latest[key] = next(self._numbers)
                turn.set_result(None)

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(key, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(key, None)
