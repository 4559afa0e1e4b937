"""Output files. Never overwrite the input or a file that this program did not write, by any path."""

from __future__ import annotations

import contextlib
import csv
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from lead_archive.errors import UsageError

HEADER = ["lead_id", "reason"]
JOURNAL_SUFFIXES = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a journal."""

Mark = tuple[int | str, ...]


def shown(path: Path | str) -> str:
    """Return a path as printable text: a file name may be any bytes."""
    return click.format_filename(path)


class OutputFiles:
    """The paths of the journal and of the file of leads left behind. They must not be the input, or each other."""

    def __init__(self, file: Path | None, journal: Path | None, left: Path, key_file: Path | None) -> None:
        """file: the input, None if it is standard input. journal: None for a run without one."""
        self._journal: dict[str, Path] = {"--journal": journal} if journal else {}
        self.left = left
        self._inputs: dict[str, Path | int] = {"FILE": file or 0}
        if key_file:
            self._inputs["--key-file"] = key_file

    def check(self) -> None:
        """Raises UsageError if one file would overwrite another, or if the leads left behind could not be written.

        Files are compared by their inodes, not by their names. A file that does not exist yet cannot be compared, so check
        again when the journal exists.
        """
        written: dict[str, Path | int] = {**self._journal, "--left": self.left}
        beside: dict[str, Path | int] = {
            f"SQLite's {suffix} file of --journal": Path(os.path.realpath(journal) + suffix)
            for journal in self._journal.values()
            for suffix in JOURNAL_SUFFIXES
        }
        printed: dict[str, Path | int] = {"standard output": 1, "standard error": 2}
        _refuse_same({**self._inputs, **written}, written)
        _refuse_same({**self._inputs, "--left": self.left}, beside)
        _refuse_same({**self._inputs, **written}, printed)
        try:
            self._refuse_foreign()
            self._new().unlink()
        except OSError as error:
            raise UsageError(f"cannot write {shown(self.left)}: {error.strerror}; name another file with --left") from None

    def write_left(self, leads: Iterator[tuple[int, str]]) -> bool:
        """Write the leads with their reasons to a file that can be used as input; return whether there are any.

        The file is written completely or not at all. Without leads, the file of an earlier run is deleted. Raises UsageError.
        """
        first = next(leads, None)
        try:
            self._refuse_foreign()
            if first is None:
                with contextlib.suppress(FileNotFoundError):
                    if _is_ours(self.left):
                        self.left.unlink()
                return False
            new = self._new()
            try:
                with new.open("w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(HEADER)
                    writer.writerows(chain([first], leads))
                    file.flush()
                    os.fsync(file.fileno())
                self._publish(new)
            finally:
                new.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot write {shown(self.left)}: {error.strerror or error}; name another file with --left, and --resume "
                "writes it"
            ) from None
        return True

    def _publish(self, new: Path) -> None:
        """Move a file to its final name. Never overwrites a foreign file, even one that was created a moment ago."""
        self._refuse_foreign()
        target = _target(self.left)
        if not target.exists():
            try:
                os.link(new, target)  # fails if there is one by now
            except FileExistsError:
                self._refuse_foreign()
            except OSError:  # a file system without links
                pass
            else:
                return
        new.replace(target)

    def _refuse_foreign(self) -> None:
        """Raise UsageError if the file of leads left behind was not written by this program, or if it is the input."""
        _refuse_same({**self._inputs, **self._journal}, {"--left": self.left})
        with contextlib.suppress(FileNotFoundError):
            status = self.left.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"--left {shown(self.left)} is not a regular file: name another")
            if status.st_size and not _is_ours(self.left):
                raise UsageError(
                    f"--left {shown(self.left)} is there and was not written by lead-archive: name another, or take it away"
                )

    def _new(self) -> Path:
        """Create an empty temporary file in the folder of the leads left behind."""
        path = _target(self.left).with_name(f".lead-archive-{secrets.token_hex(8)}")
        path.open("x").close()
        return path


def _target(path: Path) -> Path:
    """Return the target of a path: links are kept, and their target is written."""
    return Path(os.path.realpath(path))


def _is_ours(path: Path) -> bool:
    """Return whether write_left wrote this file."""
    with path.open("rb") as file:
        return file.readline(100).strip() == ",".join(HEADER).encode()


def _refuse_same(ones: dict[str, Path | int], others: dict[str, Path | int]) -> None:
    """Raise UsageError if a file of the first group is also in the second one under another name."""
    marks = {name: _marks(place) for name, place in {**ones, **others}.items()}
    for one, place in ones.items():
        for other, other_place in others.items():
            if one != other and marks[one] & marks[other]:
                path = place if isinstance(place, Path) else other_place
                name = shown(path) if isinstance(path, Path) else "a file"
                raise UsageError(f"{one} and {other} are the same file, {name}: name another")


def _marks(place: Path | int) -> set[Mark]:
    """The identity of a file: its inode, and, since it may not exist yet, its folder's inode and its name."""
    marks: set[Mark] = set()
    with contextlib.suppress(OSError):
        status = os.stat(place)
        if stat.S_ISREG(status.st_mode) or isinstance(place, Path):
            marks.add((status.st_dev, status.st_ino))
    if isinstance(place, Path):
        with contextlib.suppress(OSError):
            target = _target(place)
            folder = target.parent.stat()
            marks.add((folder.st_dev, folder.st_ino, target.name))
    return marks


def print_anything() -> None:
    """Make standard output escape the characters that its encoding lacks."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
