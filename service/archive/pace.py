"""How fast batches may follow each other: the dialler comes first.

Gentle: one batch at a time, and after each piece of work a rest that is as long as the work was. So at most half of the time
is spent on leads, unless a piece of work takes longer than LONGEST_REST. Full: no rests, and several batches at a time where
both tables have row locks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from service.archive.caller import Caller
from service.archive.turns import Turns
from service.database.pauses import Pauses
from service.errors import DatabaseError
from service.observability import metrics
from service.observability.process_end import end_for_lack_of_memory

Setting = Literal["auto", "gentle", "full"]

LONGEST_REST = 1.0
"""Seconds. A batch that waited for a lock has not worked all that time."""


LONGEST_PAUSE = 0.5
"""Seconds before a batch in whose way a lock was wants its next turn."""

ON_TABLE_LOCKS = 2
"""Turns at a time where a write locks a whole table: one batch writes, and the next one reads what it needs to know."""


class Turn:
    """The turn of one batch."""

    def __init__(self, pace: Pace, turns: Turns, caller: Caller, seconds: float) -> None:
        """seconds: the time for everything. No rest is taken in the second half of the time that is left when the turn
        begins."""
        self._pace = pace
        self._turns = turns
        self._caller = caller
        self._key = caller.key
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._deadline = self._clock() + seconds
        self._worked_since = self._no_rest_from = self._clock()
        self._has_begun = False
        self._pauses = Pauses(LONGEST_PAUSE)
        self.gentle = pace.gentle

    async def begin(self) -> None:
        """Wait for the turn. Raises CallerGoneError if the caller goes away meanwhile, and DatabaseError if nobody makes room
        in time."""
        try:
            async with self._caller.present(), asyncio.timeout_at(self._deadline):
                await self._turns.take(self._key)
        except TimeoutError:
            raise self._no_turn() from None
        if self._clock() >= self._deadline:  # the turn was free, or came in the same moment as the end of the time
            self._give_back()
            raise self._no_turn()
        self._has_begun = True
        self._worked_since = self._clock()
        self._no_rest_from = (self._clock() + self._deadline) / 2
        self.gentle = self._pace.gentle

    def _no_turn(self) -> DatabaseError:
        return DatabaseError(f"no turn within {round(self.seconds, 2):g} seconds: other requests are in progress")

    def end(self) -> None:
        """End the turn, after the rest that is due. Return at once."""
        if not self._has_begun:
            return
        if rest := self.rest_seconds():
            self._loop.call_later(rest, self._give_back)
        else:
            self._give_back()
        self._has_begun = False

    def _give_back(self) -> None:
        try:
            self._turns.release(self._key)
        except MemoryError:
            end_for_lack_of_memory()

    async def pass_on(self) -> None:
        """Let those that wait go first, and wait for the next turn after a pause, which is longer each time. Nothing may have
        been changed yet. Raises as begin()."""
        self.end()
        async with self._caller.present():
            await self._pauses.pause()
        await self.begin()

    def look(self, *, agents: bool, table_locks: bool) -> None:
        """Take note of what the batch has seen. agents: whether agents are logged in, or it cannot be known. table_locks:
        whether a write locks a whole table."""
        self.gentle = self._pace.look(agents=agents, table_locks=table_locks)

    def begin_work(self) -> None:
        """What came before, such as a wait for a table, earns no rest."""
        self._worked_since = self._clock()

    async def rest(self, until: float = math.inf) -> None:
        """Rest in the middle of a batch. until: when the rest is over at the latest, by the clock of the event loop."""
        if self._clock() < self._no_rest_from:
            await asyncio.sleep(max(0.0, min(self.rest_seconds(), until - self._clock())))
        self._worked_since = self._clock()

    @asynccontextmanager
    async def writing(self, *, has_changed: bool) -> AsyncIterator[None]:
        """Wait until no other batch is in this block. Where a write locks a whole table, batches wait for each other here, and
        not in front of the dialler. has_changed: whether this batch may have changed anything; otherwise it raises
        CallerGoneError if the caller goes away meanwhile."""
        async with AsyncExitStack() as waiting:
            if not has_changed:
                await waiting.enter_async_context(self._caller.present())
            await self._pace.writing.acquire()
        try:
            yield
        finally:
            self._pace.writing.release()

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
        self.writing = asyncio.Lock()

    @property
    def asks_for_agents(self) -> bool:
        return self._setting == "auto"

    def look(self, *, agents: bool, table_locks: bool) -> bool:
        """As Turn.look(). Return whether to be gentle."""
        self.gentle = self._setting == "gentle" or (self._setting == "auto" and agents)
        metrics.PACE_GENTLE.set(self.gentle)
        self._turns.at_most(1 if self.gentle else ON_TABLE_LOCKS if table_locks else None)
        return self.gentle

    @asynccontextmanager
    async def turn(self, caller: Caller, seconds: float) -> AsyncIterator[Turn]:
        """Wait for a turn, and have it until the end of the block and of the rest after it. The rest does not delay the end of
        the block.

        seconds: the time for everything. Raises CallerGoneError and DatabaseError as Turn.begin().
        """
        turn = Turn(self, self._turns, caller, seconds)
        await turn.begin()
        try:
            yield turn
        finally:
            try:
                turn.end()
            except MemoryError:
                end_for_lack_of_memory()  # nobody would ever get this turn again
