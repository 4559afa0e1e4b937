"""Every error that a module of this service raises for another one to handle, in one hierarchy.

    ServiceError
    ├── SettingsError          settings are missing or cannot be understood      ends the process
    ├── StatementError         the files in sql/ are not what the code needs     ends the process
    ├── StartError             something else keeps the service from starting    ends the process
    ├── RefusalError           an answer other than 200, ready to be sent        4xx, 5xx
    ├── CallerGoneError        the caller is gone while the request waits        no answer
    ├── InvalidJSONError       the request body is not JSON                      400
    ├── InvalidBodyError       the request body does not fit the contract        400
    ├── UnknownLeadsError      some leads are in neither table                   404
    ├── LeadsGoneError         leads disappeared in the middle of a batch        503
    ├── AuditError             the audit log cannot be written                   503
    ├── DatabaseError          MariaDB refused, did not answer, or broke off     503
    │   └── ListsChangedError  the lists of leads have stopped to match          503
    └── MendableError          an administrator must change something first     503
        ├── NotReadyError      leads cannot be moved safely: the reasons, the remedies
        └── ConditionError     a condition cannot be checked safely

service/api/error_responses.py turns them into answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from service.mariadb_errors import (
    ACCESS_DENIED,
    NO_SESSION,
    NO_STATEMENT_CAN_BE_PREPARED,
    NO_SUCH_DEFINER,
    NO_SUCH_TABLE,
    READ_ONLY_TABLE,
    ROW_ERRORS,
    SIGNALS_ONLY,
    STATEMENT_ERRORS,
    TRANSIENT_ERRORS,
    UNUSABLE_TABLE,
)

DENIED_TO = re.compile(r"denied (?:to|for) user '(.*?)'@'(.*?)' (?:for|to) ")
"""The account in an error about a missing privilege."""

TEXTS_WITHOUT_DATA = {
    *STATEMENT_ERRORS,
    *TRANSIENT_ERRORS,
    *ACCESS_DENIED,
    *UNUSABLE_TABLE,
    *NO_SESSION,
    NO_SUCH_TABLE,
    NO_STATEMENT_CAN_BE_PREPARED,
}
"""Errors whose messages hold no lead data: names of tables, columns and accounts, numbers."""

NAMES_A_TABLE = {1142, 1143, READ_ONLY_TABLE, *UNUSABLE_TABLE}
"""Errors that end with the name of the table."""


@dataclass(frozen=True)
class Problem:
    """Something that an administrator should know or change: in words, and as a statement of SQL where there is one."""

    message: str
    remedy: str | None = None


class ServiceError(Exception):
    """The base class of all errors of this service."""


class SettingsError(ServiceError):
    """Settings are missing or cannot be understood. The message names each of them; it never holds a password."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StatementError(ServiceError):
    """The files in sql/ are not what the code needs. The message says which file and why."""


class StartError(ServiceError):
    """The service cannot start. The message gives the reason, and how to fix it."""


class RefusalError(ServiceError):
    """A request is refused: the status, the headers and the body of the answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, **fields}
        self.headers = headers


class CallerGoneError(ServiceError):
    """The caller is gone while the request waits for its turn: nothing was changed, and nobody is there to tell."""


class InvalidJSONError(ServiceError):
    """A text is not JSON. The message says what it is instead: "not valid JSON: …"."""


class InvalidBodyError(ServiceError):
    """A request body does not fit the contract. The message is the contract's."""

    def __init__(self, message: str, lead_ids: list[Any] | None = None) -> None:
        """lead_ids: the values that are the reason, as the answer repeats them."""
        super().__init__(message)
        self.lead_ids = lead_ids or []


class UnknownLeadsError(ServiceError):
    """Some of the leads are in neither table, or the caller may not see them. Nothing was changed."""

    def __init__(self, asked: list[int], unknown: Iterable[int]) -> None:
        """asked: all ids, in the order in which the unknown ones are to be named."""
        super().__init__("lead_ids does not exist")
        unknown_ids = set(unknown)
        self.lead_ids = [lead_id for lead_id in asked if lead_id in unknown_ids]


class LeadsGoneError(ServiceError):
    """Another session has taken leads away in the middle of a batch. The other leads were processed. The answer to a repeat
    names those that are unknown now."""

    def __init__(self, lead_ids: list[int]) -> None:
        super().__init__(lead_ids)
        self.lead_ids = lead_ids


class AuditError(ServiceError):
    """The audit log cannot be written. The batch must not change anything."""

    def __init__(self, reason: str, *, may_be_written: bool = False) -> None:
        """may_be_written: whether the line may reach the disk all the same."""
        super().__init__(f"the audit log cannot be written: {reason}")
        self.may_be_written = may_be_written


class DatabaseError(ServiceError):
    """MariaDB refused a statement, did not answer in time, or closed the connection.

    code: MariaDB's error number; None where there is none. outcome_known: whether it is certain that nothing was changed.
    """

    def __init__(
        self,
        message: str,
        code: int | None = None,
        outcome_known: bool = True,
        retry: bool = False,
        accounts: frozenset[str] = frozenset(),
    ) -> None:
        """retry: whether the same transaction may succeed at once, whatever the code. accounts: the names by which the server
        calls the service's account, as user@host; empty if they are not known."""
        super().__init__(message)
        self.code = code
        self.outcome_known = outcome_known
        self.statement: str | None = None
        """The statement that failed, if several were sent together. It contains lead ids."""
        self.is_hurried = False
        """Whether hardly any time was left when the batch arrived, so that the error tells nothing about the database."""
        self._retry = retry
        self._accounts = accounts

    @property
    def from_server(self) -> bool:
        """Whether the server itself refused. Client libraries use the numbers from 2000 to 2999 for lost connections."""
        return self.code is not None and not 2000 <= self.code < 3000

    @property
    def text(self) -> str:
        """The message for the log. It may hold lead data if a statement of a trigger has failed: then only the number."""
        if self.from_server and self.code not in TEXTS_WITHOUT_DATA:
            return f"MariaDB says error {self.code}. Its text is left out: it may hold data of a lead"
        return str(self)

    @property
    def is_transient(self) -> bool:
        """Whether the same transaction may succeed at once."""
        return self._retry or self.code in TRANSIENT_ERRORS

    @property
    def is_denied(self) -> bool:
        """Whether the service's account lacks a privilege."""
        return self.code in ACCESS_DENIED and not self.is_of_definer

    @property
    def is_of_definer(self) -> bool:
        """Whether another account lacks a privilege or does not exist: the one as which a trigger or a view runs."""
        if self.code == NO_SUCH_DEFINER:
            return True
        found = DENIED_TO.search(str(self)) if self.code in ACCESS_DENIED and self._accounts else None
        return found is not None and f"{found[1]}@{found[2]}" not in self._accounts

    def may_be_of_a_row(self, tables: Iterable[str]) -> bool:
        """Return whether a single row can be the reason, by a trigger, a foreign key or a check constraint.

        tables: those of the statement. The transaction has read them, so they and their columns exist: a table or column that
        is missing, denied or unusable, and is none of theirs, belongs to a trigger.
        """
        if self.is_of_definer:
            return True
        if self.code in NAMES_A_TABLE:
            named = re.findall(r"[`']([^`']+)[`']", str(self))
            return bool(named) and named[-1].split(".")[-1] not in tables
        return self.from_server and self.code not in STATEMENT_ERRORS

    @property
    def may_be_of_a_definition(self) -> bool:
        """Whether the statement may not fit the tables as they are now."""
        return self.from_server and self.code not in STATEMENT_ERRORS

    @property
    def is_certainly_of_a_row(self) -> bool:
        """Whether nothing but a row can be the reason, even if the statement fails for each of its leads."""
        return self.code is not None and (self.code in ROW_ERRORS or self.code >= SIGNALS_ONLY)


class ListsChangedError(DatabaseError):
    """A list has stopped to match the conditions of a batch that had found it to match. The batch can be run again."""


class MendableError(ServiceError):
    """An administrator must change something first. A session that began before the change may not see it.

    outcome_known: whether it is certain that nothing was changed. Only a batch in tables without rollback may have been half
    done.
    """

    outcome_known = True


class NotReadyError(MendableError):
    """Leads cannot be moved safely."""

    def __init__(self, problems: tuple[Problem, ...], skipped_tables: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
        self.skipped_tables = skipped_tables


class ConditionError(MendableError):
    """A condition of `where`, or that a lead is in one of the lists of a key, cannot be checked safely in this database."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the condition {name} cannot be used until an administrator mends this: {reason}")

    @classmethod
    def of_type(cls, name: str, column: str, column_type: str, types: Iterable[str]) -> Self:
        """Return the error of a column whose type is none of those whose comparison is known to be correct."""
        return cls(name, f"{column} is {column_type}, and only {', '.join(sorted(types))} can be compared safely")
