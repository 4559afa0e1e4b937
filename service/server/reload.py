"""Read a file again on SIGHUP: in a thread, and never twice at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import structlog

from service.daemon_threads import DaemonThreads

logger = structlog.get_logger()


class Reload(Protocol):
    """Reloads files."""

    def __call__(self, then: Callable[[], None] = ...) -> None:
        """Return immediately. then: called in a thread, after the reload of each file."""


class Reloads:
    """Reloads one file. At most one reload runs and one waits, however often it is requested.

    The thread may wait for a file system that hangs. Neither the caller nor the end of the process waits for it. Make this
    object in the process that uses it: a forked process cannot know what runs in its parent.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._thread = DaemonThreads(1, "reload")
        self._last: Future[None] | None = None

    def ask(self, then: Callable[[], None] = lambda: None) -> None:
        """Read the file once more, now or after the reload that is running. Return immediately.

        then: called in the thread after the reload, successful or not. If a reload waits already, only that one's is called.
        """
        if self._last and not self._last.running() and not self._last.done():
            return  # a reload that has not started yet will do
        try:
            self._last = self._thread.submit(lambda: self._run(then))
        except RuntimeError as error:  # the system has no thread left
            logger.error("not reloaded", error=str(error))

    def _run(self, then: Callable[[], None]) -> None:
        try:
            self._reload()
        except Exception:
            logger.exception("not reloaded")
        finally:
            then()
