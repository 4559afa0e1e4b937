"""What has failed in a batch, and whether rows are the reason."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

import structlog

from service.archive.lead_ids import NONE, LeadIDs
from service.database.statements import Statement
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT
from service.tables.definitions import TablePair

logger = structlog.get_logger()

LONGEST_SEARCH = 1.0
"""Seconds for which a batch, or its chunk, looks for the leads that statements fail for. Then it lets go of everything: its
leads are locked, and behind an ALTER TABLE that waits for it the dialler waits."""

MOST_SEARCHES = 3
"""A search may also last as long as all searches of the batch or the chunk took, divided by this. So a batch of thousands of
such leads comes to its end."""

LONGEST_SEARCH_WITHOUT_ROLLBACK = 0.25
"""Seconds for which a chunk looks for them if nothing that it has changed is undone when it lets go. The dialler waits behind
LOCK TABLES."""


class BeginAgainError(DatabaseError):
    """A batch, or its chunk, is to let go of everything, and to begin again: statements leave out the leads that they have
    failed for."""


@dataclass
class Failures:
    """The leads for which statements have failed, one by one."""

    codes: dict[Statement, dict[int, int | None]] = field(default_factory=lambda: defaultdict(dict))
    """The leads for which each statement has failed, with the errors: it is not run for them again."""
    done: dict[Statement, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The leads that each statement has changed."""
    unsure: dict[Statement, list[tuple[LeadIDs, int]]] = field(default_factory=lambda: defaultdict(list))
    """Leads of which each statement has changed some, and how many."""
    more_to_come: bool = False
    """Whether the statements will be run for more leads of the batch."""
    blocked: DatabaseError | None = None
    """Why the transaction has ended: a lock was in the way of a statement, or a BeginAgainError."""
    at_the_end: BeginAgainError | None = None
    """Why a batch that is one transaction is to begin again, and not to commit, when all that fails is known."""
    _worked: set[Statement] = field(default_factory=set)
    """The statements that have been run without an error."""
    _searches_since: float | None = None
    """When the first lead was found in this transaction, by the clock of the event loop."""
    _searched: float = 0.0
    """Seconds of all searches before."""

    def start_attempt(self) -> None:
        """Run the statements of the batch or its chunk from the first one on, in another transaction."""
        self.blocked = self.at_the_end = None
        self.done.clear()
        self.unsure.clear()
        self._searched += self._seconds
        self._searches_since = None

    def start_chunk(self) -> None:
        """Begin another chunk. What it has changed is permanent when it ends."""
        self._searched, self._searches_since = 0.0, None

    def left_alone(self, *statements: Statement) -> LeadIDs:
        """Return the leads for which one of these statements has failed."""
        return LeadIDs({lead_id for statement in statements for lead_id in self.codes[statement]})

    def leave_out(self, statement: Statement, leads: LeadIDs) -> None:
        """Have a statement run for some leads no more, though it has not failed for them."""
        self.codes[statement].update(dict.fromkeys(leads))

    def note_done(self, statement: Statement, changed: LeadIDs, others: LeadIDs = NONE, number: int = 0) -> None:
        """Take note that a statement works, of the leads that it has changed, and of how many others."""
        self._worked.add(statement)
        self.done[statement].update(changed)
        if number > 0:
            self.unsure[statement].append((others, number))

    def leave_alone(self, statement: Statement, leads: LeadIDs, error: DatabaseError, *, is_last: bool) -> None:
        """Run a statement for a single lead no more. Raise its error if the statement has failed with it for all leads of the
        batch, and it is not certain that rows are the reason. is_last: whether it is run for no other lead after this."""
        (lead_id,) = leads
        codes = self.codes[statement]
        codes[lead_id] = error.code
        has_failed_for_all = is_last and not self.more_to_come and statement not in self._worked
        if has_failed_for_all and not error.is_certainly_of_a_row and set(codes.values()) == {error.code}:
            raise error
        logger.warning("lead left alone", lead_id=lead_id, statement=statement.name, code=error.code)
        if self._searches_since is None:
            self._searches_since = asyncio.get_running_loop().time()

    def searches_long(self, transaction: Transaction, pair: TablePair) -> bool:
        """Return whether such leads have been looked for long enough in a transaction."""
        has_rollback = pair.source.transactional or pair.target.transactional
        longest = max(LONGEST_SEARCH, self._searched / MOST_SEARCHES) if has_rollback else LONGEST_SEARCH_WITHOUT_ROLLBACK
        return min(self._seconds, transaction.seconds) >= longest

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
