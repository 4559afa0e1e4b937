"""The parent process: it starts the workers, replaces those that end, and stops all of them."""

from __future__ import annotations

import contextlib
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

from service.observability.process_end import end_process, flush_standard_error
from service.server.reload import Reload

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}

HANG_TIMEOUT = 60
"""Seconds without a heartbeat after which a worker is killed: much longer than any request may block its event loop."""

LONGEST_ROUND = 2
"""Seconds. When more than this passes between two looks at the workers, this process itself stood still (SIGSTOP, a frozen
container, a suspended machine). The rest does not count against the workers, which probably stood still as well."""

SHORT_LIFE = 10
"""Seconds. A worker that ends sooner, or that could not start, is replaced only after a delay."""

USEFUL_LIFE = 1
"""Seconds. A worker that has lived longer is replaced at once if no other one serves: a service that is interrupted now and
then is better than none."""

LONGEST_DELAY = 30
"""The longest delay, in seconds, before a worker is replaced. The first delay is one second; each one doubles it."""

LONGEST_GAP = 2
"""As LONGEST_DELAY, while no worker serves."""

SERVES = 5
"""Seconds since its last heartbeat up to which a worker counts as one that serves. There is a heartbeat every second."""

MOST_EARLY_DEATHS = 5
"""The number of workers in a row that a signal may end before their first heartbeat. A person may have killed a single one."""

KILL_TIMEOUT = 2
"""Seconds to wait for a worker after SIGKILL. A worker that waits in the kernel for a disk ends only when the disk answers."""

RELOADED = 0
"""Written to the pipe of the signals when this process has reloaded a file. No signal has this number."""

COULD_NOT_START = 1
"""The exit status of the service if no worker can start."""

logger = structlog.get_logger()


class Heartbeat:
    """The heartbeat of a worker, in shared memory: its parent process reads when its event loop last ran."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def beat(self) -> None:
        struct.pack_into("d", self._memory, 0, time.monotonic())

    @property
    def last(self) -> float:
        """Return the time of the last heartbeat, by time.monotonic(); 0 before the first one."""
        (seconds,) = struct.unpack_from("d", self._memory, 0)
        return float(seconds)


@dataclass
class Worker:
    """A worker process."""

    pid: int
    heartbeat: Heartbeat
    started: float = field(default_factory=time.monotonic)
    last_beat: float = 0.0
    silence: float = 0.0
    """Seconds without a heartbeat in which the parent process ran."""


class RunningTime:
    """The time in which this process runs. Time in which it stands still hardly counts."""

    def __init__(self) -> None:
        self._looked = time.monotonic()

    def passed(self) -> float:
        """Return the seconds since the last call, at most LONGEST_ROUND."""
        before, self._looked = self._looked, time.monotonic()
        return min(self._looked - before, LONGEST_ROUND)


class Supervisor:
    """Forks workers. A replacement starts with the state of this process, not with files that may have changed since."""

    def __init__(
        self,
        count: int,
        work: Callable[[int, Heartbeat], None],
        *,
        reload: Reload,
        refresh: Callable[[], object],
        listeners: Sequence[socket.socket],
        stop_timeout: float,
    ) -> None:
        """work: runs a worker until SIGTERM; it gets a file descriptor that becomes readable when this process is gone.
        reload: reloads files on SIGHUP. refresh: updates the state with which workers start; called about once a second. Both
        return immediately. stop_timeout: seconds that a worker has to stop.
        """
        self._count = count
        self._work = work
        self._reload = reload
        self._refresh = refresh
        self._listeners = listeners
        self._stop_timeout = stop_timeout
        self._workers: dict[int, Worker] = {}
        self._delay = 0.0
        self._delayed_at = 0.0
        """When the delay before the next start began, by time.monotonic()."""
        self._reload_asked = 0.0
        self._running_time = RunningTime()
        self._early_deaths = 0
        """How many workers in a row ended before their first heartbeat."""
        self._alive_reader, self._alive_writer = os.pipe()
        self._signal_reader, self._signal_writer = os.pipe()
        os.set_blocking(self._signal_writer, False)

    def catch_signals(self) -> None:
        """Keep signals for run() from now on, so that none ends this process before it has cleaned up."""
        # Python writes the number of each signal to this pipe, whichever thread was interrupted.
        signal.set_wakeup_fd(self._signal_writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT, and return the exit status. Call catch_signals() first."""
        while True:
            self._refresh()
            while len(self._workers) < self._count and self._may_start():
                self._try_to_start()
            caught = self._wait_for_signals(1 if len(self._workers) == self._count else 0.1)
            if caught & {signal.SIGTERM, signal.SIGINT}:
                self._stop()
                return 0
            if signal.SIGHUP in caught:
                self._reload_asked = time.monotonic()
                self._reload(self._note_reload)
                self._send(signal.SIGHUP, *self._workers)
            if RELOADED in caught:  # workers forked since the signal may have started with what was valid before the reload
                late = [worker.pid for worker in self._workers.values() if worker.started >= self._reload_asked]
                self._send(signal.SIGHUP, *late)
            could_start = [self._note_end(worker, status) for worker, status in self._ended()]
            self._kill_hanging()
            if not all(could_start) and not self._workers:
                logger.critical("no worker can start", workers=self._count)
                self._stop()
                return COULD_NOT_START

    def _wait_for_signals(self, timeout: float) -> set[int]:
        """Wait for a signal, and return all that have arrived. timeout: seconds."""
        readable, _, _ = select.select([self._signal_reader], [], [], timeout)
        return set(os.read(self._signal_reader, 4096)) if readable else set()

    def _note_reload(self) -> None:
        """Called in a thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._signal_writer, bytes([RELOADED]))

    def _try_to_start(self) -> None:
        """Start a worker. If there are too many processes or too little memory, decide when to try again."""
        try:
            self._start()
        except OSError as error:
            self._delay = min(LONGEST_DELAY, max(1, 2 * self._delay))
            self._delayed_at = time.monotonic()
            logger.error("worker not started", error=error.strerror or str(error), tried_again_in=self._delay_now)

    @property
    def _delay_now(self) -> float:
        """The seconds from the last end of a worker to the next start of one."""
        return self._delay if self._is_served else min(self._delay, LONGEST_GAP)

    @property
    def _is_served(self) -> bool:
        """Whether a worker serves. One that has not begun has no heartbeat, and that of one that stands still is old."""
        now = time.monotonic()
        return any(0 < worker.heartbeat.last >= now - SERVES for worker in self._workers.values())

    def _may_start(self) -> bool:
        return time.monotonic() - self._delayed_at >= self._delay_now

    def _start(self) -> None:
        """Fork a worker. Raises OSError if processes or memory are exhausted."""
        heartbeat = Heartbeat()
        flush_standard_error()
        # A worker installs its own signal handlers. Until then, its signals are blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(heartbeat)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._workers[pid] = Worker(pid, heartbeat)
        logger.info("worker started", worker=pid)

    def _be_worker(self, heartbeat: Heartbeat) -> NoReturn:
        status = COULD_NOT_START
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in (self._alive_writer, self._signal_reader, self._signal_writer):
                os.close(descriptor)
            self._work(self._alive_reader, heartbeat)
            status = 0
        except Exception:
            logger.exception("worker failed")
        finally:
            end_process(status)  # without the exit handlers: they belong to the parent process

    def _ended(self) -> list[tuple[Worker, int]]:
        """Return the workers that have ended, with their exit statuses: negative if a signal ended them."""
        ended = []
        for pid, worker in list(self._workers.items()):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                del self._workers[pid]
                ended.append((worker, os.waitstatus_to_exitcode(status)))
        return ended

    def _note_end(self, worker: Worker, status: int) -> bool:
        """Decide when the worker is replaced. Return False if it could not start."""
        has_started = worker.heartbeat.last > 0
        self._early_deaths = 0 if has_started else self._early_deaths + 1
        lived = time.monotonic() - worker.started
        is_last = has_started and lived >= USEFUL_LIFE and not self._is_served
        if has_started and lived >= SHORT_LIFE:
            self._delay = 0
        elif has_started and not self._delay:
            self._delay = 0.01  # the first one is replaced at once
        elif not is_last:
            self._delay = min(LONGEST_DELAY, max(1, 2 * self._delay))
        if not is_last:
            self._delayed_at = time.monotonic()
        replaced_in = 0 if is_last else self._delay_now
        logger.error("worker ended", worker=worker.pid, status=status, has_started=has_started, replaced_in=replaced_in)
        if is_last:
            self._try_to_start()  # the others that are missing have a delay of their own
        return has_started or (status < 0 and self._early_deaths < MOST_EARLY_DEATHS)

    def _kill_hanging(self) -> None:
        passed = self._running_time.passed()
        for worker in self._workers.values():
            beat = worker.heartbeat.last
            worker.silence = worker.silence + passed if beat == worker.last_beat else 0
            worker.last_beat = beat
            if worker.silence > HANG_TIMEOUT:
                logger.error("worker hangs", worker=worker.pid)
                self._send(signal.SIGKILL, worker.pid)

    def _stop(self) -> None:
        for listener in self._listeners:
            # shutdown() acts at once in all processes that share the socket. close() would leave it open in the workers.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._send(signal.SIGTERM, *self._workers)
        seconds, running_time = self._stop_timeout, RunningTime()
        while self._workers and seconds > 0:
            self._wait_for_signals(min(seconds, 0.5))
            self._ended()
            seconds -= running_time.passed()
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
            os.kill(pid, number)  # not reaped yet, so the process id cannot belong to another process
