"""Read the files that the settings name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes: about 30,000 keys."""


def read_file(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError, and ValueError if it is not a regular file or is larger than
    LARGEST_FILE."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)  # open() of a FIFO would wait for a writer

    with open(path, "rb", opener=opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a regular file")
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{path} is larger than {LARGEST_FILE} bytes")
    return content


def must_have_name(path: Path) -> None:
    """Raise OSError if a path leads to a file that was removed or replaced, as a bind mount of a single file does for ever."""
    if os.stat(os.fspath(path)).st_nlink == 0:
        raise OSError(errno.ESTALE, "it was removed or replaced on the host: mount its folder, not the file")


def read_existing(path: Path) -> bytes:
    """Return the content of a file as read_file does. Raises only ValueError."""
    try:
        return read_file(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
