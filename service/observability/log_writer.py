"""Write log lines in a thread: a caller that logs neither waits for the reader of the log nor fails without one."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import util
from typing import NamedTuple

from service.observability.log_lock import Ending, LogLock
from service.observability.metrics import LOG_LINES_LOST

QUEUE_SIZE = 8 * 1024 * 1024
"""The maximum number of characters of lines that wait to be written: about 30,000 requests."""

PIPE_BUF = select.PIPE_BUF
"""Bytes that a pipe takes in one piece (pipe(7)), and without a wait once poll(2) has called it writable. All workers write
to the same pipe."""

PAUSE = 0.005
"""Seconds between two writes while no line waits. In a busy service, the thread then wakes up for several lines at a time."""

DRAIN_TIMEOUT = 2.0
"""Seconds that the end of a process waits for its last lines."""

NOT_READ = "the log is not read fast enough"

TURN_PAUSE = 0.002
"""Seconds for which a process that has waited for the reader leaves the log to the other processes."""

CUT_OFF = "a process was killed in the middle of a line"


class Loss(NamedTuple):
    """The number of lines that were not written."""

    lines: int
    since: datetime
    """When the first of them was lost."""
    error: str
    """Why the last of them was lost."""


class LogWriter:
    """A bounded queue of lines, and a daemon thread that writes them to a file descriptor in order.

    A line that does not fit into the queue or cannot be written is counted in log_lines_lost_total. As soon as writing works
    again, a line in the place of the missing ones says how many they were. The thread starts with the first line; in a forked
    process, with the first line of that process. Forked processes write in turns, so that lines of any length stay whole.
    """

    def __init__(self, render: Callable[[Loss], str], size: int = QUEUE_SIZE) -> None:
        """render: return the line that reports a loss. size: of the queue, in characters."""
        self.descriptor = 2
        self.encoding = "utf-8"
        self._render = render
        self._limit = size
        self._shared = LogLock()
        self._reset()
        # The parent writes the lines that wait in it. Its thread does not exist in the child.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may log while its thread holds the lock
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._lines: deque[str] = deque()
        self._size = 0
        self._overflows = False
        """Whether a line did not fit. Then no line is taken until the queue is empty, so that the missing lines are in one
        place."""
        self._is_writing = False
        self._loss: Loss | None = None
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line, without its line end. Never wait and never raise."""
        try:
            with self._lock:
                if self._overflows or self._size + len(line) > self._limit:
                    self._overflows = True
                    self.lose(1, NOT_READ)
                else:
                    self._lines.append(line)
                    self._size += len(line)
                if self._thread is None:
                    self._start()
                elif not self._is_writing:
                    self._filled.notify()
        except Exception as error:
            self.lose(1, str(error))

    def lose(self, lines: int, error: str) -> None:
        """Count lines that will not be written. Never raise."""
        if lines:
            with contextlib.suppress(Exception):
                self._remember(Loss(lines, datetime.now(UTC), error))
                LOG_LINES_LOST.inc(lines)

    def drain(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Wait until all lines are written, at most `timeout` seconds."""
        with self._lock:
            self._emptied.wait_for(lambda: self._thread is None or not (self._is_writing or self._has_work()), timeout)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        with contextlib.suppress(RuntimeError):  # the system has no thread left: the next line tries again
            thread.start()
            self._thread = thread
            # Not atexit: a process forked by multiprocessing does not run it.
            util.Finalize(None, self.drain, exitpriority=-1)

    def _run(self) -> None:
        while True:
            lines: list[str] = []
            try:
                with self._lock:
                    self._is_writing = False
                    if not self._has_work():
                        self._emptied.notify_all()
                        self._filled.wait_for(self._has_work)
                    self._is_writing = True
                    loss = self._take(lines)
                unwritten, error = self._put([self._render(loss)]) if loss else (0, "")
                if loss and unwritten:
                    self._remember(loss._replace(error=error))
                    self.lose(len(lines), error)
                elif lines:
                    self.lose(*self._put(lines))
                if not self._lines:
                    time.sleep(PAUSE)
            except Exception as defect:  # or MemoryError: the thread must survive it
                self.lose(len(lines), str(defect))
                time.sleep(0.1)

    def _has_work(self) -> bool:
        return bool(self._lines) or self._overflows

    def _take(self, lines: list[str]) -> Loss | None:
        """Move as many lines as a pipe takes in one piece, at least one, to `lines`. Return the loss before them."""
        size = 0
        while self._lines and (not lines or size + len(self._lines[0]) < PIPE_BUF):
            lines.append(self._lines.popleft())
            self._size -= len(lines[-1])
            size += len(lines[-1]) + 1
        if self._overflows and lines:
            return None  # the missing lines come after all that wait
        self._overflows = False
        loss, self._loss = self._loss, None
        return loss

    def _put(self, lines: list[str]) -> tuple[int, str]:
        """Write lines, however long it takes. Return how many could not be written, and why."""
        data = b"".join(f"{line}\n".encode(self.encoding, "backslashreplace") for line in lines)
        with self._shared.held():
            if self._shared.ending is Ending.BEGUN:
                self.lose(1, CUT_OFF)
            if self._shared.ending is not Ending.WHOLE:
                self._shared.ending = Ending.TORN  # the loss of that line is counted
                data = b"\n" + data
            unwritten, error, has_waited = self._put_in_pieces(data)
        if has_waited:
            time.sleep(TURN_PAUSE)
        return min(unwritten, len(lines)), error

    def _put_in_pieces(self, data: bytes) -> tuple[int, str, bool]:
        """Write lines in pieces that a pipe takes whole. Return how many line ends were not written, why, and whether the
        reader was slow."""
        rest, ending, has_waited = memoryview(data), self._shared.ending, False
        try:
            while rest:
                while not self._is_writable(0):
                    has_waited = True
                    self._is_writable(None)
                piece = rest[:PIPE_BUF]
                if piece[-1] != ord("\n"):
                    self._shared.ending = Ending.BEGUN
                with contextlib.suppress(BlockingIOError):  # a process with O_NONBLOCK on the descriptor: others were faster
                    written = os.write(self.descriptor, piece)
                    ending = Ending.WHOLE if rest[written - 1] == ord("\n") else Ending.BEGUN
                    rest = rest[written:]
                self._shared.ending = ending
        except OSError as error:
            self._shared.ending = Ending.WHOLE if ending is Ending.WHOLE else Ending.TORN
            return bytes(rest).count(b"\n"), error.strerror or str(error), has_waited
        return 0, "", has_waited

    def _is_writable(self, timeout: int | None) -> bool:
        """Return whether the log takes a piece, or fails, without a wait. timeout: milliseconds to wait for that."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(timeout))

    def _remember(self, loss: Loss) -> None:
        with self._lock:
            before = self._loss
            self._loss = Loss(before.lines + loss.lines, min(before.since, loss.since), loss.error) if before else loss
