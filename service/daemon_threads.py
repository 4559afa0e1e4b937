"""Threads that may wait for a disk for ever. The process does not wait for them when it ends."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs functions in a few daemon threads.

    The interpreter joins the threads of a ThreadPoolExecutor when it ends (concurrent.futures.thread._python_exit): a thread
    that waits for a hung disk would keep the process alive.
    """

    def __init__(self, most: int, name: str) -> None:
        """most: the maximum number of threads. A thread is started only if all others are busy."""
        self._most = most
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0
        """The functions that wait for a thread or are running."""

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a function in a thread. Until it starts, the future can be cancelled, or be given a result by a caller who does
        not want to wait.

        Raises RuntimeError if no thread exists and the system cannot start one.
        """
        if self._pid != os.getpid():
            self._reset()  # a forked process has no copies of the threads, and one of them may have held the lock
        future: Future[T] = Future()
        with self._lock:
            if self._unfinished >= self._threads < self._most:
                self._start()
            self._unfinished += 1
        self._queue.put((future, function))
        return future

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name=f"{self._name}_{self._threads}", daemon=True).start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _run(self) -> None:
        while True:
            future, function = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:
                    with contextlib.suppress(InvalidStateError):
                        future.set_exception(error)
                else:
                    with contextlib.suppress(InvalidStateError):
                        future.set_result(result)
            with self._lock:
                self._unfinished -= 1
            del future, function  # drop the references: the next function may come much later
