"""The audit: where did lead 4711 go, when, and who asked. Two lines a batch: what it is about to do, before it can change
anything, and what came of it.

With AUDIT_LOG they go to a file of their own, and the first is on disk before the batch may change a lead: an auditor finds,
for every lead that has left its table, a line that was written before it could leave. Without it they go to the log like any
other line, which is never waited for. docs/logs.md tells how to ask.
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
from service.observability.audit_file import ENDED, AuditFile

OUTCOME_TIMEOUT = 0.5
"""Seconds that an answer waits for its second line, which is written all the same."""

logger = structlog.get_logger()


class Outcome(StrEnum):
    """What came of a batch."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    """Nothing was changed."""
    NOT_KNOWN = "not known"


class Audit:
    """Keeps the two lines of each batch."""

    def __init__(self, path: Path | None) -> None:
        """path: AUDIT_LOG; None: the lines go to the log."""
        self._file = AuditFile(path) if path else None
        self._open: set[str] = set()
        """The batch_id of each batch that has its first line and not yet its second."""

    def batch(self, operation: str, key: str, fields: dict[str, Any]) -> AuditedBatch:
        """Return the lines of a batch. operation: archive or dearchive; key: the API key's name; fields: the request's."""
        return AuditedBatch(self._file, self._open, operation, key, fields)

    async def problem(self) -> str | None:
        """Return why AUDIT_LOG cannot be written, None if it can or is not set."""
        return await self._file.check({"event": "writable again", "time": now()}) if self._file else None

    async def drain(self) -> None:
        """Wait until all lines are on disk, at the end of the process, as long as AuditFile.drain() does.

        The log tells of each outcome that is not on disk in time.
        """
        if self._file:
            await self._file.drain(is_more_to_come=lambda: bool(self._open))


class AuditedBatch:
    """The two lines of a batch. The second has the batch_id of the first; the request_id is whatever the caller sent."""

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
        self._intended = False

    async def intend(self, leaving: Sequence[int]) -> None:
        """Tell what is about to be done, at each attempt. Raises AuditError if it may not be done.

        leaving: the leads that are in the source and that the batch is to delete there. On InnoDB they are locked, so that of
        all lines that name a lead the last one tells of the batch that took it away, whatever is known of the others.
        """
        facts = {**self._fields, "leaving_lead_ids": list(leaving)}
        if self._file is None:
            logger.info(f"{self._operation} intended", **self._common, **facts)
            self._intended = True
            return
        self._open.add(self._common["batch_id"])
        before, self._intended = self._intended, True  # whoever is cancelled now does not know whether it is written
        try:
            await self._file.append({"event": "intent", "time": now(), **self._common, **facts})
        except AuditError as error:
            self._intended = before or error.may_be_written
            raise

    async def conclude(self, outcome: Outcome, result: dict[str, Any]) -> None:
        """Tell what came of it, if it was intended. The line is written even if this is cancelled; what has been done stays
        done, whether it can be written or not."""
        try:
            future = self._submit_outcome(outcome, result) if self._intended else None
        finally:
            self._open.discard(self._common["batch_id"])
        if future:
            await asyncio.wait([asyncio.wrap_future(future)], timeout=OUTCOME_TIMEOUT)

    def _submit_outcome(self, outcome: Outcome, result: dict[str, Any]) -> Future[str | None] | None:
        facts = {"outcome": outcome.value, **result}
        if self._file:
            future = self._file.submit({"event": "outcome", "time": now(), **self._common, **facts})

            def on_done(done: Future[str | None]) -> None:
                if reason := ENDED if done.cancelled() else done.result():
                    logger.error("audit line lost", error=reason, **self._common, **facts)

            future.add_done_callback(on_done)
            return future
        if outcome is Outcome.COMMITTED:
            logger.info(f"leads {self._operation}d", **self._common, **self._fields, **facts)
        else:
            logger.warning(f"{self._operation} not committed", **self._common, **self._fields, **facts)
        return None


def now() -> str:
    """Return the time in UTC. Sorted as texts, times are in their order."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
