"""Tell supervisors what batches did, in Vicidial's Admin Change Log (ADMIN_LOG=on).

The row is written after the batch is committed, in a transaction of its own. If it cannot be written, the batch has been
processed all the same: the log and a metric say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import structlog

from service.database.pool import Database
from service.database.statements import Statements, literal, text
from service.database.transaction import Transaction
from service.errors import DatabaseError, Problem
from service.mariadb_errors import ACCESS_DENIED, LOCK_WAIT_TIMEOUT, NO_SUCH_TABLE
from service.observability.metrics import ADMIN_LOG_FAILURES
from service.tables.preconditions.server import Session
from service.tables.privileges import ADMIN_LOG, Grants

TIMEOUT = 1.0
"""Seconds that an answer waits for the row. After that, the server aborts the statement too."""

OTHERS = re.compile(r"[^A-Za-z0-9 _.,:|=\[\]{}-]")
"""Vicidial's pages may show a text as HTML. Only characters that mean nothing there are written."""

logger = structlog.get_logger()


class AdminLog:
    """Writes rows to vicidial_admin_log, on a connection of its own, so that no batch waits for it in the pool."""

    def __init__(self, database: Database | None, statements: Statements) -> None:
        """database: a pool of one connection with TIMEOUT; None: write nothing."""
        self._database = database
        self._statements = statements

    async def connect(self) -> None:
        if self._database:
            await self._database.connect()

    async def disconnect(self) -> None:
        if self._database:
            await self._database.disconnect()

    async def write(
        self, operation: str, *, key: str, address: str, request: Mapping[str, Any], result: Mapping[str, Any], seconds: float
    ) -> None:
        """Write the row of a batch that changed something, or may have. Never raise an error of the database.

        operation: archive or dearchive. key: the name of the API key. address: that of the caller. request, result: the fields
        of the request, and of what was done; no result if the outcome is not known. seconds: the time that is left to answer.
        """
        changed = not result or any(result[name] for name in ("insert_count", "update_count", "delete_count"))
        if self._database is None or not changed:
            return
        values = {
            "user": _plain(key, 20),
            "ip_address": _plain(address.removeprefix("::ffff:"), 15),
            "event_code": f"'LEAD ARCHIVE API {operation.upper()}'",
            "event_notes": _plain(notes(operation, request, result)),
        }
        try:
            async with self._database.transaction(max(0.1, min(TIMEOUT, seconds))) as transaction:
                await transaction.execute(self._statements.insert_admin_log.fill(values))
        except DatabaseError as error:
            ADMIN_LOG_FAILURES.inc()
            logger.error("admin log row lost", operation=operation, error=error.text, code=error.code)

    async def note(self, transaction: Transaction) -> Problem | None:
        """Return a note if rows cannot be written. Raises DatabaseError if the server does not answer."""
        if self._database is None:
            return None
        values = dict.fromkeys(("user", "ip_address", "event_code", "event_notes"), "''")
        statement = self._statements.insert_admin_log.fill(values)
        try:
            await transaction.select(self._statements.prepare.fill({"statement": literal(statement)}))
        except DatabaseError as error:
            if error.code == NO_SUCH_TABLE:
                return Problem(f"there is no table {ADMIN_LOG}: batches are not in the Admin Change Log")
            if error.code == LOCK_WAIT_TIMEOUT:
                return Problem(f"another session has locked {ADMIN_LOG}: batches are not in the Admin Change Log")
            if not error.from_server:
                raise
            if error.code not in ACCESS_DENIED:
                return Problem(f"{ADMIN_LOG} is not as Vicidial makes it: batches are not in the Admin Change Log")
            (row,) = await transaction.select(self._statements.describe_session.fill())
            session = Session(*row)
            return Problem(
                f"the account may not write to {ADMIN_LOG}: batches are not in the Admin Change Log",
                Grants(session.database, session.account).statement("INSERT", ADMIN_LOG),
            )
        return None


def notes(operation: str, request: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return what was done, in the form of Vicidial's own script, with the conditions and the ids. result: empty if it is not
    known."""
    source, target = ("vicidial_list", "vicidial_list_archive")[:: 1 if operation == "archive" else -1]
    where = f"where {json.dumps(request['where'])}|" if "where" in request else ""
    asked = f"requested lead_ids {' '.join(map(str, request['lead_ids']))}|"
    if not result:
        return f"outcome not known: {source} leads may have been copied to {target} and deleted|{where}{asked}"
    deleted = " ".join(map(str, result["deleted_lead_ids"]))
    return (
        f"{result['insert_count']} {source} leads copied to {target}|{result['update_count']} {target} leads updated|"
        f"{result['delete_count']} {source} leads deleted|{where}"
        f"deleted lead_ids {deleted or 'none'}|{asked}"
    )


def _plain(value: str, length: int | None = None) -> str:
    """Return a text in SQL, without characters that mean something in HTML. length: in characters."""
    return text(OTHERS.sub("?", value)[:length], None, None)
