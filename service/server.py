"""Serving: uvicorn, started and stopped in order."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import uvicorn
from prometheus_client import start_http_server
from uvicorn.supervisors import Multiprocess

from service import metrics
from service.protocol import Protocol
from service.settings import Settings


def serve(settings: Settings, forbids: Callable[[], dict[str, bool]]) -> None:
    """Serve until SIGTERM or SIGINT, which let the requests in flight finish.

    forbids: by operation, whether office hours forbid it now, for the metrics. Raises OSError if a port cannot be had; its
    filename is host and port.
    """
    config = uvicorn.Config(
        "service.app:create_app",
        factory=True,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        workers=settings.WORKERS,
        ssl_certfile=settings.TLS_CERT_FILE,
        ssl_keyfile=settings.TLS_KEY_FILE,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.REQUEST_TIMEOUT + 1,
    )
    listener = listen(settings.HOST, settings.PORT)
    server = uvicorn.Server(config)
    # When uvicorn is done after a signal it raises that signal once more, for whoever handled it before. Left to the
    # system's default, an orderly stop would end with a status that says "killed".
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with ExitStack() as stack:
        if settings.WORKERS > 1:
            # Before the workers start: where they keep their figures is decided when they import what counts.
            os.environ[metrics.DIRECTORY] = stack.enter_context(TemporaryDirectory(prefix="lead-archive-metrics-"))
        if settings.METRICS_PORT:
            stack.enter_context(metrics_served(settings.HOST, settings.METRICS_PORT, forbids))
        if settings.WORKERS > 1:
            Multiprocess(config, sockets=[listener]).run()
        else:
            server.run(sockets=[listener])


@contextmanager
def metrics_served(host: str, port: int, forbids: Callable[[], dict[str, bool]]) -> Iterator[None]:
    """/metrics on a port of its own, in a thread, until the end of the block. Raises OSError."""
    with named(host, port):
        server, _ = start_http_server(port, host, metrics.registry(forbids))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on host and port. Raises OSError."""
    with named(host, port):
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.set_inheritable(True)
        return listener


@contextmanager
def named(host: str, port: int) -> Iterator[None]:
    """Have an OSError say for which host and port."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), f"{host}:{port}") from error
