"""The audit: where did lead 4711 go, when, and who asked. Two lines a batch: one before it can change anything, one of what
came of it.

With AUDIT_LOG they go to a file of their own, and the first is on disk before the batch may change a lead: an auditor finds,
for every lead that has left its table, a line that was written before it could leave. Without it they go to the log like any
other line, which is never waited for.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from service import metrics

logger = structlog.get_logger()


class Outcome(StrEnum):
    """What came of a batch."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    NOT_KNOWN = "not known"


class AuditError(Exception):
    """The audit log cannot be written. The batch must not change anything."""


class AuditFile:
    """AUDIT_LOG: one JSON object a line. Several processes append to it, and it may be renamed while they do (logrotate)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.problem: str | None = None
        """Why the last line could not be written, None if it could."""

    async def append(self, record: dict[str, Any]) -> None:
        """Return when the line is on disk. Raises AuditError."""
        line = json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"
        await asyncio.to_thread(self._append, line)

    async def check(self) -> str | None:
        """Return why lines cannot be written, None if they can. Writes a line only if the last one failed."""
        if self.problem:
            try:
                await self.append({"event": "writable again", "time": now()})
            except AuditError as error:
                return str(error)
        return None

    def _append(self, line: bytes) -> None:
        try:
            with self._lock, self._opened() as descriptor:
                size = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, line) < len(line):
                        raise OSError(0, "a line was cut off: the disk is full")
                    os.fdatasync(descriptor)
                except OSError:
                    # Half a line would spoil the next one. Nobody else writes: this process holds the file's lock.
                    os.ftruncate(descriptor, size)
                    raise
        except OSError as error:
            metrics.AUDIT_FAILURES.inc()
            self.problem = f"the audit log cannot be written: {error.strerror or error}"
            raise AuditError(self.problem) from error
        self.problem = None

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Yield the file, locked against other processes. It is opened anew for each line: it may have been renamed or
        removed."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


class Audit:
    """Keeps the two lines of each batch."""

    def __init__(self, path: Path | None) -> None:
        """path: AUDIT_LOG; None: the lines go to the log."""
        self.file = AuditFile(path) if path else None

    def batch(self, operation: str, key: str, fields: dict[str, Any]) -> AuditedBatch:
        """Return the lines of a batch. operation: archive or dearchive; fields: the request's."""
        return AuditedBatch(self.file, operation, key, fields)


class AuditedBatch:
    """The two lines of a batch. The second has the batch_id of the first; the request_id is whatever the caller sent."""

    def __init__(self, file: AuditFile | None, operation: str, key: str, fields: dict[str, Any]) -> None:
        self._file = file
        self._operation = operation
        self._common = {
            "batch_id": uuid.uuid4().hex,
            "operation": operation,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
            "key": key,
        }
        self._fields = fields
        self._intended = False

    async def intend(self) -> None:
        """Tell what is about to be done, once however often the batch is tried. Raises AuditError if it may not be done."""
        if self._intended:
            return
        if self._file:
            await self._file.append({"event": "intent", "time": now(), **self._common, **self._fields})
        else:
            logger.info(f"{self._operation} intended", **self._common, **self._fields)
        self._intended = True

    async def conclude(self, outcome: Outcome, result: dict[str, Any]) -> None:
        """Tell what came of it, if it was intended. What has been done stays done, whether this can be written or not."""
        if not self._intended:
            return
        facts = {"outcome": outcome.value, **result}
        if self._file:
            try:
                await self._file.append({"event": "outcome", "time": now(), **self._common, **facts})
            except AuditError as error:
                logger.error("audit line lost", error=str(error), **self._common, **facts)
        elif outcome is Outcome.COMMITTED:
            logger.info(f"leads {self._operation}d", **self._common, **self._fields, **facts)
        else:
            logger.warning(f"{self._operation} not committed", **self._common, **self._fields, **facts)


def now() -> str:
    """Return the time in UTC, as the log has it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
