"""The files in which several workers keep metric values. A full disk costs values, and no worker."""

from __future__ import annotations

import contextlib
import mmap
import os
import weakref
from pathlib import Path

from prometheus_client import mmap_dict

SIZE = 1 << 16
"""Bytes of a new file. When it is full, its size is doubled."""


class Failure:
    """Why values of this process are not kept. The caller logs it: here a lock is held that logging may need."""

    reason = ""
    is_logged = False


class ReservedFile(mmap_dict.MmapedDict):
    """prometheus_client's file, with its disk space reserved before it is written.

    A write to a mapped file without disk space ends the process (SIGBUS, mmap(2)). A value without space is kept in memory,
    where nobody reads it.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._unkept: dict[str, tuple[float, float]] = {}
        """By key, the value and timestamp of what is not in the file."""
        self._f = self._m = None  # type: ignore[assignment]
        self._fname = filename
        self._capacity = self._used = 0
        self._positions: dict[str, int] = {}
        self._owner = os.getpid()
        try:
            if not read_mode:
                _make(Path(filename))
                _open_files.add(self)
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

    def restore(self) -> bool:
        """Write the file again if it was deleted, and return whether it was. Raises OSError.

        The process still has what was in it. The file of another process is left to that process.
        """
        if self._m is None or self._owner != os.getpid() or self._is_there():
            return False
        path = Path(self._fname)
        _write(path, self._capacity, bytes(self._m))
        deleted, self._f = self._f, path.open("a+b")
        self._m = mmap.mmap(self._f.fileno(), self._capacity)
        deleted.close()
        return True

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._fname), os.fstat(self._f.fileno()))
        except FileNotFoundError:
            return False

    def _has_room(self, key: str) -> bool:
        """Return whether a value is in the file. Make space for it if it is new."""
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
        """Reserve disk space so that the file holds `size` bytes. Raises OSError."""
        capacity = self._capacity
        while size > capacity:
            capacity *= 2
        if capacity > self._capacity:
            try:
                os.posix_fallocate(self._f.fileno(), 0, capacity)
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self._fname, self._capacity)  # give back what was reserved
                raise


_open_files: weakref.WeakSet[ReservedFile] = weakref.WeakSet()


def restore_files() -> bool:
    """Write the files of this process again that were deleted, and return whether there were any. Raises OSError."""
    restored = [file for file in list(_open_files) if file.restore()]
    return bool(restored)


def _make(path: Path) -> None:
    """Make a file with reserved disk space if there is none. Raises OSError."""
    if not path.exists():
        _write(path, SIZE, b"")


def _write(path: Path, size: int, content: bytes) -> None:
    """Write a file of `size` bytes that begins with `content`, and reserve its disk space. Raises OSError."""
    new = path.with_suffix(".new")  # nobody reads an incomplete file
    try:
        with new.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            file.write(content)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
