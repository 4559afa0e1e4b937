"""AUDIT_LOG: a file of lines that several processes append to. A line counts as written once it is on disk.

The file may be renamed (logrotate), cut off or removed meanwhile, its disk may be full or stand still, and a process may be
killed in the middle of a line: a line that was confirmed is whole, and on a line of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, NamedTuple

from service.daemon_threads import DaemonThreads
from service.errors import AuditError
from service.files import must_have_name
from service.observability import metrics
from service.observability.appending import Line, append, folder_of, lock, look, look_for_space, opened, sync_folder

TIMEOUT = 2.0
"""Seconds that a line may take. Rows are locked while a batch waits for it, and the dialler may wait for them."""

THREADS = 4
"""Lines that this process writes at a time. They wait for the disk together: the kernel makes one flush of several."""

DRAIN_TIMEOUT = 2.0
"""Seconds that the end of a process waits for its last lines, of those that serve.STOP_MARGIN leaves a worker."""

ATTEMPTS = 10
"""How often a line is written when each time the file was renamed, removed or cut off meanwhile."""

FOLDER_PAUSE = 0.01
"""Seconds before a line is written again whose folder was renamed: somebody may be making the next one."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a line that is too long for what is left of the disk, of a quota, or of the largest size of a file."""

ENDED = "the service has ended before its disk took the line, which may be written all the same"

STANDS_STILL = f"its disk has not taken a line for {TIMEOUT:.0f} seconds"


class Failure(NamedTuple):
    """A line that does not count as written."""

    reason: str
    may_be_written: bool = False
    """Whether the line is in a file all the same, or may get there."""


class AuditFile:
    """Appends lines in threads of its own: neither the event loop nor the threads of others wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = DaemonThreads(THREADS, "audit")
        self._pending: dict[Future[Failure | None], Line] = {}
        self._has_ended = False
        self._begun: dict[int, float] = {}
        """For each line that a thread is writing: since when."""
        self._folder_on_disk: tuple[int, int] | None = None
        self._look: Future[None] | None = None
        """The last look at the file. If it waits for the disk, no further one does."""
        self.problem: str | None = None
        """Why a line was not written, None if one was since that is as long as those for which there was no room."""
        self._no_room_for = 0
        """Bytes of the longest line for which there was no room."""

    def submit(self, record: dict[str, Any], length: int = 0) -> Future[Failure | None]:
        """Have a line written, whoever is cancelled meanwhile. The result: why it was not, None if it is on disk. length: in
        bytes, to which the line is filled up with blanks."""
        line = Line(json.dumps(record, separators=(",", ":")).encode().ljust(length - 1) + b"\n")
        if self._has_ended:
            return self._lost(ENDED)
        try:
            future = self._threads.submit(lambda: self._write(line))
        except RuntimeError as error:  # the system has no thread left
            return self._lost(str(error))
        self._pending[future] = line
        future.add_done_callback(self._pending.pop)
        return future

    async def drain(self, is_more_to_come: Callable[[], bool], timeout: float = DRAIN_TIMEOUT) -> None:
        """Wait until all lines are on disk, for timeout seconds at most. Those that are not by then, and any later, are lost.

        Their futures say so. is_more_to_come: tells whether somebody is about to submit another one.
        """
        deadline = time.monotonic() + timeout
        while (self._pending or is_more_to_come()) and time.monotonic() < deadline:  # noqa: ASYNC110  # threads end it
            await asyncio.sleep(0.01)
        self._has_ended = True
        for future in list(self._pending):
            with contextlib.suppress(InvalidStateError):  # it is on disk at this moment
                if not future.cancel():  # a thread is writing it
                    future.set_result(self._failed(ENDED, may_be_written=True))

    async def append(self, record: dict[str, Any], length: int = 0) -> None:
        """Return when the line is on disk. Raises AuditError, after TIMEOUT seconds at the latest. length: as submit()."""
        if self._stands_still():
            raise AuditError(self._failed(STANDS_STILL).reason)
        future = self.submit(record, length)
        try:
            async with asyncio.timeout(TIMEOUT):
                failure = await asyncio.wrap_future(future)
        except TimeoutError:
            if line := self._pending.get(future):
                line.is_given_up = True
            # Cancelled: it waited for a thread, and is not going to be written.
            raise AuditError(self._failed(STANDS_STILL).reason, may_be_written=not future.cancelled()) from None
        if failure:
            raise AuditError(failure.reason, may_be_written=failure.may_be_written)

    async def check(self, record: dict[str, Any]) -> str | None:
        """Return why lines cannot be written, None if they can. Writes this one only if an earlier one failed.

        It looks at the file and its disk first: another process may know that lines cannot be written, while this one has not
        tried it since. And where a batch's line did not fit, a short one may: this one is as long.
        """
        if found := await self._look_or_say_why_not():
            return found
        if self.problem:
            with contextlib.suppress(AuditError):
                await self.append(record, self._no_room_for)
        return self.problem

    async def _look_or_say_why_not(self) -> str | None:
        if self._stands_still():
            return STANDS_STILL
        try:
            if self._look is None or self._look.done():
                self._look = self._threads.submit(self._look_at_file)
            async with asyncio.timeout(TIMEOUT):
                await asyncio.shield(asyncio.wrap_future(self._look))
        except TimeoutError:
            return STANDS_STILL
        except OSError as error:
            return error.strerror or str(error)
        except (RuntimeError, MemoryError) as error:  # the system has no thread left
            return str(error) or repr(error)
        return None

    def _look_at_file(self) -> None:
        look(self._path)
        look_for_space(self._path)

    def _stands_still(self) -> bool:
        begun = list(self._begun.values())
        return len(begun) == THREADS and time.monotonic() - max(begun) > TIMEOUT

    def _lost(self, reason: str) -> Future[Failure | None]:
        future: Future[Failure | None] = Future()
        future.set_result(self._failed(reason))
        return future

    def _failed(self, reason: str, *, may_be_written: bool = False) -> Failure:
        metrics.AUDIT_FAILURES.inc()
        self.problem = reason
        return Failure(reason, may_be_written)

    def _write(self, line: Line) -> Failure | None:
        number = id(line)
        self._begun[number] = time.monotonic()
        reason = "it is renamed, removed or cut off all the time"
        try:
            for _ in range(ATTEMPTS):
                if line.is_given_up:
                    reason = STANDS_STILL
                    break
                try:
                    if self._write_once(line):
                        if len(line.data) >= self._no_room_for:
                            self.problem, self._no_room_for = None, 0
                        return None
                except OSError as error:
                    is_stale = error.errno == errno.ESTALE  # it is removed at this moment, or was in the place of a mount
                    if not is_stale and not (isinstance(error, FileNotFoundError) and line.may_be_written):
                        raise
                    reason = error.strerror or str(error)
                    time.sleep(FOLDER_PAUSE)
            return self._failed(reason, may_be_written=line.may_be_written)
        except OSError as error:
            if error.errno in NO_ROOM:
                self._no_room_for = max(self._no_room_for, len(line.data))
            return self._failed(error.strerror or str(error), may_be_written=line.may_be_written)
        except Exception as error:  # whatever it is, the batch must learn of it: a lack of memory, for one
            return self._failed(repr(error), may_be_written=line.may_be_written)
        finally:
            del self._begun[number]

    def _write_once(self, line: Line) -> bool:
        """Return whether the line is in the file that has the name now: if not, it may be gone with the one that had it."""
        with opened(self._path, os.O_CREAT) as descriptor:  # anew: it may have been renamed or removed
            try:
                must_have_name(self._path)
            except FileNotFoundError:
                return False
            self._sync_folder(descriptor)
            lock(descriptor)
            if line.is_given_up:
                return False
            append(descriptor, line)
            end = os.fstat(descriptor).st_size
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # the others need not wait for this one's disk
            os.fdatasync(descriptor)
            try:
                now = os.stat(self._path)
            except FileNotFoundError:
                return False
            return os.path.samestat(now, os.fstat(descriptor)) and now.st_size >= end

    def _sync_folder(self, descriptor: int) -> None:
        """Have the file's entry in its folder on disk: without it, a new file is gone after a crash, whatever is in it."""
        entry = os.fstat(descriptor).st_ino, os.stat(folder_of(self._path)).st_mtime_ns
        if entry != self._folder_on_disk:
            sync_folder(self._path)
            self._folder_on_disk = entry
