"""What has failed in a batch, and whether rows are the reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.database.statements import Statement
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT


@dataclass
class Failures:
    """The leads for which statements have failed, one by one."""

    given: Counter[Statement] = field(default_factory=Counter)
    """How many leads each statement was to be run for."""
    codes: dict[Statement, list[int | None]] = field(default_factory=lambda: defaultdict(list))
    more_to_come: bool = False
    """Whether the statements will be run for more leads of the batch."""
    blocked: DatabaseError | None = None
    """The error of a statement if a lock was in its way, so that the transaction has ended."""

    def must_look_again(self, transaction: Transaction, error: DatabaseError | None = None) -> bool:
        """Return whether the transaction has ended: a lock was in the way of a statement, as its error says, or of a question.
        Before anything else is changed, the tables must be looked at: they may have been altered."""
        if error and error.code in BLOCKED:
            self.blocked = error
        elif not self.blocked and not transaction.knows_tables:
            self.blocked = DatabaseError("a table was locked for too long", LOCK_WAIT_TIMEOUT)
        return self.blocked is not None

    def copy(self) -> Failures:
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
