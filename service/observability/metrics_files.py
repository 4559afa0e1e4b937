"""The files in which several workers keep their figures: a full disk costs figures, and no worker."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from prometheus_client import mmap_dict

SIZE = 1 << 16
"""Bytes of a new file. It is doubled when it is full."""


class Failure:
    """Why figures of this process are not kept, for whoever may log it: here a lock is held that logging may need."""

    reason = ""
    is_logged = False


class ReservedFile(mmap_dict.MmapedDict):
    """prometheus_client's file, whose space is reserved before it is written to.

    A write to a mapped file for which the disk has no room ends the process (SIGBUS, mmap(2)). A figure for which there is no
    room is kept in memory, where nobody asks for it.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._unkept: dict[str, tuple[float, float]] = {}
        """By key, value and timestamp of what is not in the file."""
        self._f = self._m = None  # type: ignore[assignment]
        self._fname = filename
        self._capacity = self._used = 0
        self._positions: dict[str, int] = {}
        try:
            if not read_mode:
                _make(Path(filename))
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            Failure.reason = error.strerror or str(error)

    def read_value(self, key: str) -> tuple[float, float]:
        if not self._has_room(key):
            return self._unkept.setdefault(key, (0.0, 0.0))
        value: tuple[float, float] = super().read_value(key)  # type: ignore[no-untyped-call]
        return value

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if not self._has_room(key):
            self._unkept[key] = (value, timestamp)
            return
        super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_room(self, key: str) -> bool:
        """Whether a figure is in the file, for which place is made if there is none yet."""
        if key in self._positions:
            return True
        if key in self._unkept or self._m is None:
            return False
        try:
            self._reserve(self._used + len(key.encode()) + 32)  # its length, its padding, value and timestamp
            self._init_value(key)  # type: ignore[no-untyped-call]
        except OSError as error:
            Failure.reason = error.strerror or str(error)
            self._capacity = len(self._m)
            return False
        return True

    def _reserve(self, size: int) -> None:
        """Have the disk reserve what the file grows by, to hold size bytes. Raises OSError."""
        capacity = self._capacity
        while size > capacity:
            capacity *= 2
        if capacity > self._capacity:
            try:
                os.posix_fallocate(self._f.fileno(), 0, capacity)
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self._fname, self._capacity)  # to give back what was reserved
                raise


def _make(path: Path) -> None:
    """Make a file whose space is reserved, if there is none. Raises OSError."""
    if path.exists():
        return
    new = path.with_suffix(".new")  # nobody reads a file that is not complete
    try:
        with new.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
