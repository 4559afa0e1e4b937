"""The pauses of statements and batches that do not wait for a lock."""

from __future__ import annotations

import asyncio
import random

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two attempts of a statement that does not wait for a lock. The first, and the last."""


class Pauses:
    """The pauses between the attempts of what fails at once if a table or a row is locked. They grow."""

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
        """longest: seconds of the last ones."""
        self._longest = longest
        self._next = SHORTEST_PAUSE
        self._began = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        """Since the first attempt failed."""
        return asyncio.get_running_loop().time() - self._began

    async def pause(self) -> None:
        await asyncio.sleep(self._next * random.uniform(0.5, 1))  # noqa: S311
        self._next = min(2 * self._next, self._longest)
