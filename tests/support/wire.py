"""A connection to the service, byte by byte."""

from __future__ import annotations

import http.client
import io
import json
import socket
import struct
from typing import Any

from support.process import PATIENCE, ServiceProcess


class Reader(io.BufferedReader):
    """The received bytes, shared by successive HTTPResponses. Otherwise each would buffer ahead and close the socket."""

    def close(self) -> None:
        pass

    def makefile(self, _: str) -> Reader:
        return self


class Connection:
    """One TCP connection to the service."""

    def __init__(self, service: ServiceProcess, port: int | None = None) -> None:
        """port: a port other than that of the API."""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # so that nearly all written data has been sent
        self.socket.settimeout(PATIENCE)
        self.socket.connect((service.host, port or service.port))
        self._raw = socket.SocketIO(self.socket, "r")
        self._reader: Any = Reader(self._raw)

    def close(self) -> None:
        self._raw.close()
        self.socket.close()

    def reset(self) -> None:
        """Close the connection with a reset, as if the client had crashed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def rest(self) -> bytes:
        """Return everything that arrives until the service closes the connection."""
        received = b""
        try:
            while more := self._reader.read1(65536):
                received += more
        except ConnectionResetError:
            pass
        return received

    def send(self, method: str, path: str, headers: dict[str, Any], body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def answer(self) -> tuple[int, str]:
        """Return status and message of the next answer, and assert what all answers have in common."""
        response = http.client.HTTPResponse(self._reader)
        response.begin()
        body = json.loads(response.read())
        assert response.headers["X-Request-ID"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Type"] == "application/json"
        assert response.status != 400 or {"lead_errors", "lead_ids"} < body.keys()
        self.announced_close = response.headers["Connection"] == "close"
        return response.status, body["message"]

    def is_closed(self) -> bool:
        """Return whether the service announced a close and closed. If not, assert that it answers another request."""
        if self.announced_close:
            try:
                return bool(self._reader.read1(1) == b"")
            except ConnectionResetError:
                return True
        self.send("GET", "/livez", {})
        assert self.answer() == (200, "alive")
        return False
