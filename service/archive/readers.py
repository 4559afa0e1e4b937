"""Who only looks at leads waits for no batch, and no batch waits for who looks: they have connections of their own.

Nor does the dialler wait. A statement locks its tables one after the other, and a transaction keeps what it has opened from
ALTER TABLE, behind which everybody waits. If one of them waited for a table that somebody else has locked, the dialler would
wait with it for the others. So no statement waits in the server. The service waits, and holds no lock meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.archive.caller import Caller
from service.archive.pace import Pace
from service.archive.turns import Turns
from service.database.pool import Database
from service.database.transaction import READ_ONLY, Transaction
from service.errors import DatabaseError
from service.observability import metrics

READERS = 2
"""Connections of each process for searches and comparisons. Batches whose statements take long may hold all others."""

T = TypeVar("T")


class Readers:
    """Runs the transactions of searches and comparisons. They take turns, fairly among the API keys."""

    def __init__(self, database: Database) -> None:
        """database: a pool of READERS connections that no batch uses, whose statements wait for no lock."""
        self.database = database
        turns = Turns(READERS, metrics.WAITING)
        turns.at_most(None)
        self._pace = Pace("full", turns)

    async def read(
        self,
        caller: Caller,
        work: Callable[[Transaction], Awaitable[T]],
        seconds: float,
        on_error: Callable[[DatabaseError], None],
    ) -> T:
        """Run `work` in a transaction that only reads, and retry it as Database.attempt() does.

        seconds: the time limit for everything. on_error: called with each error of the database. Raises what `work` raises,
        CallerGoneError if the caller goes away before the turn comes, and DatabaseError.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._pace.turn(caller, seconds) as turn:
            return await self.database.attempt(
                work,
                deadline - asyncio.get_running_loop().time(),
                on_error,
                READ_ONLY,
                after_lock_wait=turn.pass_on,
            )
