"""What is known about the session of each connection, and the statement that checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from service.database.statements import Statements, literal
from service.errors import DatabaseError
from service.mariadb_errors import UNUSABLE_SESSION

STALE = "this session began before something was mended, or has temporary tables that this service did not make"


class StaleSessionError(DatabaseError):
    """The session began before something was mended, or a trigger made a temporary table in it. Another one may do."""

    def __init__(self) -> None:
        super().__init__(STALE, retry=True)


@dataclass(eq=False)
class Session:
    """The session of a connection."""

    database: str
    statements: Statements
    is_new: bool = True
    """Whether no transaction has used it yet."""
    temporary_tables: int = 0
    """How many temporary tables this service has made in it."""
    accounts: frozenset[str] = frozenset()
    """CURRENT_USER() and USER(), as user@host; empty as long as they are not known."""

    @property
    def check(self) -> str:
        """The statement that fails if names may mean other tables than those of the site."""
        return self.statements.check_session.fill(self._values)

    @property
    def check_again(self) -> str:
        """The same, between statements that write. It returns no rows."""
        return self.statements.check_session_again.fill(self._values)

    @property
    def _values(self) -> dict[str, str]:
        return {"temporary_tables": str(self.temporary_tables), "database": literal(self.database)}

    def passed(self, rows: list[tuple[Any, ...]]) -> None:
        """Take note of the result of `check`. Raises DatabaseError if the server has not counted temporary tables."""
        if len(rows) != 1:
            raise DatabaseError("the server does not count temporary tables", UNUSABLE_SESSION)
        _, current_user, user = rows[0]
        self.accounts = frozenset({current_user, user})


class Sessions:
    """The sessions of the connections of a pool.

    A session is known by its connection, not by its number on the server: after a restart or a failover, another session gets
    the same one.
    """

    def __init__(self, database: str, statements: Statements) -> None:
        self._database = database
        self._statements = statements
        self._by_connection: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()

    def of(self, connection: Any) -> Session:
        """Return the session of a connection."""
        return self._by_connection.setdefault(connection, Session(self._database, self._statements))
