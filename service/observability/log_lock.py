"""A lock between the processes that write to the same log: a line that is longer than what a pipe takes in one piece stays
whole.

No process waits for one that was killed or stopped: the kernel unlocks for the first, and others take over from the second.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable
from enum import IntEnum

POLL = 0.001
"""Seconds between two attempts to lock."""

STOPPED = 1.0
"""Seconds after which a process that writes nothing, though the log takes more, counts as stopped. The others take over."""

LAYOUT = struct.Struct("QQQ")
"""In shared memory: the turn, the number of pieces that were written, and the Ending."""


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
        os.ftruncate(self._file, LAYOUT.size)
        self._memory = mmap.mmap(self._file, LAYOUT.size)
        self._turn = 0

    def acquire(self, is_writable: Callable[[], bool]) -> None:
        """Lock. is_writable: whether the log takes a piece now."""
        deadline, seen = time.monotonic() + STOPPED, -1
        while True:
            # A turn that was taken over has a number of its own: the process that lost it still holds its lock.
            self._turn, pieces, _ = self._state
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._turn)
            except (BlockingIOError, PermissionError):  # either means that it is locked: lockf(3)
                now = time.monotonic()
                if pieces != seen or not is_writable():
                    deadline, seen = now + STOPPED, pieces
                elif now > deadline:
                    self._set(0, self._turn + 1)
                time.sleep(POLL)
            else:
                if self.is_held:
                    return
                self.release()

    @property
    def is_held(self) -> bool:
        """Whether nobody has taken over since acquire()."""
        return self._state[0] == self._turn

    def release(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._turn)

    @property
    def ending(self) -> Ending:
        return Ending(self._state[2])

    def note(self, ending: Ending) -> None:
        """Note that a piece was written, or is about to be, and how the log ends then."""
        self._set(1, self._state[1] + 1)
        self._set(2, ending)

    @property
    def _state(self) -> tuple[int, int, int]:
        turn, pieces, ending = LAYOUT.unpack_from(self._memory)
        return turn, pieces, ending

    def _set(self, position: int, value: int) -> None:
        struct.pack_into("Q", self._memory, 8 * position, value)
