"""Who waits for the answer to a request. A request that waits for its turn ends with its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import CallerGoneError


class Caller:
    """The caller of one request."""

    def __init__(self, key: str = "") -> None:
        """key: the name of the API key. The keys take turns."""
        self.key = key
        self._is_gone = False
        self._wait: asyncio.Timeout | None = None

    def leave(self) -> None:
        """The caller is gone, and can be told nothing. End its wait, if there is one."""
        self._is_gone = True
        if self._wait:
            self._wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Raise CallerGoneError out of the block as soon as the caller is gone. Only for waits: the block is cancelled."""
        if self._is_gone:
            raise CallerGoneError
        try:
            async with asyncio.timeout(None) as self._wait:
                yield
        except TimeoutError:
            if self._is_gone:
                raise CallerGoneError from None
            raise
        finally:
            self._wait = None
