"""Threads that work in the background of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Self


class BackgroundThreads:
    """Threads that run from the entry of a block to its exit. Their functions must return when `_stop` is set."""

    def __init__(self, runs: Iterable[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
