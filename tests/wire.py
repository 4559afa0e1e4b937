"""A connection to the service, byte by byte."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from process import PATIENCE, ServiceProcess


class Connection:
    """One TCP connection to the service."""

    def __init__(self, service: ServiceProcess) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # so that what is sent has left
        self.socket.settimeout(PATIENCE)
        self.socket.connect((service.host, service.port))

    def close(self) -> None:
        self.socket.close()

    def send(self, method: str, path: str, headers: dict[str, Any], body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def answer(self) -> tuple[int, str]:
        """Status and message of the next answer, which is held against what all answers have in common."""
        response = http.client.HTTPResponse(self.socket)
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
        """Whether the service closes the connection, and said so before; if not, whether it answers another request."""
        if self.announced_close:
            try:
                return self.socket.recv(1) == b""
            except ConnectionResetError:
                return True
        self.send("GET", "/livez", {})
        assert self.answer() == (200, "alive")
        return False
