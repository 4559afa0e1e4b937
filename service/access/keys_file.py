"""API_KEYS_FILE while the service runs: read again when it changes, without holding up the event loop."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import structlog

from service.access.keys import Keys
from service.daemon_threads import DaemonThreads
from service.files import must_have_name, read_existing, read_file

SETTLE_TIME = 2.0
"""Seconds for which each check reads a file that was written to, and after which one more does. A second change within one
tick of the file system's clock leaves no other trace: FAT's clock ticks every two seconds, ext4's every few milliseconds."""

QUIET_TIME = 0.1
"""Seconds for which the content of a changed file must stay as it is before it counts. Where a file is written in place, line
by line, a part of it may be valid: a key without the list_ids that limit it. Batches whose leads are locked wait for it."""

MOST_CHANGES = 10
"""How often a file may have changed after QUIET_TIME. Then it counts as one that cannot be read. They are counted, since the
process may stand still for longer than all of this takes: as with SLICE."""

REMINDER_INTERVAL = 600.0
"""Seconds between two log lines about the same problem."""

MOST_WAIT = 2.0
"""Seconds that a request waits for the file. After that the old keys are used: a network file system may hang."""

SLICE = 0.1
"""Seconds. A wait is divided into parts that count as no more than this: while this process stands still (SIGSTOP, a suspended
machine), so do its checks, and what was revoked meanwhile counts afterwards."""

NEVER_READ = ()

logger = structlog.get_logger()


class KeysBeingReadError(Exception):
    """The file has changed and is being read. The keys that were read last may have been revoked."""


class KeysFile:
    """API_KEYS_FILE, read again when it changes.

    A file with invalid content changes nothing: the old keys stay valid until it is repaired, and the log says so. A file that
    cannot be read (no file descriptors, being replaced, a file system that hangs) is tried again with each request until it
    was read.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError if the content is not valid."""
        self._path = path
        self._thread = DaemonThreads(1, "keys")
        """The thread that checks the file, one check at a time."""
        self._refresh: Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        """The last check that the event loop started."""
        self._begun = 0
        """The number of checks that have started."""
        self._waited = 0.0
        """The seconds for which somebody has waited in vain for the last of them."""
        self._ended = 0
        """The number of the last check that has ended."""
        self._signature = _signature(path)
        text = read_existing(path)
        self._keys = Keys.parse(text, path)
        self._digest = hashlib.sha256(text).digest()
        """SHA-256 of the content that was read last."""
        self._fault = ""
        """What is wrong with this content."""
        self._settled = time.monotonic() + SETTLE_TIME
        """When no second change can have gone unnoticed any more, by time.monotonic()."""
        self._due = 0.0
        """When the file is read again even if it seems unchanged, by time.monotonic()."""
        self._is_at_hand = False
        """Whether the file has changed, and only its content takes time, not its file system."""
        self._told: dict[str, float] = {}
        """For each problem since the last success, when it is logged again."""

    @property
    def are_old(self) -> bool:
        """Whether the file could not be read, or had invalid content, when it was checked last: the keys are older."""
        return bool(self._told)

    async def current(self, timeout: float) -> Keys:
        """Return the keys as they are now. If the file changed before this call, these are the keys after the change.

        A thread checks and reads the file while the event loop goes on: a network file system may hang. timeout: seconds after
        which the old keys are returned if the file system does not answer. Raises KeysBeingReadError if it does, and it is the
        content that takes so long: thousands of keys.
        """
        # A check that has already started may miss the last change. All callers that come while it runs share the next check.
        wanted = self._begun + 1
        # Nobody waits for a check that has taken too long already. The first request after its end looks again.
        waited = self._waited if self._looks() and self._waited >= timeout else 0.0
        while self._ended < wanted:
            if not self._looks():
                self._begun += 1
                self._waited = 0.0
                self._looking = asyncio.create_task(self._look_in_thread(self._begun))
            if waited >= timeout:
                self._waited = waited
                if self._is_at_hand:
                    raise KeysBeingReadError
                self._tell_that_it_hangs()
                break
            assert self._looking is not None
            seconds = min(SLICE, timeout - waited)
            began = time.monotonic()
            await asyncio.wait([self._looking], timeout=seconds)
            waited += min(seconds, time.monotonic() - began)
            if self._looking.done():
                self._looking.result()  # re-raise the exception of a defect
        return self._keys

    def _looks(self) -> bool:
        """Return whether a check of current() is running."""
        return self._looking is not None and not self._looking.done()

    def reload(self) -> None:
        """Read the file, whether it has changed or not, and log the result. Any thread may call this.

        Thousands of keys take tenths of a second, and a file system may hang: the event loop must not call it.
        """
        self._in_thread(self._look_again).result()

    def refresh(self) -> None:
        """Start a check of the file. Return immediately."""
        if self._refresh is None or self._refresh.done():
            self._refresh = self._in_thread(self._look_if_due)

    def _in_thread(self, look: Callable[[], None]) -> Future[None]:
        try:
            return self._thread.submit(look)
        except RuntimeError:
            # The system had no thread left, even when the service started. A pause is better than a revoked key that is valid.
            look()
            done: Future[None] = Future()
            done.set_result(None)
            return done

    def _is_due(self) -> bool:
        return _signature(self._path) != self._signature or time.monotonic() >= self._due

    async def _look_in_thread(self, number: int) -> None:
        await asyncio.wrap_future(self._in_thread(self._look_if_due))
        self._ended = number

    def _look_if_due(self) -> None:
        if self._is_due():
            self._look()

    def _look_again(self) -> None:
        self._look(is_asked_for=True)

    def _look(self, *, is_asked_for: bool = False) -> None:
        """Read the file. Never raise. is_asked_for: whether the log says so even if the content is that of the last time."""
        signature = _signature(self._path)  # before reading: the next check notices a change while it is read
        try:
            self._read(signature, is_asked_for=is_asked_for)
        except (OSError, MemoryError) as error:
            self._signature, self._digest = NEVER_READ, b""
            self._tell(f"cannot read {self._path}: {(isinstance(error, OSError) and error.strerror) or 'out of memory'}")
        except Exception as error:
            self._signature = signature
            self._tell(str(error))
        finally:
            self._is_at_hand = False

    def _read(self, signature: tuple[int, ...] | None, *, is_asked_for: bool) -> None:
        began = time.monotonic()
        must_have_name(self._path)
        text = read_file(self._path)
        digest = hashlib.sha256(text).digest()
        if signature != self._signature:
            self._settled = began + SETTLE_TIME
        if digest != self._digest:
            signature, text = self._read_quiet(text)
            digest = hashlib.sha256(text).digest()
            self._settled = time.monotonic() + SETTLE_TIME
        self._due = 0.0 if began < self._settled else began + REMINDER_INTERVAL if self._told else math.inf
        if digest == self._digest:
            if self._fault:
                raise ValueError(self._fault)
            if not (self._told or is_asked_for):
                self._signature = signature
                return
        try:
            keys = Keys.parse(text, self._path)
        except ValueError as error:
            self._digest, self._fault = digest, str(error)
            raise
        # In this order: a worker that is forked in between must not have the new digest with the old keys.
        self._keys = keys
        self._signature = signature
        self._digest, self._fault = digest, ""
        self._told.clear()
        logger.info("keys reloaded", file=str(self._path), keys=len(keys.entries))

    def _read_quiet(self, text: bytes) -> tuple[tuple[int, ...] | None, bytes]:
        """Return the signature and the content of the file once it has stayed as it is for QUIET_TIME. Raises OSError.

        text: its content now.
        """
        for _ in range(MOST_CHANGES):
            self._is_at_hand = True
            time.sleep(QUIET_TIME)
            self._is_at_hand = False
            before, signature, text = text, _signature(self._path), read_file(self._path)
            if text == before:
                self._is_at_hand = True
                return signature, text
        raise OSError(errno.EBUSY, "it is written to all the time")

    def _tell_that_it_hangs(self) -> None:
        self._tell(f"cannot read {self._path}: the file system did not answer in time")
        self._due = 0.0  # as soon as it answers, the file is read, whether it has changed or not, and the log says so

    def _tell(self, problem: str) -> None:
        now = time.monotonic()
        if now >= self._told.get(problem, 0):
            self._told[problem] = now + REMINDER_INTERVAL
            logger.error("keys not reloaded", file=str(self._path), error=problem)


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return a value that changes whenever the file is written or replaced."""
    try:
        status = os.stat(path)  # takes half the time of Path.stat
    except (OSError, MemoryError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
