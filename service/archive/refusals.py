"""The last batch that the database refused for a reason that a look at the tables does not show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.errors import DatabaseError, Problem
from service.mariadb_errors import LOCK_WAIT_TIMEOUT, STATEMENT_TIMEOUT
from service.tables.preconditions.server import server_problem

REFUSAL_AGE = 10.0
"""Seconds for which /readyz reports a refusal. A load balancer sends no batches while it is red."""


LOCKED = Problem(
    "another session has locked a table or the server for writing, such as a backup, LOCK TABLES or ALTER TABLE, and no batch "
    "gets past it: SHOW PROCESSLIST shows it"
)


class Refusals:
    """Remembers the last refusal until a batch is processed, at most REFUSAL_AGE seconds."""

    def __init__(self) -> None:
        self._last: DatabaseError | None = None
        self._until = 0.0

    def note(self, error: DatabaseError) -> None:
        """Remember a refusal. Ignored if nobody can do anything about it, or if it says that the server does not answer, which
        a look shows."""
        if waited(error) or (error.from_server and not error.is_transient):
            self._last = error
            self._renew()

    def forget(self) -> None:
        """A batch was processed, or a look at the tables has found the reason."""
        self._last = None

    async def problem(self, is_locked: Callable[[], Awaitable[bool | None]]) -> Problem | None:
        """Return what /readyz says of the last refusal, None if there is nothing to say.

        is_locked: finds out whether a table or the whole server is locked now. A batch that has waited for a single lead is no
        reason to send no other batches. The error message may contain lead data, so it is in the log only.
        """
        error = self._last
        if error is None or asyncio.get_running_loop().time() >= self._until:
            return None
        if waited(error):
            if await is_locked():
                self._renew()
            elif error.outcome_known or not error.from_server:
                return None
            return LOCKED
        if problem := server_problem(error):
            return problem
        return Problem(f"the database refused the last batch with error {error.code}; the log says why")

    def _renew(self) -> None:
        self._until = asyncio.get_running_loop().time() + REFUSAL_AGE


def waited(error: DatabaseError) -> bool:
    """Return whether a batch may have been refused because it waited for a lock. If its outcome is not known, COMMIT has
    waited, which never waits for a lead."""
    return error.code in {None, LOCK_WAIT_TIMEOUT, STATEMENT_TIMEOUT}
