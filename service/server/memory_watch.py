"""The end of a process that has no memory left to serve anybody. Only its end makes systemd or the first process start it
again."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from service.observability.process_end import end_for_lack_of_memory

MEMORY_TIMEOUT = 10
"""Seconds in which memory was lacking again and again, and no request was answered, before the process ends."""

MOST_FAILURES = 5
"""How often memory may be lacking in a row, without an answered request in between."""

STEP = re.compile("task_?(step|wakeup)", re.IGNORECASE)
"""In the message of the event loop, if it could not let a task go on. The names differ between versions of Python."""


class MemoryWatch:
    """Counts how often the event loop lacked memory since the last answer."""

    def __init__(self, answered: Callable[[], int]) -> None:
        """answered: returns the number of requests that were answered."""
        self._answered = answered
        self._before = -1
        self._since = 0.0
        self._failures = 0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """End this process if a loop can serve nobody for lack of memory, or if nothing handles such a failure.

        What was interrupted then is in an unknown state: for example, uvloop never closes a connection whose abort failed.
        """
        loop.set_exception_handler(self._on_exception)
        on_unraisable, on_thread_exception = sys.unraisablehook, threading.excepthook

        def watch_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
            if isinstance(unraisable.exc_value, MemoryError):
                end_for_lack_of_memory()
            on_unraisable(unraisable)

        def watch_thread(failed: threading.ExceptHookArgs) -> None:
            if isinstance(failed.exc_value, MemoryError):
                end_for_lack_of_memory()
            on_thread_exception(failed)

        sys.unraisablehook, threading.excepthook = watch_unraisable, watch_thread

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        try:
            if isinstance(context.get("exception"), MemoryError):
                if STEP.search(str(context.get("message"))):
                    end_for_lack_of_memory()  # the task would never go on, nor give back what it has
                self.note_failure()
            loop.default_exception_handler(context)
        except MemoryError:
            end_for_lack_of_memory()

    def note_failure(self) -> None:
        """Count a failure. End the process if nobody has been served for a while."""
        answered = self._answered()
        if answered != self._before:
            self._before, self._since, self._failures = answered, time.monotonic(), 0
        self._failures += 1
        if self._failures > MOST_FAILURES and time.monotonic() - self._since > MEMORY_TIMEOUT:
            end_for_lack_of_memory()
