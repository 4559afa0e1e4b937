"""The pool of connections. Old sessions are replaced before they are used again.

The pool is that of the databases library, which has no method that replaces a connection: only this module knows how it and
the driver keep theirs.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncmy
import databases
import structlog

from service.database.sessions import Session, Sessions
from service.database.statements import Statements
from service.database.transaction import database_error
from service.errors import DatabaseError
from service.mariadb_errors import NO_ROOM

CONNECT_TIMEOUT = 5
"""Seconds to wait for a TCP connection. The pool opens one connection at a time, so a slow one delays the others. The server's
greeting may take as long as the transaction may."""

NEVER = -1
"""For pool_recycle: the pool of the driver ends no session. It would wait for the server's goodbye, and with it everybody who
waits for a connection."""

SESSION_AGE = 60
"""Seconds for which a session is used again. The address may lead to another server meanwhile, after a failover, while the old
one still answers; or a firewall has forgotten the connection. Servers rarely have a wait_timeout below this."""

NO_ROOM_PAUSE = 5
"""Seconds before a new session is tried again if the server had no room for one."""

logger = structlog.get_logger()


class SessionPool:
    """A pool of connections. Connects when it is first used."""

    def __init__(self, url: str, statements: Statements, size: int, begin_session: str, tls: ssl.SSLContext | None) -> None:
        """begin_session: the statement that is sent first on each connection. tls: None means that connections are not
        encrypted."""
        self._pool = databases.Database(
            url,
            min_size=0,
            max_size=size,
            pool_recycle=NEVER,
            connect_timeout=CONNECT_TIMEOUT,
            init_command=begin_session,
            charset="utf8mb4",
            ssl=tls,
        )
        self.url = self._pool.url
        self.sessions = Sessions(self.url.database, statements)
        self._succession = asyncio.Lock()
        """Held while a session is replaced: for that time, there is one connection more than the pool has places."""
        self._no_room_until = -math.inf
        """When a new session is tried again, by the clock of the event loop."""

    async def connect(self) -> None:
        await self._pool.connect()

    async def disconnect(self) -> None:
        """End the sessions. Wait for goodbyes, and for those that are in use."""
        await self.sessions.close_all()
        await self._pool.disconnect()

    @asynccontextmanager
    async def connection(self, *, in_new_session: bool = False) -> AsyncIterator[tuple[Any, Session]]:
        """Wait for a connection, which belongs to the block. in_new_session: end a session that was used before, instead of
        using it, if the server has room for a new one. Raises DatabaseError for whatever goes wrong before the block begins:
        nothing was sent yet."""
        pooled = await self._acquire(in_new_session)
        session = self.sessions.of(pooled.raw_connection)
        session.is_in_use = True
        try:
            yield pooled.raw_connection, session
        finally:
            session.is_in_use = False
            await pooled.__aexit__()

    async def _acquire(self, in_new_session: bool) -> Any:
        pooled = self._pool.connection()
        with _connecting():
            await pooled.__aenter__()
        session = self.sessions.of(pooled.raw_connection)
        if not session.is_new and (in_new_session or session.age > SESSION_AGE):
            session.is_outdated = True
        if session.is_outdated:
            old = pooled.raw_connection
            try:
                successor = await self._successor(_driver_pool(pooled))
            except BaseException:
                self.sessions.end(old)
                await pooled.__aexit__()
                raise
            if successor:
                _replace(pooled, successor)
                self.sessions.end(old)
        return pooled

    async def _successor(self, pool: Any) -> Any:
        """Return a new connection, as the driver's pool makes them. None if the server has no room for it: then the old one
        must do. Raises DatabaseError."""
        clock = asyncio.get_running_loop().time
        async with self._succession:
            if clock() < self._no_room_until:
                return None
            try:
                with _connecting():
                    return await asyncmy.connect(**pool._conn_kwargs)
            except DatabaseError as error:
                if error.code not in NO_ROOM:
                    raise
                logger.warning("session kept", error=str(error), code=error.code)
                self._no_room_until = clock() + NO_ROOM_PAUSE
                return None


@contextmanager
def _connecting() -> Iterator[None]:
    """Raise DatabaseError for whatever goes wrong."""
    try:
        yield
    except TimeoutError:
        raise
    except Exception as error:  # such as an IndexError, if the server speaks another protocol
        raise database_error(error, outcome_known=True) from error


def _driver_pool(pooled: Any) -> Any:
    return pooled._connection._database._pool


def _replace(pooled: Any, connection: Any) -> None:
    """Put a connection in the place of one that was taken from the driver's pool, which has no method for it."""
    used = _driver_pool(pooled)._used
    used.remove(pooled.raw_connection)
    used.add(connection)
    pooled._connection._connection = connection
