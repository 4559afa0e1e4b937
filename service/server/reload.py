"""Reading anew what can be, on SIGHUP: beside the event loop, and never more than once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

logger = structlog.get_logger()


class Reloads:
    """Runs in a thread: thousands of keys take tenths of a second. However often it is asked for, one waits at most."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._is_running = False
        self._is_due = False

    def ask(self) -> None:
        """Have it read once more, from now on or after what runs. Call from the event loop's thread."""
        if self._is_running:
            self._is_due = True
            return
        try:
            running = asyncio.get_running_loop().run_in_executor(None, self._reload)
        except RuntimeError as error:  # there is no thread left, or the service stops
            logger.error("not reloaded", error=str(error))
            return
        self._is_running = True
        running.add_done_callback(self._go_on)

    def _go_on(self, _: asyncio.Future[None]) -> None:
        self._is_running = False
        if self._is_due:
            self._is_due = False
            self.ask()
