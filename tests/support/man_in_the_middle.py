"""Attack the connection between service and database: hide that the database offers TLS, or show another certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from support.process import PATIENCE

CLIENT_SSL = 0x08
"""The bit in the second byte of the capabilities with which the server offers TLS and the client requests it."""

REQUEST_FOR_TLS = 36
"""Length in bytes. The TLS handshake may follow in the same packet."""


class ManInTheMiddle:
    """One port in front of a database server. It records what each client sends in clear text."""

    def __init__(self, port: int, certificate: ssl.SSLContext | None) -> None:
        """port: that of the database. certificate: what is shown to the client; None takes TLS away."""
        self._database = port
        self._certificate = certificate
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.received = b""
        """What clients sent in clear text, including the request for TLS."""
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
                client.sendall(b"\x16\x00\x00\x02\xff\x13\x04#08S01Bad handshake")  # like a server without TLS
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
