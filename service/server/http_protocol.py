"""HTTP/1.1 on a connection, based on uvicorn's protocol.

Added here: malformed HTTP is answered in the API's format, each answer belongs to its own request, every wait for the client
has a time limit, and a connection is closed so that the last answer arrives.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from service.api.middleware import IS_LOST
from service.server.connections import Connections
from service.server.rejected_requests import refusal
from service.server.request_input import RequestInput
from service.server.slow_readers import SlowReader

HEAD_TIMEOUT = 5
"""Seconds for the head of a request (request line and headers) to arrive, and for which an idle connection is kept."""

LINGER_TIMEOUT = 5
"""Seconds for which input is read and discarded after the last answer. Closing at once would reset the connection, and a reset
can destroy an answer that is still in transit (RFC 9112, 9.6)."""

STOPPING = "the service is stopping; nothing was changed, repeat the request"
FULL = "too many connections; nothing was changed, repeat the request"


TCP_CLOSE = 7
"""The first byte of Linux's TCP_INFO for a connection that was reset."""


def is_reset(connection: socket.socket) -> bool:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == bytes([TCP_CLOSE])


def extension_of(cycle: RequestResponseCycle) -> dict[str, Any]:
    """Return what the application gets to know about the connection of a request. Make it if there is none yet."""
    is_lost: dict[str, Any] = {"ask": lambda: cycle.disconnected, "status": 0, "then": lambda: None}
    extensions: Any = cycle.scope.setdefault("extensions", {})
    found: dict[str, Any] = extensions.setdefault(IS_LOST, is_lost)
    return found


class RequestTransport:
    """The transport that a request sees. Only the protocol closes the connection."""

    def __init__(self, protocol: Protocol, transport: asyncio.Transport) -> None:
        self.write = protocol.write
        self.is_closing = transport.is_closing
        self.close = protocol.finish


class Protocol(RequestInput):
    """A connection. Answers that are made here bypass the middleware: they belong to no complete request."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        connections: Connections | None = None,
        is_extra: bool = False,
    ) -> None:
        """is_extra: the connection is above the limit. Only the paths in connections.always are answered on it."""
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections or Connections(most=2**31)
        self._is_extra = is_extra
        self._timer: asyncio.TimerHandle | None = None
        """Runs while a head is expected, and while input is discarded at the end."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered."""
        self._is_finished = False
        """Whether the last answer of the connection was written."""
        self._input_ended = False
        """Whether the client has ended its side of the connection."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        try:
            self._begin(transport)
        except BaseException:
            transport.abort()  # otherwise nobody would: no time limit runs yet
            raise

    def _begin(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._reader = SlowReader(transport)
        self.write = self._reader.write
        self._request_transport: Any = RequestTransport(self, transport)
        self._connections.add(self, transport.abort, self._is_extra)
        self._expect_head()
        self._connections.mark_idle(self, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._connections.remove(self)
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
                extension_of(cycle)["then"]()
        self.pipeline.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish the request that is being answered, and close. The server calls this when it stops."""
        if self._is_finished:
            self._linger(1)
        elif self._running:
            self._running.keep_alive = False
            if self.pipeline or self._parsed is not self._running:
                self.discards_input = True
                self.pipeline.clear()
        elif self._begun:
            self._refuse(503, STOPPING)
        else:
            self.transport.close()

    def check(self, now: float) -> None:
        """Disconnect a client that does not read its answer in time, or that has reset the connection while reading is paused:
        as long as a request after the one that is answered waits. now: the time of the event loop, in seconds."""
        if self.flow.read_paused and is_reset(self.transport.get_extra_info("socket")):
            self.transport.abort()
        self._reader.check(now, bool(self._running and self._running.response_started))

    # What arrives

    def _stop_reading(self) -> None:
        if self._is_finished:
            self.transport.close()
        else:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._running:
            self._connections.mark_busy(self)
            self._expect_head()

    def _accepts(self) -> bool:
        if not super()._accepts():
            return False
        if self._is_extra and self.url.partition(b"?")[0] not in self._connections.always:
            self._refuse(503, FULL)
            return False
        return True

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # such a client takes "100 Continue" for the answer (RFC 9110, 10.1.1)
        super().on_headers_complete()
        if self.discards_input:
            return
        self._stop_timer()
        cycle = self.cycle
        cycle.transport = self._request_transport
        cycle.keep_alive = cycle.keep_alive and not self._is_extra
        extension_of(cycle)

    def eof_received(self) -> bool:  # type: ignore[override] # as in asyncio
        """Answer the requests that have arrived completely, and close. The client sends no more, but may still read.

        Returns whether asyncio keeps the connection open. With TLS it does not: a client that ends TLS cannot read.
        """
        self._input_ended = True
        if self._is_finished or self.scheme == "https":
            return False
        if self._begun or self._parsed:
            self._refuse(400, "the request ended before it was complete; nothing was changed")
        if self._running:
            self._close_after_those_that_wait()
        return self._running is not None

    # What is answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle

        async def run(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                # The server stops, and its log says how many requests it has cut off. What the client has got is no whole
                # answer, and it sees that by the end of the connection.
                cycle.disconnected = True
                self.transport.abort()

        super()._start_asgi_task(cycle, run)

    def on_response_complete(self) -> None:
        self._running = None
        if self._is_finished:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()  # starts the next request that waits
        if self._running:
            return
        # uvicorn's timer is not used: an empty line before the next head would stop it for good.
        self._unset_keepalive_if_required()
        self._expect_head()
        if not self._begun:
            self._connections.mark_idle(self, self.transport.abort)

    def _refuse(self, status: int, message: str) -> None:
        """Answer the request that is being parsed, and close. Nothing after it is parsed.

        If earlier requests are not answered yet, only those are answered: a client takes the next answer that it reads for the
        answer to the request that it sent first.
        """
        if self.discards_input:
            return
        self.discards_input = True
        self._size = 0
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle = self._parsed
        if cycle and cycle is self._running and not cycle.response_started:
            cycle.disconnected = True  # it never gets its whole body, and this is its answer
            cycle.message_event.set()
            extension_of(cycle)["status"] = status
            self._running = None
        elif cycle and cycle is not self._running:
            self.pipeline.popleft()
        if self._running:
            self._close_after_those_that_wait()
        else:
            self._answer(status, message)

    def _close_after_those_that_wait(self) -> None:
        assert self._running
        last = self.pipeline[0][0] if self.pipeline else self._running
        last.keep_alive = False

    def _answer(self, status: int, message: str) -> None:
        self.write(refusal(status, message))
        self.finish()

    def finish(self) -> None:
        """Close the connection after the answer that was just written."""
        if self._is_finished or self.transport.is_closing():
            return
        self._is_finished = True
        self._stop_timer()
        self._unset_keepalive_if_required()
        if self._input_ended or not (self.discards_input or self._parsed or self._begun):
            self.transport.close()  # no input can arrive that would cause a reset
            return
        self.discards_input = True
        self._size = 0
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger(LINGER_TIMEOUT)
        self._connections.mark_idle(self, self.transport.abort)

    def _linger(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    # The wait for a head

    def _expect_head(self) -> None:
        self._stop_timer()
        self._size = 0
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._begun:
            self._refuse(408, f"request line and headers did not arrive within {HEAD_TIMEOUT} seconds")
        else:
            self.transport.close()
