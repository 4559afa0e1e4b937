"""What is known about the session of each connection, and the statement that checks it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from weakref import WeakKeyDictionary

from service.database.statements import Statements, literal
from service.errors import DatabaseError
from service.mariadb_errors import UNUSABLE_SESSION

STALE = (
    "the tables are being altered, this session began before something was fixed, or it has temporary tables that this "
    "service did not create"
)


GOODBYE = 2
"""Seconds that the server has to say goodbye. TLS alone would wait for half a minute, with an open socket."""

QUIT = b"\x01\0\0\0\x01"
"""The command that ends a session, as it is sent: one byte, the first packet, COM_QUIT."""


class StaleSessionError(DatabaseError):
    """The session began before something was fixed, a trigger created a temporary table in it, or a table was altered while it
    was read. Another session may work."""

    def __init__(self, finding: str, *, was_new: bool = False) -> None:
        """finding: what is to be believed if another session finds the same. was_new: whether the session was new. Then the
        finding is probably right, and the next attempt says so."""
        super().__init__(STALE, retry=True)
        self.finding = finding
        self.was_new = was_new


class Session:
    """The session of a connection."""

    def __init__(self, database: str, statements: Statements) -> None:
        self.is_new = True
        """Whether no transaction has used it yet."""
        self.is_in_use = False
        self.is_outdated = False
        """Whether another one is to take its place as soon as the server has room for it."""
        self.max_packet: int | None = None
        """Its max_allowed_packet, in bytes; None as long as it is not known."""
        self.accounts: frozenset[str] = frozenset()
        """CURRENT_USER() and USER(), as user@host; empty as long as they are not known."""
        self._database = database
        self._statements = statements
        self._began = time.monotonic()
        self._count(0)

    @property
    def age(self) -> float:
        """Seconds since it was first used."""
        return time.monotonic() - self._began

    def has_temporary_table(self) -> None:
        """Count one more temporary table that this service has made in the session."""
        self._count(self._temporary_tables + 1)

    def _count(self, temporary_tables: int) -> None:
        self._temporary_tables = temporary_tables
        values = {"temporary_tables": str(temporary_tables), "database": literal(self._database)}
        self.check = self._statements.check_session.fill(values)
        """The statement that fails if names may mean other tables than those of the site."""
        self.check_again = self._statements.check_session_again.fill(values)
        """The same, between statements that write. It returns no rows."""

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
        self._ending: set[Any] = set()
        """The transports of connections that were closed and may still wait for the server's goodbye."""

    def of(self, connection: Any) -> Session:
        """Return the session of a connection."""
        session = self._by_connection.get(connection)
        if session is None:
            session = self._by_connection[connection] = Session(self._database, self._statements)
        return session

    def end(self, connection: Any) -> None:
        """Close a connection, which rolls back. The server writes a warning into its log if it is not told so.

        Nobody waits for the server, which may be gone: over TLS, its goodbye is waited for in the background.
        """
        transport = connection._transport
        with contextlib.suppress(Exception):  # it is closed already
            connection._write_bytes(QUIT)
        connection.close()
        if transport is not None:
            self._ending.add(transport)
            asyncio.get_running_loop().call_later(GOODBYE, self._close, transport)

    def _close(self, transport: Any) -> None:
        self._ending.discard(transport)
        transport.abort()

    async def close_all(self) -> None:
        """End the sessions that nobody uses, all at once: the server of one may be gone. Wait for goodbyes."""
        idle = [connection for connection, session in self._by_connection.items() if not session.is_in_use]
        try:
            await asyncio.gather(*(connection.ensure_closed() for connection in idle), return_exceptions=True)
        finally:
            for transport in list(self._ending):
                self._close(transport)
