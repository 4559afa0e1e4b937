"""The process that starts the workers, replaces those that end, and stops them all."""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from service.server.process_end import end_process, flush_standard_error

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}

HANG_TIMEOUT = 60
"""Seconds without a sign of life after which a worker is killed: far longer than any request may hold its event loop."""

SHORT_LIFE = 10
"""Seconds. A worker that ends sooner, or that could not start, is not replaced at once."""

LONGEST_DELAY = 30
"""Seconds until a worker is replaced, at most. The first delay is a second, and each is twice the one before."""

MOST_EARLY_DEATHS = 5
"""Workers in a row that a signal ends before their first sign of life. A single one may be somebody's doing."""

KILL_TIMEOUT = 2
"""Seconds that the stop waits for a worker that it has killed: one that waits in the kernel for a disk may not end before that
disk answers."""

COULD_NOT_START = 1
"""The status of the service when no worker can start."""

logger = structlog.get_logger()


class SignsOfLife:
    """What a worker tells the process that started it: when its event loop last ran. Shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def give(self) -> None:
        struct.pack_into("d", self._memory, 0, time.monotonic())

    @property
    def last(self) -> float:
        """Seconds, as time.monotonic() tells them; 0 before the first."""
        (seconds,) = struct.unpack_from("d", self._memory, 0)
        return float(seconds)


@dataclass
class Worker:
    """A process that was started."""

    pid: int
    signs: SignsOfLife
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Forks workers: a replacement is made of what this process has in memory, not of files that may have changed since."""

    def __init__(
        self,
        count: int,
        work: Callable[[int, SignsOfLife], None],
        *,
        reload: Callable[[], None],
        refresh: Callable[[], object],
        listeners: Sequence[socket.socket],
        stop_timeout: float,
    ) -> None:
        """work: what a worker does until SIGTERM, given a file descriptor that can be read when this process is gone.
        reload: read anew what can be, on SIGHUP. refresh: keep what workers start with up to date; called about once a second.
        Both return at once.
        stop_timeout: seconds that a worker has to stop.
        """
        self._count = count
        self._work = work
        self._reload = reload
        self._refresh = refresh
        self._listeners = listeners
        self._stop_timeout = stop_timeout
        self._workers: dict[int, Worker] = {}
        self._delay = 0.0
        self._next_start = 0.0
        self._early_deaths = 0
        """Workers, since the last one that had started, that ended before they had."""
        self._alive_reader, self._alive_writer = os.pipe()
        self._signal_reader, self._signal_writer = os.pipe()
        os.set_blocking(self._signal_writer, False)

    def catch_signals(self) -> None:
        """Have signals wait for run() from now on, so that none ends this process before it has cleaned up."""
        # A file descriptor gets the signals, whichever thread they interrupt.
        signal.set_wakeup_fd(self._signal_writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT. Return the status to end with. Call catch_signals() before."""
        while True:
            self._refresh()
            while len(self._workers) < self._count and time.monotonic() >= self._next_start:
                self._try_to_start()
            caught = self._wait_for_signals(1 if len(self._workers) == self._count else 0.1)
            if caught & {signal.SIGTERM, signal.SIGINT}:
                self._stop()
                return 0
            if signal.SIGHUP in caught:
                self._reload()
                self._send(signal.SIGHUP, *self._workers)
            could_start = [self._note_end(worker, status) for worker, status in self._ended()]
            self._kill_hanging()
            if not all(could_start) and not self._workers:
                logger.critical("no worker can start", workers=self._count)
                self._stop()
                return COULD_NOT_START

    def _wait_for_signals(self, timeout: float) -> set[int]:
        """Return those that have arrived, as soon as there is one. timeout: seconds."""
        readable, _, _ = select.select([self._signal_reader], [], [], timeout)
        return set(os.read(self._signal_reader, 4096)) if readable else set()

    def _try_to_start(self) -> None:
        """Start a worker, or decide when to try again: too many processes, or too little memory, may pass."""
        try:
            self._start()
        except OSError as error:
            self._delay = min(LONGEST_DELAY, max(1, 2 * self._delay))
            self._next_start = time.monotonic() + self._delay
            logger.error("worker not started", error=error.strerror or str(error), tried_again_in=self._delay)

    def _start(self) -> None:
        """Raises OSError if there is no process or memory left for it."""
        signs = SignsOfLife()
        flush_standard_error()
        # A worker handles signals in its own way, once it can. Until then they wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(signs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._workers[pid] = Worker(pid, signs)
        logger.info("worker started", worker=pid)

    def _be_worker(self, signs: SignsOfLife) -> NoReturn:
        status = COULD_NOT_START
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in (self._alive_writer, self._signal_reader, self._signal_writer):
                os.close(descriptor)
            self._work(self._alive_reader, signs)
            status = 0
        except Exception:
            logger.exception("worker failed")
        finally:
            end_process(status)  # what is left to do at the end is the other process's to do

    def _ended(self) -> list[tuple[Worker, int]]:
        """The workers that have ended, with the status of each: negative if it was a signal."""
        ended = []
        for pid, worker in list(self._workers.items()):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                del self._workers[pid]
                ended.append((worker, os.waitstatus_to_exitcode(status)))
        return ended

    def _note_end(self, worker: Worker, status: int) -> bool:
        """Decide when it is replaced. Return False if it could not start."""
        has_started = worker.signs.last > 0
        self._early_deaths = 0 if has_started else self._early_deaths + 1
        if has_started and time.monotonic() - worker.started >= SHORT_LIFE:
            self._delay = 0
        elif has_started and not self._delay:
            self._delay = 0.01  # the first one is replaced at once
        else:
            self._delay = min(LONGEST_DELAY, max(1, 2 * self._delay))
        self._next_start = time.monotonic() + self._delay
        logger.error("worker ended", worker=worker.pid, status=status, has_started=has_started, replaced_in=self._delay)
        return has_started or (status < 0 and self._early_deaths < MOST_EARLY_DEATHS)

    def _kill_hanging(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            if now - max(worker.signs.last, worker.started) > HANG_TIMEOUT:
                logger.error("worker hangs", worker=worker.pid)
                self._send(signal.SIGKILL, worker.pid)

    def _stop(self) -> None:
        for listener in self._listeners:
            # For all processes that hold it, from this moment on. To close it here would leave it open there.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._send(signal.SIGTERM, *self._workers)
        deadline = time.monotonic() + self._stop_timeout
        while self._workers and (seconds := deadline - time.monotonic()) > 0:
            self._wait_for_signals(min(seconds, 0.5))
            self._ended()
        for pid in list(self._workers):
            logger.error("worker does not stop", worker=pid)
            self._send(signal.SIGKILL, pid)
        deadline = time.monotonic() + KILL_TIMEOUT
        while self._workers and time.monotonic() < deadline:
            self._ended()
            time.sleep(0.01)
        for pid in self._workers:
            logger.error("worker cannot be killed", worker=pid)

    def _send(self, number: signal.Signals, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, number)  # it is not reaped yet, so that the number is still its own
