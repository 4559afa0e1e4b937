"""Read a file again on SIGHUP: in a thread, and never twice at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import structlog

from service.daemon_threads import DaemonThreads

logger = structlog.get_logger()


class Reloads:
    """Reloads one file. At most one reload runs and one waits, however often it is requested.

    The thread may wait for a file system that hangs. Neither the caller nor the end of the process waits for it. Make this
    object in the process that uses it: a forked process cannot know what runs in its parent.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._thread = DaemonThreads(1, "reload")
        self._last: Future[None] | None = None

    def ask(self) -> None:
        """Read the file once more, now or after the reload that is running. Return immediately."""
        if self._last and not self._last.running() and not self._last.done():
            return  # a reload that has not started yet will do
        try:
            self._last = self._thread.submit(self._run)
        except RuntimeError as error:  # the system has no thread left
            logger.error("not reloaded", error=str(error))

    def _run(self) -> None:
        try:
            self._reload()
        except Exception:
            logger.exception("not reloaded")
