"""Large bodies of requests: parsed one at a time, with a rest after each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LARGE = 32_768
"""Bytes. A smaller body takes about a millisecond to parse: it has no more than some thousand lead ids."""


class LargeBodies:
    """Nothing else goes on while a body is parsed: no statement is sent of a batch whose leads are locked, and the dialler
    waits for these leads. If many bodies were parsed without a pause, it would wait for all of them, between any two
    statements."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, body: bytes) -> AsyncIterator[None]:
        """Wait until a body may be parsed. After this block, no other large body is parsed for as long as it took."""
        if len(body) < LARGE:
            yield
            return
        clock = asyncio.get_running_loop().time
        async with self._turn:
            began = clock()
            try:
                yield
            finally:
                await asyncio.sleep(clock() - began)
