"""Append a line to a file to which other processes append, too."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.files import must_have_name

LOCK_TIMEOUT = 1.0
"""Seconds that a line waits for whoever else writes: less than it may take, so that the error names it."""

LEAST_SPACE = 1
"""MiB that a disk must have left: the lines of the largest batch, of 10,000 leads, take half of it."""


@dataclass(eq=False)
class Line:
    """A line that a thread writes."""

    data: bytes
    may_be_written: bool = False
    """Whether some attempt has left it in a file: that file may have lost its name since, or its disk may have failed."""
    is_given_up: bool = False
    """Whether nobody waits for it any more. It must not be written again: what it says has not come about, and a later line
    says so."""


def folder_of(path: Path) -> Path:
    """Return the folder that has, or will have, the file's entry: another one if the file is a link."""
    return Path(os.path.realpath(path)).parent


def sync_folder(path: Path) -> None:
    """Have a file's entry in its folder on disk. Raises OSError, also if the folder may not be read."""
    folder = os.open(folder_of(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def look(path: Path) -> None:
    """Return if lines can be appended to the file, or a file could be made there. Raises OSError.

    Does what AuditFile does for a line, except that it makes no file and writes nothing.
    """
    try:
        with opened(path) as descriptor, contextlib.suppress(BlockingIOError):
            must_have_name(path)
            sync_folder(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not every network file system can
    except FileNotFoundError:
        sync_folder(path)
        if not os.access(folder_of(path), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def look_for_space(path: Path) -> None:
    """Return if the file's disk has space left. Raises OSError. Quotas are not known."""
    disk = os.statvfs(path if path.exists() else folder_of(path))
    blocks = disk.f_bavail if os.geteuid() else disk.f_bfree  # root may use the reserve
    if disk.f_blocks and blocks * disk.f_frsize < LEAST_SPACE * 1024 * 1024:  # some file systems tell no numbers
        raise OSError(errno.ENOSPC, f"less than {LEAST_SPACE} MiB is left on its disk")


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[int]:
    """Yield a file, open for appending. Raises OSError."""
    # O_NONBLOCK: nobody waits for the other end of a FIFO.
    flags |= os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file against other writers. Raises OSError, after LOCK_TIMEOUT seconds at the latest."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(
                    errno.EWOULDBLOCK,
                    "its lock (flock) is held, by another program or by a process of this service that waits for the disk",
                ) from None
            time.sleep(0.001)
        else:
            return


def append(descriptor: int, line: Line) -> None:
    """Append a line to a locked file, all of it or nothing. Raises OSError."""
    size = os.fstat(descriptor).st_size
    # Without a line end there, whoever wrote last was killed in the middle of a line, or the machine was.
    is_torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
    rest = b"\n" + line.data if is_torn else line.data
    before, line.may_be_written = line.may_be_written, True
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        # Where even this is refused (chattr +a), the next line begins anew, and all of this one but its line end may stay.
        # Never make the file longer: somebody may have cut it off.
        if os.fstat(descriptor).st_size > size:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
        line.may_be_written = before or os.fstat(descriptor).st_size > size
        raise
