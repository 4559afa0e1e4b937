"""Reading a file anew on SIGHUP: in a thread, and never more than once at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import structlog

from service.daemon_threads import DaemonThreads

logger = structlog.get_logger()


class Reloads:
    """Of one file. However often it is asked for, one reload runs and one waits at most.

    The thread may wait for a file system that stands still: neither whoever asks nor the end of the process waits with it.
    Make it in the process that asks: a forked one cannot tell what runs in its parent.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._thread = DaemonThreads(1, "reload")
        self._last: Future[None] | None = None

    def ask(self) -> None:
        """Have the file read once more, from now on or after what runs. Return at once."""
        if self._last and not self._last.running() and not self._last.done():
            return  # it is still to begin
        try:
            self._last = self._thread.submit(self._run)
        except RuntimeError as error:  # the system has no thread left
            logger.error("not reloaded", error=str(error))

    def _run(self) -> None:
        try:
            self._reload()
        except Exception:
            logger.exception("not reloaded")
