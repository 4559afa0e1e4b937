"""How fast batches may follow each other: the dialler comes first.

Gentle: one batch at a time, and after each piece of work a rest that is as long as the work was. So at most half of the time
is spent on leads, however slow the server is. Full: no rests, and several batches at a time where both tables have row locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from service.archive.turns import Turns
from service.errors import DatabaseError
from service.observability import metrics

Setting = Literal["auto", "gentle", "full"]

LONGEST_REST = 1.0
"""Seconds. A batch that waited for a lock has not worked all that time."""


class Turn:
    """The turn of one batch."""

    def __init__(self, pace: Pace, deadline: float) -> None:
        """deadline: by the clock of the event loop. No rest is taken in the second half of the time until then."""
        self._pace = pace
        self._clock = asyncio.get_running_loop().time
        self._worked_since = self._clock()
        self._no_rest_from = (self._clock() + deadline) / 2
        self.gentle = pace.gentle

    def look(self, *, agents: bool, table_locks: bool) -> None:
        """Take note of what the batch has seen. agents: whether agents are logged in, or it cannot be known. table_locks:
        whether a write locks a whole table."""
        self.gentle = self._pace.look(agents=agents, table_locks=table_locks)

    async def rest(self) -> None:
        """Rest in the middle of a batch. No row may be locked."""
        if self._clock() < self._no_rest_from:
            await asyncio.sleep(self.rest_seconds())
        self._worked_since = self._clock()

    def rest_seconds(self) -> float:
        """Return how long a rest is due now."""
        return min(self._clock() - self._worked_since, LONGEST_REST) if self.gentle else 0.0


class Pace:
    """Gives batches their turns, one by one or side by side."""

    def __init__(self, setting: Setting, turns: Turns) -> None:
        """setting: PACE. turns: of all batches, into the archive and back."""
        self._setting = setting
        self._turns = turns
        self.gentle = setting != "full"
        """Whether the last batch was gentle."""

    @property
    def asks_for_agents(self) -> bool:
        return self._setting == "auto"

    def look(self, *, agents: bool, table_locks: bool) -> bool:
        """As Turn.look(). Return whether to be gentle."""
        self.gentle = self._setting == "gentle" or (self._setting == "auto" and agents)
        metrics.PACE_GENTLE.set(self.gentle)
        self._turns.one_at_a_time(self.gentle or table_locks)
        return self.gentle

    @asynccontextmanager
    async def turn(self, key: str, seconds: float) -> AsyncIterator[Turn]:
        """Wait for a turn, and have it until the end of the block and of the rest after it. The rest does not delay the end of
        the block.

        key: the name of the API key. seconds: the time for everything. Raises DatabaseError if nobody makes room in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.take(key)
        except TimeoutError:
            raise DatabaseError(f"no turn within {seconds:.0f} seconds: other batches are in progress") from None
        turn = Turn(self, deadline)
        try:
            yield turn
        finally:
            if rest := turn.rest_seconds():
                loop.call_later(rest, self._turns.release, key)
            else:
                self._turns.release(key)
