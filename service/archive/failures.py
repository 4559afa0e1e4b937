"""What has failed in a batch, and whether rows are the reason."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.archive.lead_ids import LeadIDs
from service.database.statements import Statement
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT

LONGEST_SEARCH = 1.0
"""Seconds for which a batch that is one transaction looks for the leads that statements fail for. Then it lets go of
everything: its leads are locked, and behind an ALTER TABLE that waits for it the dialler waits."""

MOST_SEARCHES = 3
"""A search may also last as long as all searches of the batch took, divided by this. So a batch of thousands of such leads
comes to its end."""


class LongSearchError(Exception):
    """A batch is to let go of everything, and to begin again: statements leave out the leads that they have failed for."""


@dataclass
class Failures:
    """The leads for which statements have failed, one by one."""

    given: Counter[Statement] = field(default_factory=Counter)
    """How many leads each statement was to be run for."""
    codes: dict[Statement, list[int | None]] = field(default_factory=lambda: defaultdict(list))
    left_alone: dict[Statement, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The leads for which each statement has failed: it is not run for them again."""
    done: dict[Statement, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The leads for which each statement has been run without an error."""
    more_to_come: bool = False
    """Whether the statements will be run for more leads of the batch."""
    blocked: DatabaseError | None = None
    """The error of a statement if a lock was in its way, so that the transaction has ended."""
    _searches_since: float | None = None
    """When the first lead was found in this transaction, by the clock of the event loop."""
    _searched: float = 0.0
    """Seconds of all searches before."""

    def begin_again(self) -> None:
        """Begin the batch again, in another transaction."""
        self.given.clear()
        self._searched += self._seconds
        self._searches_since = None

    def give(self, statement: Statement, leads: LeadIDs) -> LeadIDs:
        """Count the leads that a statement is to be run for. Return those that it has not failed for."""
        self.given[statement] += len(leads)
        return leads.difference(LeadIDs(self.left_alone[statement]))

    def leave_alone(self, statement: Statement, lead_id: int) -> None:
        """Run a statement for a lead no more. Raises LongSearchError if such leads have been looked for long enough."""
        self.left_alone[statement].add(lead_id)
        if self._searches_since is None:
            self._searches_since = asyncio.get_running_loop().time()
        if self._seconds >= max(LONGEST_SEARCH, self._searched / MOST_SEARCHES):
            raise LongSearchError

    @property
    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._searches_since if self._searches_since is not None else 0.0

    def must_look_again(self, transaction: Transaction, error: DatabaseError | None = None) -> bool:
        """Return whether the transaction has ended: a lock was in the way of a statement, as its error says, or of a question.
        Before anything else is changed, the tables must be looked at: they may have been altered."""
        if error and error.code in BLOCKED:
            self.blocked = error
        elif not self.blocked and not transaction.knows_tables:
            self.blocked = DatabaseError("a table was locked for too long", LOCK_WAIT_TIMEOUT)
        return self.blocked is not None

    def copy(self) -> Failures:
        """Return a copy of what was noted. Where a batch is not one transaction, each chunk is run for its leads once."""
        return Failures(Counter(self.given), defaultdict(list, {name: list(codes) for name, codes in self.codes.items()}))

    def take_back(self, before: Failures, done: Mapping[Statement, int]) -> None:
        """Forget what was noted since `before`, since it is tried again, but not what was done: how many rows each statement
        has changed."""
        self.given, self.codes = before.given + Counter(done), before.codes

    def all_failed(self, statement: Statement, error: DatabaseError) -> bool:
        """Count a lead. Return whether the statement has failed with this error for all leads of the batch, and it is not
        certain that rows are the reason."""
        self.codes[statement].append(error.code)
        same = self.codes[statement] == [error.code] * self.given[statement]
        return same and not self.more_to_come and not error.is_certainly_of_a_row
