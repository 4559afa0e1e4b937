"""A lock between the processes that write to the same log: a line that is longer than what a pipe takes in one piece stays
whole.

The kernel unlocks for a process that is killed, and the parent process kills a worker that is stopped (supervisor.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from enum import IntEnum


class Ending(IntEnum):
    """How the log ends now."""

    WHOLE = 0
    """With a line end, as far as this service knows."""
    BEGUN = 1
    """With the first pieces of a line. If nobody is writing it any more, it was lost, and nobody has counted it."""
    TORN = 2
    """With the first pieces of a line that was counted as lost."""


class LogLock:
    """Shared by this process and those that it forks. For one thread of each process."""

    def __init__(self) -> None:
        self._file = os.memfd_create("log-lock")
        os.ftruncate(self._file, 1)
        self._ending = mmap.mmap(self._file, 1)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    @property
    def ending(self) -> Ending:
        return Ending(self._ending[0])

    @ending.setter
    def ending(self, ending: Ending) -> None:
        self._ending[0] = ending
