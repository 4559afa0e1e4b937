"""Stand between the service and its database: hide that the database offers TLS, or show another certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from support.process import PATIENCE

CLIENT_SSL = 0x08
"""The bit in the second byte of the capabilities by which the server offers TLS, and the client asks for it."""

REQUEST_FOR_TLS = 36
"""Bytes. The handshake may come in the same packet."""


class ManInTheMiddle:
    """One port in front of a database server. Each connection is looked at for what the client lets be known."""

    def __init__(self, port: int, certificate: ssl.SSLContext | None) -> None:
        """port: that of the database. certificate: what is shown to the client; None takes TLS away."""
        self._database = port
        self._certificate = certificate
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.received = b""
        """What clients sent that could be read, the request for TLS included."""
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._look(client)

    def _look(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE)
        with socket.create_connection(("127.0.0.1", self._database), PATIENCE) as database:
            greeting = bytearray(database.recv(65536))
            capabilities = greeting.index(0, 5) + 1 + 4 + 8 + 1  # after the version, the thread, the salt and a zero
            if self._certificate is None:
                greeting[capabilities + 1] &= ~CLIENT_SSL
            else:
                greeting[capabilities + 1] |= CLIENT_SSL
            client.sendall(greeting)
            self.received += client.recv(REQUEST_FOR_TLS, socket.MSG_WAITALL)
            if self._certificate is None:
                client.sendall(b"\x16\x00\x00\x02\xff\x13\x04#08S01Bad handshake")  # as a server does that has no TLS
                self.received += client.recv(65536)
                return
            with self._certificate.wrap_socket(client, server_side=True) as tls:
                self.received += tls.recv(65536)


@contextmanager
def man_in_the_middle(port: int, certificate: ssl.SSLContext | None = None) -> Iterator[ManInTheMiddle]:
    """port: that of the database. certificate: what is shown to the client; None takes TLS away."""
    man = ManInTheMiddle(port, certificate)
    try:
        yield man
    finally:
        man.close()
