"""Threads that may wait for a disk for ever, and that the end of the process does not wait for."""

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
    """Run functions in a few daemon threads.

    The interpreter joins the threads of a ThreadPoolExecutor when it ends (concurrent.futures.thread._python_exit): one that
    waits for a disk that stands still would keep the process from ending.
    """

    def __init__(self, most: int, name: str) -> None:
        """most: threads that are started at most, each when all others have something to do."""
        self._most = most
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0
        """Functions that wait for a thread or run."""

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have a function run. The future may be cancelled until then, and be given a result by whoever does not want to wait.

        Raises RuntimeError if there is no thread, and the system has none left.
        """
        if self._pid != os.getpid():
            self._reset()  # threads do not exist in a forked process, and one of them may have held the lock
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
            del future, function  # the next may be long in coming
