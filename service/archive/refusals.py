"""What the database refused lately for a reason that a look at the tables does not show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.errors import DatabaseError, Problem
from service.mariadb_errors import (
    CONNECTION_KILLED,
    LOCK_WAIT_TIMEOUT,
    NO_SESSION,
    STATEMENT_TIMEOUT,
    UNFIT_SERVER,
    UNUSABLE_SESSION,
)
from service.tables.definitions import TablePair
from service.tables.preconditions.server import server_problem

REFUSAL_AGE = 10.0
"""Seconds for which /readyz reports a refusal. A load balancer sends no batches while it is red."""

SETTLED = 1.2
"""Seconds for which the statement of a batch whose time was over may wait on, and keep a table without row locks locked: one
second, as wait_briefly says, and a bit."""

LOCKED = Problem(
    "another session has locked a table or the server for writing, such as a backup, LOCK TABLES or ALTER TABLE, and no batch "
    "gets past it: SHOW PROCESSLIST shows it"
)


@dataclass
class Streak:
    """Batches in a row that were refused by the database, or whose outcome is not known."""

    leads: frozenset[int]
    """The leads of each of them: somebody may keep one of these locked, and batches of other leads can be processed."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    count: int = 0
    counted: float = 0.0
    """When the last one was counted, by the clock of the event loop."""
    until: float = 0.0
    """When it is no longer reported."""
    error: DatabaseError | None = None
    """The last error."""
    has_timed_out: bool = False
    """Whether the time was over when the outcome of a batch was not known."""

    def problem(self, pair: TablePair) -> Problem | None:
        """Return what /readyz says, None if a locked lead or a single mishap may be the reason. pair: the two tables."""
        commit_waits = self.has_timed_out and pair.one_transaction  # it never waits for a lead
        has_row_locks = pair.source.transactional or pair.target.transactional
        if not (commit_waits or (self.count > 1 and not (self.leads and has_row_locks))):
            return None
        assert self.error
        if commit_waits and self.error.code == LOCK_WAIT_TIMEOUT and not self.error.outcome_known:
            return LOCKED
        last = f"with error {self.error.code}" if self.error.code else "without an answer"
        return Problem(
            f"no batch was processed since {self.since:%Y-%m-%d %H:%M:%S} UTC: each one failed in the database, the last one "
            f"{last}. The log says why, and SHOW PROCESSLIST shows what batches wait for"
        )


class Refusals:
    """Remembers the last refusal, and how many batches were refused in a row, until a batch is processed."""

    def __init__(self) -> None:
        self._last: DatabaseError | None = None
        self._until = 0.0
        self._settled = 0.0
        self._streak: Streak | None = None

    def note(self, error: DatabaseError, lead_ids: Collection[int] = (), began: float = 0.0) -> None:
        """Remember a refusal. lead_ids: of the batch, empty if the request was none: then only what concerns_batches() is
        remembered, and a wait, which a look for locks explains. began: when it began, by the clock of the event loop."""
        if error.is_hurried:  # such as by a client that sends its body slowly
            return
        is_lasting = error.from_server and not error.is_transient
        if waited(error) or (is_lasting and (lead_ids or concerns_batches(error))):
            self._last = error
            self._renew()
        if error.code is None:
            self._settled = asyncio.get_running_loop().time() + SETTLED
        if lead_ids:
            self._count(error, lead_ids, began)

    def _count(self, error: DatabaseError, lead_ids: Collection[int], began: float) -> None:
        now = asyncio.get_running_loop().time()
        streak = self._streak = self._streak or Streak(frozenset(lead_ids))
        streak.error = error
        streak.until = now + REFUSAL_AGE
        streak.has_timed_out = streak.has_timed_out or (waited(error) and not is_lost(error) and not error.outcome_known)
        # What breaks off several batches at once, such as a restart of the server, is one mishap: the next batch tells more.
        if began >= streak.counted:
            streak.count += 1
            streak.counted = now
            # A connection is not lost because somebody has locked a lead.
            streak.leads &= frozenset(() if is_lost(error) else lead_ids)

    def forget(self) -> None:
        """A batch was processed."""
        self._last = self._streak = None

    def explain(self) -> None:
        """A look at the tables has found the reason. When it is gone, nothing is to be said until a batch is refused again."""
        self._last = None
        if self._streak:
            self._streak.until = 0.0

    def seconds_to_settle(self) -> float:
        """Return the seconds after which nothing that was refused holds a lock any more."""
        return self._settled - asyncio.get_running_loop().time()

    async def problem(self, is_locked: Callable[[], Awaitable[bool | None]], pair: TablePair) -> Problem | None:
        """Return what /readyz says of what was refused, None if there is nothing to say.

        is_locked: finds out whether a table or the whole server is locked now. pair: the two tables. A batch that has waited
        for a single lead is no reason to send no other batches. The error message may contain lead data, so it is in the log
        only.
        """
        now = asyncio.get_running_loop().time()
        error, streak = self._last, self._streak
        if error and now < self._until:
            if not waited(error):
                return server_problem(error) or Problem(
                    f"the database refused the last batch with error {error.code}; the log says why"
                )
            if await is_locked():
                self.explain()
                self._last = error  # as long as the lock is held
                self._renew()
                return LOCKED
        return streak.problem(pair) if streak and now < streak.until else None

    def _renew(self) -> None:
        self._until = asyncio.get_running_loop().time() + REFUSAL_AGE


def is_lost(error: DatabaseError) -> bool:
    """Return whether the connection was lost or killed."""
    if error.code is None:
        return isinstance(error.__cause__, ConnectionError | RuntimeError)  # RuntimeError: uvloop has closed it
    return error.code == CONNECTION_KILLED or not error.from_server


def waited(error: DatabaseError) -> bool:
    """Return whether a batch may have been refused because it waited for a lock."""
    return error.code in {None, LOCK_WAIT_TIMEOUT, STATEMENT_TIMEOUT}


def concerns_batches(error: DatabaseError) -> bool:
    """Return whether what the database has refused to a search or a comparison it would refuse to a batch, too.

    So it is with a connection, a session, the server, a missing privilege and an unusable table. Any other error is about the
    statement of that request: somebody has ended it (KILL QUERY), or it was too large for the server's temporary files.
    """
    return error.code in {UNUSABLE_SESSION, *UNFIT_SERVER, *NO_SESSION} or server_problem(error) is not None
