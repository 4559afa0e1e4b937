"""Accepting connections: as many as there are file descriptors for, with some kept back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import resource
import socket
import ssl
from collections.abc import Callable, Hashable

import structlog

BACKLOG = 2048
"""Connections that the kernel may hold until they are accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that a worker accepts before it looks at anything else. The others get their share."""

EXTRA = 32
"""Connections beyond the limit that are accepted to be told so, and to answer /livez."""

MOST = 4096
"""Connections of a process, however many descriptors there are: each takes memory too."""

LEAST = 8
"""Connections of a process without which it is not worth starting."""

KEPT_BACK = 64
"""File descriptors for all but connections of clients and of the database: the log, the listening sockets, the keys."""

HANDSHAKE_TIMEOUT = 5
"""Seconds for a TLS handshake, and for its counterpart at the end."""

NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

logger = structlog.get_logger()


def most_connections(others: int) -> int:
    """Return how many clients can be connected at a time. others: descriptors that other connections may take.

    Raises ValueError if the process may not have descriptors enough.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST
    most = descriptors - KEPT_BACK - EXTRA - others
    if most < LEAST:
        needed = descriptors + LEAST - most
        raise ValueError(
            f"{descriptors} file descriptors are too few for these settings; set LimitNOFILE or ulimit -n to {needed}"
        )
    return min(MOST, most)


class Connections:
    """Who is connected, and who can be disconnected to make room: whoever has been waited for longest."""

    def __init__(self, most: int, always: frozenset[bytes] = frozenset()) -> None:
        """always: paths that are answered even when there is no room."""
        self.always = always
        self._most = most
        self._open: set[Hashable] = set()
        self._idle: dict[Hashable, Callable[[], object]] = {}
        self._extra: dict[Hashable, Callable[[], object]] = {}

    def make_room(self) -> bool:
        """Disconnect somebody if necessary. Return whether there was nobody, which makes the next connection an extra one."""
        if len(self._open) < self._most:
            return False
        if self._idle:
            self._disconnect(next(iter(self._idle)), self._idle)
            return False
        if len(self._extra) >= EXTRA:
            self._disconnect(next(iter(self._extra)), self._extra)
        return True

    def _disconnect(self, who: Hashable, among: dict[Hashable, Callable[[], object]]) -> None:
        disconnect = among.pop(who)
        self.is_gone(who)
        disconnect()

    def is_here(self, who: Hashable, disconnect: Callable[[], object], is_extra: bool) -> None:
        self._open.add(who)
        if is_extra:
            self._extra[who] = disconnect

    def is_idle(self, who: Hashable, disconnect: Callable[[], object]) -> None:
        """Nothing that somebody waits for is lost if who is disconnected."""
        if who in self._open and who not in self._extra:
            self._idle[who] = disconnect

    def is_busy(self, who: Hashable) -> None:
        self._idle.pop(who, None)

    def is_gone(self, who: Hashable) -> None:
        self._open.discard(who)
        self._idle.pop(who, None)
        self._extra.pop(who, None)


class Door:
    """Accepts the connections of a listening socket. In place of asyncio's own server: that one counts no connections during
    the TLS handshake, and holds on to its certificate."""

    def __init__(
        self,
        listener: socket.socket,
        crowd: Connections,
        protocol: Callable[[bool], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """protocol: given whether it is for an extra connection. tls: what to use for the next connection."""
        self._listener = listener
        self._crowd = crowd
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_open = True
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more. What has not finished its TLS handshake is disconnected."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            for task in self._handshakes:
                self._crowd.is_gone(task)
                task.cancel()

    async def wait_closed(self) -> None:
        """For uvicorn, which waits for asyncio's server."""

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._loop.remove_reader(self._listener.fileno())
                if error.errno in NO_DESCRIPTORS:
                    logger.error("connections not accepted", error=error.strerror)
                    self._loop.call_later(1, self._resume)
                return  # or the process that started the workers has shut the socket down
            accepted.setblocking(False)
            is_extra = self._crowd.make_room()
            tls = self._tls()
            task = self._loop.create_task(self._connect(accepted, is_extra, tls))
            self._arriving.add(task)
            task.add_done_callback(functools.partial(self._has_arrived, accepted))
            if tls:
                self._handshakes.add(task)
                self._crowd.is_here(task, task.cancel, is_extra)
                self._crowd.is_idle(task, task.cancel)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    async def _connect(self, accepted: socket.socket, is_extra: bool, tls: ssl.SSLContext | None) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(is_extra),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if tls else None,
                ssl_shutdown_timeout=HANDSHAKE_TIMEOUT if tls else None,
            )
        except OSError as error:
            logger.debug("no connection", error=str(error))

    def _has_arrived(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        """Called when the task has ended, even if it was cancelled before it could begin."""
        self._arriving.discard(task)
        self._handshakes.discard(task)
        self._crowd.is_gone(task)
        if task.cancelled():
            # uvloop keeps a connection whose handshake was cancelled before it began, for HANDSHAKE_TIMEOUT. With its socket
            # shut down it ends at once.
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
            accepted.close()
