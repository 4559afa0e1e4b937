"""Large bodies of requests: parsed one at a time, with a rest after each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.api.error_responses import RETRY_AFTER
from service.archive.caller import Caller
from service.archive.pace import Pace
from service.archive.turns import Turns
from service.errors import DatabaseError, RefusalError
from service.observability import metrics

LARGE = 32_768
"""Bytes. A smaller body takes about a millisecond to parse: it has no more than some thousand lead ids."""


class LargeBodies:
    """Nothing else goes on while a body is parsed: no statement is sent of a batch whose leads are locked, and the dialler
    waits for these leads. If many bodies were parsed without a pause, it would wait for all of them, between any two
    statements. So they take turns, fairly among the API keys, with a rest after each that is as long as it took."""

    def __init__(self) -> None:
        self._pace = Pace("gentle", Turns(1, metrics.WAITING_BODIES))

    @asynccontextmanager
    async def turn(self, body: bytes, caller: Caller, seconds: float) -> AsyncIterator[None]:
        """Wait until a body may be parsed, and have it parsed in this block. seconds: to wait. Raises RefusalError (503) if
        they are over, and CallerGoneError if the caller goes away before."""
        if len(body) < LARGE:
            yield
            return
        try:
            async with self._pace.turn(caller, seconds):
                yield
        except DatabaseError:  # no turn in time
            message = "too many large request bodies are in progress; nothing was changed, repeat the request later"
            raise RefusalError(503, message, {"Retry-After": str(RETRY_AFTER)}) from None
