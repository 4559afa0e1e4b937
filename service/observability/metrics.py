"""The metrics for Prometheus. With several workers, the values of all of them together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, values

from service.observability.metrics_files import Failure, ReservedFile
from service.observability.metrics_folder import MetricsFolder

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
FOUND = Counter("leads_found_total", "Leads that requests for leads by conditions found.", ["table"])
UNMATCHED = Counter("leads_unmatched_total", "Leads that were left alone since they did not match where.", ["operation"])
REMAINING = Counter("leads_remaining_total", "Leads that were asked to be deleted, and that stayed.", ["operation"])
RETRIES = Counter("database_retries_total", "Transactions that were retried, by MariaDB's error number.", ["code"])
TOO_MANY = Counter("requests_above_limit_total", "Requests that were refused since their key had too many in progress.")
LOG_LINES_LOST = Counter("log_lines_lost_total", "Log lines that could not be written.")
AUDIT_FAILURES = Counter("audit_failures_total", "Lines that could not be written to AUDIT_LOG.")
ADMIN_LOG_FAILURES = Counter("admin_log_failures_total", "Batches that could not be written to vicidial_admin_log.")
IN_USE = Gauge("database_pool_in_use", "Connections that a request is using.", multiprocess_mode="livesum")
WAITING = Gauge("database_pool_waiting", "Requests that wait for a connection.", multiprocess_mode="livesum")
WAITING_TURN = Gauge("batches_waiting", "Batches that wait for their turn.", multiprocess_mode="livesum")
WAITING_BODIES = Gauge("large_bodies_waiting", "Large bodies that wait to be parsed.", multiprocess_mode="livesum")
PACE_GENTLE = Gauge("pace_gentle", "Whether the last batch was gentle to the dialler.", multiprocess_mode="livemax")

logger = structlog.get_logger()


class Kept:
    """Where the values are kept."""

    folder: MetricsFolder | None = None


def keep_in_files(folder: MetricsFolder) -> None:
    """Keep all values in files in a folder, where they are added up. Call this before anything is counted.

    prometheus_client decides this by an environment variable when it is imported, which is before the settings are read.
    """
    Kept.folder = folder
    os.environ[DIRECTORY] = str(folder.path)
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined]
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    # Metrics with labels ask for their ValueClass when they are first used.
    waiting = (WAITING, WAITING_TURN, WAITING_BODIES)
    for figure in (IN_USE, *waiting, PACE_GENTLE, TOO_MANY, LOG_LINES_LOST, AUDIT_FAILURES, ADMIN_LOG_FAILURES):
        figure._metric_init()


def look_after_files() -> None:
    """Restore the files that somebody has deleted, such as a program that tidies TMPDIR. Log once that values are not kept."""
    if Kept.folder:
        try:
            if Kept.folder.restore():
                logger.warning("figures restored", folder=str(Kept.folder.path))
        except OSError as error:
            Failure.reason = error.strerror or str(error)
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
        (UNMATCHED, len(result["unmatched_lead_ids"])),
    ):
        counter.labels(operation).inc(leads)


def count_found(table: str, leads: int) -> None:
    """Count the leads of a page. table: list or archive."""
    FOUND.labels(table).inc(leads)


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
