"""A load of requests over HTTP, by a client so lean that its own work hardly counts: bare sockets, prepared requests."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass

TIMEOUT = 60
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Load:
    """What came of a load: seconds from the first request to the last answer."""

    seconds: float
    answers: list[Answer]


class Connection:
    """A connection that is kept alive, and opened again after an answer that says it is closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> Answer:
        started = time.perf_counter()
        self._socket.sendall(request)
        answer = self._receive(b"")
        while (end := answer.find(b"\r\n\r\n") + 4) < 4:
            answer = self._receive(answer)
        length = LENGTH.search(answer, 0, end)
        assert length is not None, answer
        while len(answer) < end + int(length[1]):
            answer = self._receive(answer)
        seconds = time.perf_counter() - started
        if CLOSE.search(answer, 0, end):
            self.close()
            self._open()
        return Answer(int(answer[9:12]), answer[end:], seconds)

    def _receive(self, before: bytes) -> bytes:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise ConnectionError(f"the service closed the connection after {before!r}")
        return before + chunk


def post(path: str, body: bytes, key: str) -> bytes:
    """A whole request, as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Key={key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send(port: int, requests: list[bytes], clients: int) -> Load:
    """Send all requests, each client the next one that is left as soon as it has an answer."""
    left = deque(requests)
    answers: list[Answer] = []
    failures: list[OSError] = []
    ready = threading.Barrier(clients + 1)

    def client() -> None:
        with contextlib.closing(Connection(port)) as connection:
            ready.wait()
            with contextlib.suppress(IndexError):
                while True:
                    answers.append(connection.exchange(left.popleft()))

    def watched_client() -> None:
        try:
            client()
        except OSError as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=watched_client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait(TIMEOUT)
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if failures:
        raise failures[0]
    return Load(seconds, answers)
