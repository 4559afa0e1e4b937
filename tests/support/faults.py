"""Proxies that lose or delay data, and a service whose office hours end soon."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from types import TracebackType
from typing import Self

from support.process import PATIENCE

DELETE = re.compile(rb"DELETE source\b.*\.lead_id IN \([0-9]", re.DOTALL)
"""The DELETE of a batch, as it is sent to the database."""

CLOSING = """
import sys, time
from datetime import UTC, datetime, timedelta
import uvicorn
from service.app import create_app
from service.settings import read_settings

start = None

def now():
    global start
    start = start or time.monotonic()
    return datetime(2026, 11, 23, 16, 59, 58, tzinfo=UTC) + timedelta(seconds=time.monotonic() - start)

settings = read_settings()
uvicorn.run(create_app(settings, now), host=settings.HOST, port=settings.PORT, log_level="warning")
"""
"""A service whose clock shows Monday, two seconds before five, at its first request."""


class Wire:
    """A port that forwards to another one. It cuts the connection instead of passing on the answers to the next `lose` POST
    requests, and passes on the answer to the POST of the number `doubled` twice. ids: whether X-Request-ID is passed on as it
    is, "replaced" in requests, or a second one "added" to answers."""

    def __init__(self, port: int, lose: int = 0, doubled: int = 0, ids: str = "") -> None:
        self.lose = lose
        self.lost = 0
        self.posts = 0
        self._doubled = doubled
        self._ids = ids
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._to)) as far, contextlib.suppress(OSError):
            while request := message(near):
                if self._ids == "replaced":
                    request = re.sub(rb"(?i)(\r\nx-request-id: *)[^\r]*", rb"\1of-the-proxy", request)
                far.sendall(request)
                answer = message(far)
                if self._ids == "added":
                    answer = answer.replace(b"\r\n", b"\r\nX-Request-ID: of-the-proxy\r\n", 1)
                with self._lock:
                    if request.startswith(b"POST"):
                        self.posts += 1
                        answer *= 1 + (self.posts == self._doubled)
                    if self.lose and request.startswith(b"POST"):
                        self.lose -= 1
                        self.lost += 1
                        return
                near.sendall(answer)


def message(connection: socket.socket) -> bytes:
    """Return the next request or answer, by its Content-Length; empty if the connection was closed."""
    arrived = b""
    while b"\r\n\r\n" not in arrived:
        if not (more := connection.recv(65536)):
            return b""
        arrived += more
    head, _, body = arrived.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        arrived += (more := connection.recv(65536))
        left -= len(more)
    return arrived


class Relay:
    """A port on an address of this machine that forwards to another port, byte by byte, until it is cut."""

    def __init__(self, address: str, port: int, to: int) -> None:
        """port: 0 for any free port."""
        self._to = to
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cut()

    def over(self, url: str) -> str:
        """Return a DATABASE_URL whose connections go over this relay."""
        return url.replace(f":{self._to}/", f":{self.port}/")

    def cut(self) -> None:
        """Refuse new connections, and close the open ones."""
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


class Firewall(Relay):
    """A relay that can forget the connections that are open, as if their host were gone: nothing gets through any more, and
    nobody is told."""

    def __init__(self, address: str, port: int, to: int) -> None:
        super().__init__(address, port, to)
        self._forgotten: set[socket.socket] = set()

    def forget(self) -> None:
        self._forgotten.update(self._open)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._forgotten:
                    target.sendall(data)
            if source not in self._forgotten:
                for end in (target, source):
                    end.shutdown(socket.SHUT_RDWR)


class Bridge(Relay):
    """A relay that can cut connections over which a text is sent, or hold back everything."""

    def __init__(self, address: str, port: int, to: int) -> None:
        super().__init__(address, port, to)
        self.cuts: re.Pattern[bytes] | None = None
        self.passes = threading.Event()
        self.passes.set()

    def cut(self) -> None:
        self.passes.set()
        super().cut()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and not (self.cuts and self.cuts.search(data)):
                self.passes.wait(PATIENCE)
                target.sendall(data)
            for end in (target, source):
                end.shutdown(socket.SHUT_RDWR)


class Mute(Relay):
    """A relay that, once a text was sent to the server, passes on none of its answers over this connection, but its end."""

    def __init__(self, address: str, port: int, to: int) -> None:
        super().__init__(address, port, to)
        self.from_now_on: re.Pattern[bytes] | None = None
        """The text. None: all answers are passed on. It is None again once it was sent."""
        self._muted: set[socket.socket] = set()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the server resets a connection that it ends
            while data := source.recv(65536):
                if self.from_now_on and self.from_now_on.search(data):
                    self.from_now_on = None
                    self._muted.add(target)
                if source not in self._muted:
                    target.sendall(data)
        for end in (target, source):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
