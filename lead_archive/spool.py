"""Lead ids in ascending order, each once, in constant memory: sorted in pieces on disk and merged from there."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import sys
from array import array
from collections.abc import Iterator
from itertools import pairwise
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from lead_archive.errors import UsageError

RUN = 65536
"""Ranges that are sorted at a time."""
BLOCK = 512
"""Ranges that are read at a time, from each of the pieces that are merged."""
WIDTH = 8
"""Bytes of a range: its first id in the upper half of an integer, its last in the lower."""


class Range(NamedTuple):
    first: int
    last: int


class Spool:
    """A set of lead ids in temporary files, which are gone at the end of the block, or of the process.

    add() takes ranges in any order; after merge(), ranges() gives them in ascending order, with nothing twice.
    """

    def __init__(self) -> None:
        self.given = 0
        """How many ids were added."""
        self.count = 0
        """How many different ones there are, known after merge()."""
        self.digest = ""
        """A digest that depends only on the set of ids, not on its notation; known after merge()."""
        with told():
            self._file: BinaryIO = TemporaryFile()  # noqa: SIM115  # it is open as long as the spool
        self._runs: list[tuple[int, int]] = []  # offset and number of ranges
        self._pending = array("Q")
        self._current: Range | None = None

    def add(self, first: int, last: int) -> None:
        """Add the ids from first to last, both of them included. Raises UsageError."""
        self.given += last - first + 1
        if self._current and first == self._current.last + 1:  # a sorted file without gaps is one range
            self._current = Range(self._current.first, last)
            return
        self._push()
        self._current = Range(first, last)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # data that could not be written is useless
            self._file.close()

    def merge(self) -> None:
        """Sort what was added. Raises UsageError."""
        with told():
            self._merge()

    def _merge(self) -> None:
        self._push()
        self._write_run()
        merged: BinaryIO = TemporaryFile()  # noqa: SIM115
        digest = hashlib.sha256()
        block = array("Q")
        for first, last in self._merged():
            self.count += last - first + 1
            block.append(first << 32 | last)
            if len(block) == RUN:
                _write(merged, block, digest)
        _write(merged, block, digest)
        self._file.close()
        self._file, self._runs = merged, [(0, merged.tell() // WIDTH)]
        self.digest = digest.hexdigest()

    def ranges(self) -> Iterator[Range]:
        """The ranges after merge(): ascending, apart from each other. One iteration at a time."""
        (run,) = self._runs
        return (Range(key >> 32, key & 0xFFFFFFFF) for key in self._read(*run))

    def batches(self, size: int) -> Iterator[list[int]]:
        """The ids after merge(), in lists of size, the last one maybe shorter."""
        batch: list[int] = []
        for first, last in self.ranges():
            while first <= last:
                end = min(last, first + size - len(batch) - 1)
                batch.extend(range(first, end + 1))
                first = end + 1  # noqa: PLW2901  # the rest of the range
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _push(self) -> None:
        if self._current is not None:
            self._pending.append(self._current.first << 32 | self._current.last)
            self._current = None
            if len(self._pending) == RUN:
                self._write_run()

    def _write_run(self) -> None:
        if self._pending:
            self._runs.append((self._file.tell(), len(self._pending)))
            with told():
                _write(self._file, array("Q", sorted(self._pending)))
            self._pending = array("Q")

    def _merged(self) -> Iterator[Range]:
        """All ranges in ascending order, those that touch or overlap as one."""
        current: Range | None = None
        for key in self._sorted():
            first, last = key >> 32, key & 0xFFFFFFFF
            if current is None:
                current = Range(first, last)
            elif first <= current.last + 1:
                if last > current.last:
                    current = Range(current.first, last)
            else:
                yield current
                current = Range(first, last)
        if current:
            yield current

    def _sorted(self) -> Iterator[int]:
        self._file.flush()
        ends = [(self._at(offset), self._at(offset + (number - 1) * WIDTH)) for offset, number in self._runs]
        if all(before[1] <= after[0] for before, after in pairwise(ends)):  # the input was sorted
            for run in self._runs:
                yield from self._read(*run)
        else:
            yield from heapq.merge(*(self._read(*run) for run in self._runs))

    def _at(self, offset: int) -> int:
        self._file.seek(offset)
        return int.from_bytes(self._file.read(WIDTH), sys.byteorder)

    def _read(self, offset: int, number: int) -> Iterator[int]:
        end = offset + number * WIDTH
        while offset < end:
            block = array("Q")
            self._file.seek(offset)
            block.frombytes(self._file.read(min(BLOCK * WIDTH, end - offset)))
            offset += len(block) * WIDTH
            yield from block


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raises UsageError in the place of the errors of temporary files."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write temporary files: {error.strerror or error}; name another folder in TMPDIR") from None


def _write(file: BinaryIO, block: array[int], digest: hashlib._Hash | None = None) -> None:
    """Append a block to a file, and empty it."""
    data = block.tobytes()
    file.write(data)
    if digest:
        digest.update(data)
    del block[:]
