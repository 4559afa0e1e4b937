"""The audit log: where did lead 4711 go, when, and who asked for it. Each batch has two records: what it is about to do,
written before it can change anything, and its outcome.

With AUDIT_LOG, the records go to a file, and the first one is on disk before the batch may change a lead. So for every lead
that left its table there is a record that was written before. Without AUDIT_LOG, the records go to the log, and nobody waits
for them. docs/logs.md shows how to search them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from service.errors import AuditError
from service.observability import metrics
from service.observability.audit_file import ENDED, AuditFile, Failure

OUTCOME_TIMEOUT = 0.5
"""Seconds that an answer waits for its second record. The record is written in any case."""

logger = structlog.get_logger()


class Outcome(StrEnum):
    """The outcome of a batch."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    """Nothing was changed."""
    NOT_KNOWN = "not known"


class Audit:
    """Writes the two records of each batch."""

    def __init__(self, path: Path | None) -> None:
        """path: AUDIT_LOG; None: the records go to the log."""
        self._file = AuditFile(path) if path else None
        self._open: set[str] = set()
        """The batch_id of each batch that has its first record and not yet its second."""

    def batch(self, operation: str, key: str, fields: dict[str, Any]) -> AuditedBatch:
        """Return the records of a batch. operation: archive or dearchive. key: the name of the API key. fields: those of the
        request."""
        return AuditedBatch(self._file, self._open, operation, key, fields)

    async def problem(self) -> str | None:
        """Return why AUDIT_LOG cannot be written. None if it can, or if it is not set."""
        return await self._file.check({"event": "writable again", "time": now()}) if self._file else None

    async def drain(self) -> None:
        """Wait at the end of the process until all records are on disk, at most as long as AuditFile.drain() waits.

        The log reports each outcome that is not on disk in time.
        """
        if self._file:
            await self._file.drain(is_more_to_come=lambda: bool(self._open))


class AuditedBatch:
    """The two records of a batch. Both have the same batch_id; the request_id is what the caller sent."""

    def __init__(
        self, file: AuditFile | None, open_batches: set[str], operation: str, key: str, fields: dict[str, Any]
    ) -> None:
        self._file = file
        self._open = open_batches
        self._operation = operation
        self._common: dict[str, Any] = {
            "batch_id": uuid.uuid4().hex,
            "operation": operation,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
            "key": key,
        }
        self._fields = fields
        self.intended = False
        """Whether the first record was written, or may have been: then the batch may have changed something."""

    async def intend(self, leaving: Sequence[int]) -> None:
        """Record what an attempt is about to do. Raises AuditError if the batch must not go on.

        leaving: the leads that are in the source and that the batch is going to delete there. On InnoDB they are locked. So of
        all records that name a lead, the last one belongs to the batch that took the lead away, whatever the outcomes of the
        others.
        """
        facts = {**self._fields, "leaving_lead_ids": list(leaving)}
        if self._file is None:
            logger.info(f"{self._operation} intended", **self._common, **facts)
            self.intended = True
            return
        self._open.add(self._common["batch_id"])
        before = self.intended
        self.intended = True  # a task that is cancelled now does not know whether the record is on disk
        try:
            await self._file.append({"event": "intent", "time": now(), **self._common, **facts})
        except AuditError as error:
            self.intended = before or error.may_be_written
            raise

    async def conclude(self, outcome: Outcome, result: dict[str, Any]) -> None:
        """Record the outcome if the batch has its first record. The record is written even if this is cancelled. What the
        batch has done stays done, whether or not the record can be written."""
        try:
            future = self._submit_outcome(outcome, result) if self.intended else None
        finally:
            self._open.discard(self._common["batch_id"])
        if future:
            await asyncio.wait([asyncio.wrap_future(future)], timeout=OUTCOME_TIMEOUT)

    def _submit_outcome(self, outcome: Outcome, result: dict[str, Any]) -> Future[Failure | None] | None:
        facts = {"outcome": outcome.value, **result}
        if self._file:
            future = self._file.submit({"event": "outcome", "time": now(), **self._common, **facts})

            def on_done(done: Future[Failure | None]) -> None:
                if failure := _failure_of(done):
                    logger.error("audit line lost", error=failure.reason, **self._common, **facts)

            future.add_done_callback(on_done)
            return future
        if outcome is Outcome.COMMITTED:
            logger.info(f"leads {self._operation}d", **self._common, **self._fields, **facts)
        else:
            logger.warning(f"{self._operation} not committed", **self._common, **self._fields, **facts)
        return None


def _failure_of(done: Future[Failure | None]) -> Failure | None:
    """Return why a record is not known to be written, None if it is on disk."""
    if done.cancelled():
        return Failure(ENDED)
    if error := done.exception():  # there was not even the memory to say so
        metrics.AUDIT_FAILURES.inc()
        return Failure(repr(error))
    return done.result()


def now() -> str:
    """Return the time in UTC, in a form whose alphabetical order is the order of time."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
