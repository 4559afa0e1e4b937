"""Ctrl-C and SIGTERM: the first ends a run in order, the second at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType


@dataclass
class Interrupts:
    """say: print a message for the user; again: what the user does about batches without an answer."""

    say: Callable[[str], None]
    again: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the run must end in order: nothing new is sent."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """The tasks that may have something in flight."""

    def interrupt(self) -> None:
        if self.stop.is_set():
            self.say(f"stopping at once; batches without an answer may have been processed: {self.again}")
            for task in self.tasks:
                task.cancel()
        else:
            self.end("finishing what is in flight; interrupt again to stop at once" if self.tasks else "stopping")

    def end(self, words: str) -> None:
        """End the run in order. words: why."""
        if not self.stop.is_set():
            self.say(words)
            self.stop.set()


@contextlib.contextmanager
def stopping(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call interrupt at every SIGINT and SIGTERM while the block runs."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        loop.call_soon_threadsafe(interrupt)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
