"""The metrics for Prometheus. With several workers, the values of all of them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.observability.metrics_files import Failure, ReservedFile

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# When a counter was created is the same moment for all of them: the start of the service. Leave these series out.
disable_created_metrics()  # type: ignore[no-untyped-call]

REQUESTS = Counter("http_requests_total", "Requests that were answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Seconds from a request's headers to the end of its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INSERTED = Counter("leads_inserted_total", "Leads that were inserted into the table they go to.", ["operation"])
UPDATED = Counter("leads_updated_total", "Archived leads that were refreshed since they differed.", ["operation"])
DELETED = Counter("leads_deleted_total", "Leads that were deleted from the table they come from.", ["operation"])
REMAINING = Counter("leads_remaining_total", "Leads that were asked to be deleted, and that stayed.", ["operation"])
RETRIES = Counter("database_retries_total", "Transactions that were retried, by MariaDB's error number.", ["code"])
LOG_LINES_LOST = Counter("log_lines_lost_total", "Log lines that could not be written.")
AUDIT_FAILURES = Counter("audit_failures_total", "Lines that could not be written to AUDIT_LOG.")
IN_USE = Gauge("database_pool_in_use", "Connections that a request is using.", multiprocess_mode="livesum")
WAITING = Gauge("database_pool_waiting", "Requests that wait for a connection.", multiprocess_mode="livesum")
WAITING_TURN = Gauge("batches_waiting", "Batches that wait for their turn.", multiprocess_mode="livesum")
PACE_GENTLE = Gauge("pace_gentle", "Whether the last batch was gentle to the dialler.", multiprocess_mode="livemax")

logger = structlog.get_logger()


def keep_in_files(folder: Path) -> None:
    """Keep all values in files in a folder, where they are added up. Call this before anything is counted.

    prometheus_client decides this by an environment variable when it is imported, which is before the settings are read.
    """
    os.environ[DIRECTORY] = str(folder)
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined]
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    # Metrics with labels ask for their ValueClass when they are first used.
    for figure in (IN_USE, WAITING, WAITING_TURN, PACE_GENTLE, LOG_LINES_LOST, AUDIT_FAILURES):
        figure._metric_init()


def log_failure() -> None:
    """Log once that there was no disk space for a value."""
    if Failure.reason and not Failure.is_logged:
        Failure.is_logged = True
        logger.error("figures not kept", folder=os.environ.get(DIRECTORY), error=Failure.reason)


def count_moved(operation: str, result: Mapping[str, Any]) -> None:
    """Count the leads of a batch. operation: archive or dearchive. result: the fields of the answer."""
    for counter, leads in (
        (INSERTED, result["insert_count"]),
        (UPDATED, result["update_count"]),
        (DELETED, result["delete_count"]),
        (REMAINING, len(result["remaining_lead_ids"])),
    ):
        counter.labels(operation).inc(leads)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(method, route).observe(seconds)


class Waiting:
    """A coroutine that waits for a connection and then has it. A context manager, from the wait to the end."""

    def __init__(self, counted: bool = True) -> None:
        """counted: whether it is counted at all."""
        self._gauge = WAITING
        self._one = int(counted)

    def __enter__(self) -> Waiting:
        self._gauge.inc(self._one)
        return self

    def got_it(self) -> None:
        self._gauge.dec(self._one)
        self._gauge = IN_USE
        self._gauge.inc(self._one)

    def __exit__(self, *_: object) -> None:
        self._gauge.dec(self._one)


class Figures(Collector):
    """All values of all workers, and those that are computed when they are asked for."""

    def __init__(self, forbids: Callable[[], dict[str, bool]]) -> None:
        """forbids: returns for each operation whether office hours forbid it now."""
        self._forbids = forbids

    def collect(self) -> Iterator[Metric]:
        if directory := os.environ.get(DIRECTORY):
            forget_dead_workers(Path(directory))
            yield from MultiProcessCollector(CollectorRegistry(), directory).collect()  # type: ignore[no-untyped-call]
        else:
            yield from REGISTRY.collect()
        family = GaugeMetricFamily("office_hours_forbid", "Whether office hours forbid it now.", labels=["operation"])
        for operation, forbidden in self._forbids().items():
            family.add_metric([operation], float(forbidden))
        yield family


def registry(forbids: Callable[[], dict[str, bool]]) -> CollectorRegistry:
    """Called by generate_latest() and start_http_server()."""
    figures = CollectorRegistry(auto_describe=False)
    figures.register(Figures(forbids))
    return figures


def forget_dead_workers(directory: Path) -> None:
    """A worker that was killed no longer uses connections. What it counted stays."""
    for path in directory.glob("gauge_live*_*.db"):
        pid = path.stem.rsplit("_", 1)[-1]
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), str(directory))  # type: ignore[no-untyped-call]
