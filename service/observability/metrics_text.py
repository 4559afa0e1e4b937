"""The text of /metrics. With several workers, the values of all of them together."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.observability.metrics import DIRECTORY, look_after_files

KEPT_FOR = 1.0
"""Seconds for which a text is given to all who ask. To make it costs far more than to ask for it, and needs no key."""

UNREADABLE = (OSError, ValueError, RuntimeError, struct.error)
"""What prometheus_client raises if a file was deleted or damaged while it reads."""

logger = structlog.get_logger()


class MetricsText:
    """The text, as this process gives it."""

    def __init__(self, forbids: Callable[[], dict[str, bool]]) -> None:
        """forbids: returns for each operation whether office hours forbid it now."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Figures(forbids))
        self._text = b""
        self._made_at = float("-inf")

    def get(self) -> bytes:
        """Return the text, at most KEPT_FOR seconds old."""
        now = time.monotonic()
        if now - self._made_at >= KEPT_FOR:
            self._text = generate_latest(self._registry)
            self._made_at = now
        return self._text


class Figures(Collector):
    """All values of all workers, and those that are computed when they are asked for."""

    def __init__(self, forbids: Callable[[], dict[str, bool]]) -> None:
        """forbids: returns for each operation whether office hours forbid it now."""
        self._forbids = forbids
        self._is_failure_logged = False

    def collect(self) -> Iterator[Metric]:
        if directory := os.environ.get(DIRECTORY):
            yield from self._of_all_workers(Path(directory))
        else:
            yield from REGISTRY.collect()
        family = GaugeMetricFamily("office_hours_forbid", "Whether office hours forbid it now.", labels=["operation"])
        for operation, forbidden in self._forbids().items():
            family.add_metric([operation], float(forbidden))
        yield family

    def _of_all_workers(self, directory: Path) -> list[Metric]:
        """Return what the files of the workers hold, and nothing if they cannot be read."""
        look_after_files()
        try:
            forget_dead_workers(directory)
            return list(MultiProcessCollector(CollectorRegistry(), str(directory)).collect())  # type: ignore[no-untyped-call]
        except UNREADABLE as error:
            if not self._is_failure_logged:
                self._is_failure_logged = True
                logger.error("figures not read", folder=str(directory), error=str(error))
            return []


def forget_dead_workers(directory: Path) -> None:
    """A worker that was killed no longer uses connections. What it counted stays."""
    for path in directory.glob("gauge_live*_*.db"):
        pid = path.stem.rsplit("_", 1)[-1]
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), str(directory))  # type: ignore[no-untyped-call]
