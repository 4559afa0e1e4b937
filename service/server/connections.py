"""Accept connections: as many as there are file descriptors for, with some in reserve."""

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

from service.observability.process_end import end_for_lack_of_memory

BACKLOG = 2048
"""Connections that the kernel may hold until they are accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that a worker accepts in a row before it does anything else, so that the other workers get their share."""

EXTRA = 32
"""Connections above the limit that are accepted to answer them with 503, and to answer /livez."""

MOST = 4096
"""Maximum number of connections of a process, however many descriptors there are: each of them takes memory."""

LEAST = 8
"""Minimum number of connections of a process. With fewer it does not start."""

KEPT_BACK = 64
"""File descriptors in reserve for everything but connections of clients and to the database: log, listening sockets, key file.
"""

HANDSHAKE_TIMEOUT = 5
"""Seconds for a TLS handshake, and for the TLS shutdown."""

SHUT_DOWN = {errno.EINVAL, errno.EBADF}
"""Errors of accept() on a listening socket that somebody has shut down. All others may pass, such as those of a network or a
firewall."""

NOT_MADE = "connection not made"
"""In the log."""

logger = structlog.get_logger()


def most_connections(others: int) -> int:
    """Return the maximum number of clients that can be connected at the same time. others: descriptors that other connections
    may take.

    Raises ValueError if the process does not have enough descriptors.
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
    """The connected clients, and those that can be disconnected to make room. The client that has been idle longest goes
    first."""

    def __init__(self, most: int, always: frozenset[bytes] = frozenset()) -> None:
        """always: paths that are answered even if there is no room."""
        self.always = always
        self._most = most
        self._open: set[Hashable] = set()
        self._idle: dict[Hashable, Callable[[], object]] = {}
        self._extra: dict[Hashable, Callable[[], object]] = {}

    def make_room(self) -> bool:
        """Disconnect a client if necessary. Return whether none could be: then the next connection is an extra one."""
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
        self.remove(who)
        disconnect()

    def add(self, who: Hashable, disconnect: Callable[[], object], is_extra: bool) -> None:
        self._open.add(who)
        if is_extra:
            self._extra[who] = disconnect

    def mark_idle(self, who: Hashable, disconnect: Callable[[], object]) -> None:
        """The client may be disconnected from now on: it waits for nothing."""
        if who in self._open and who not in self._extra:
            self._idle[who] = disconnect

    def mark_busy(self, who: Hashable) -> None:
        self._idle.pop(who, None)

    def remove(self, who: Hashable) -> None:
        self._open.discard(who)
        self._idle.pop(who, None)
        self._extra.pop(who, None)


class Acceptor:
    """Accepts the connections of a listening socket. asyncio's own server is not used: it does not count connections during
    their TLS handshake, and it keeps its certificate for ever."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        protocol: Callable[[bool], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """protocol: called with whether the connection is an extra one. tls: returns the context for the next connection."""
        self._listener = listener
        self._connections = connections
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
        """Accept no more connections. Disconnect those whose TLS handshake is not complete."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            for task in self._handshakes:
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
                if error.errno not in SHUT_DOWN:  # by the process that started the workers
                    self._pause(error)
                return
            accepted.setblocking(False)
            is_extra = self._connections.make_room()
            protocol = self._protocol(is_extra)
            tls = self._tls()
            task = self._loop.create_task(self._connect(accepted, protocol, tls))
            self._arriving.add(task)
            task.add_done_callback(functools.partial(self._has_arrived, accepted, protocol))
            if tls:  # during the handshake, the connection has the place that the protocol takes over when it is made
                self._handshakes.add(task)
                self._connections.add(protocol, task.cancel, is_extra)
                self._connections.mark_idle(protocol, task.cancel)

    def _pause(self, error: OSError) -> None:
        try:
            self._loop.call_later(1, self._resume)
        except MemoryError:
            end_for_lack_of_memory()  # nobody would accept connections any more
        logger.error("connections not accepted", error=error.strerror)

    def _resume(self) -> None:
        try:
            if self._is_open:
                self._loop.add_reader(self._listener.fileno(), self._accept)
        except MemoryError:
            end_for_lack_of_memory()

    async def _connect(self, accepted: socket.socket, protocol: asyncio.Protocol, tls: ssl.SSLContext | None) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if tls else None,
                ssl_shutdown_timeout=HANDSHAKE_TIMEOUT if tls else None,
            )
        except OSError as error:
            logger.debug("no connection", error=str(error))
            self._connections.remove(protocol)

    def _has_arrived(self, accepted: socket.socket, protocol: asyncio.Protocol, task: asyncio.Task[None]) -> None:
        """Called when the task has ended, even if it was cancelled before it started."""
        self._arriving.discard(task)
        self._handshakes.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            self._loop.call_exception_handler({"message": NOT_MADE, "exception": error})
        if error or task.cancelled():
            self._connections.remove(protocol)
            # uvloop keeps a connection whose handshake was cancelled before it began for HANDSHAKE_TIMEOUT. If its socket is
            # shut down, the connection ends immediately.
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
            accepted.close()
