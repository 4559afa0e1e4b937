"""Run uvicorn: start the servers, stop them in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Literal

import uvicorn
import uvloop
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from service.access.certificate import Certificate
from service.access.keys_file import KeysFile
from service.api import metrics_app
from service.archive.readers import READERS
from service.errors import StartError
from service.observability import metrics
from service.observability.metrics_folder import MetricsFolder
from service.server.connections import BACKLOG, EXTRA, Acceptor, Connections, most_connections
from service.server.http_protocol import Protocol
from service.server.memory_watch import MemoryWatch
from service.server.reload import Reload, Reloads
from service.server.supervisor import SIGNALS, Heartbeat, Supervisor
from service.settings import Settings

MOST_ON_METRICS_PORT = 32
"""The maximum number of connections on METRICS_PORT. Prometheus needs one."""

STOP_MARGIN = 4
"""Seconds that a worker may take to stop, in addition to the time for the requests in progress."""

END_TIMEOUT = 0.5
"""Seconds to wait at the end for tasks that were cancelled."""

LONGEST_STOP = 8
"""Seconds, in addition to those for the requests in progress, after which the kernel ends a process that does not stop."""

LOOK_UP_TIMEOUT = 2
"""Seconds for a look-up of the name localhost at the start."""

NOT_CHECKED = "client not checked"
"""In the log."""


class Server(uvicorn.Server):
    """Serves one application on one listening socket. It handles no signals: its caller does."""

    def __init__(
        self,
        app: Starlette,
        listener: socket.socket,
        connections: Connections,
        *,
        certificate: Certificate | None = None,
        stop_timeout: int = 1,
        tick: Callable[[], None] = lambda: None,
        lifespan: Literal["on", "off"] = "on",
    ) -> None:
        """stop_timeout: seconds for the requests in progress when the server stops. tick: called about every second."""
        config = uvicorn.Config(
            app,
            loop="none",
            http=Protocol,
            ws="none",
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=stop_timeout,
        )
        super().__init__(config)
        self._listener = listener
        self._connections = connections
        self._certificate = certificate
        self._tick = tick
        self._acceptor: Acceptor | None = None

    def stop(self) -> None:
        """Refuse new connections from now on, and finish the requests in progress."""
        self.should_exit = True
        if self._acceptor:
            self._acceptor.close()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        del sockets
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        protocol = functools.partial(
            Protocol, self.config, self.server_state, self.lifespan.state, asyncio.get_running_loop(), self._connections
        )
        self._acceptor = Acceptor(self._listener, self._connections, protocol, self._tls)
        self.servers = [self._acceptor]  # type: ignore[list-item]
        self.started = True

    def _tls(self) -> ssl.SSLContext | None:
        return self._certificate.context if self._certificate else None

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self._tick()
        return await super().on_tick(counter)


async def check_clients(*servers: Server) -> None:
    """Check every connection for timeouts once a second, forever. A server that is stopping is checked as well."""
    loop = asyncio.get_running_loop()
    while True:
        for server in servers:
            for connection in list(server.server_state.connections):
                assert isinstance(connection, Protocol)
                try:
                    connection.check(loop.time())
                except Exception as error:  # the others are checked all the same, also next time
                    loop.call_exception_handler({"message": NOT_CHECKED, "exception": error})
        await asyncio.sleep(1)


def serve(settings: Settings, app: Starlette, keys: KeysFile, forbids: Callable[[], dict[str, bool]]) -> int:
    """Serve until SIGTERM or SIGINT, finish the requests in progress, and return the status for end_process().

    keys: reloaded on SIGHUP, and whenever the file changes. forbids: returns for each operation whether office hours forbid it
    now, for the metrics. Raises StartError.
    """
    certificate = _certificate(settings)
    try:
        most = most_connections(
            settings.DATABASE_POOL_SIZE + READERS + (MOST_ON_METRICS_PORT + EXTRA if settings.METRICS_PORT else 0)
        )
    except ValueError as error:
        raise StartError(str(error)) from error
    listener = listen(settings.HOST, settings.PORT)
    metrics_listener = listen(settings.HOST, settings.METRICS_PORT) if settings.METRICS_PORT else None

    def reloads() -> Reload:
        """Return a function that reloads keys and certificate, in threads of the process that calls reloads()."""
        # Each file has its own thread: one file system may hang while the other works.
        each = [Reloads(keys.reload), *([Reloads(certificate.reload)] if certificate else [])]

        def ask(then: Callable[[], None] = lambda: None) -> None:
            for reload in each:
                reload.ask(then)

        return ask

    def work(parent: int | None = None, heartbeat: Heartbeat | None = None) -> None:
        def tick() -> None:
            if heartbeat:
                heartbeat.beat()
            metrics.look_after_files()

        connections = Connections(most, frozenset({b"/livez"}))
        stop_timeout = settings.REQUEST_TIMEOUT + 1
        servers = [Server(app, listener, connections, certificate=certificate, stop_timeout=stop_timeout, tick=tick)]
        if metrics_listener:
            of_metrics = Connections(MOST_ON_METRICS_PORT, frozenset({metrics_app.PATH.encode()}))
            servers.append(Server(metrics_app.create_metrics_app(forbids), metrics_listener, of_metrics, lifespan="off"))
        # The loop is not closed: uvloop would wait for pending look-ups of host names. The process ends instead.
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_run(servers, reloads(), parent, stop_timeout))

    if settings.WORKERS == 1:
        work()
        return 0
    folder: MetricsFolder | None = None

    def work_and_leave(parent: int, heartbeat: Heartbeat) -> None:
        try:
            metrics.look_after_files()
            work(parent, heartbeat)
        finally:
            assert folder
            folder.leave()

    listeners = [listener, *([metrics_listener] if metrics_listener else [])]
    supervisor = Supervisor(
        settings.WORKERS,
        work_and_leave,
        reload=reloads(),
        refresh=keys.refresh,
        listeners=listeners,
        stop_timeout=settings.REQUEST_TIMEOUT + 1 + STOP_MARGIN,
    )
    supervisor.catch_signals()  # before there is a folder to be deleted
    try:
        folder = MetricsFolder()
    except OSError as error:
        raise StartError(f"TMPDIR: cannot create a folder for the metrics of the workers: {error}") from error
    try:
        metrics.keep_in_files(folder)
        metrics.look_after_files()
        return supervisor.run()
    finally:
        folder.leave()


def _certificate(settings: Settings) -> Certificate | None:
    """Return the certificate of the API, or None without TLS. Raises StartError."""
    if not settings.TLS_CERT_FILE or not settings.TLS_KEY_FILE:
        return None
    try:
        return Certificate(settings.TLS_CERT_FILE, settings.TLS_KEY_FILE)
    except (OSError, ValueError) as error:  # it was valid when the settings were read
        raise StartError(f"TLS_CERT_FILE: can no longer be used: {error}") from error


async def _run(servers: list[Server], reload: Reload, parent: int | None, stop_timeout: int) -> None:
    """Serve until SIGTERM, SIGINT, or the end of the parent process.

    servers: the API's, which stops first, and that of METRICS_PORT. parent: a file descriptor that becomes readable when the
    parent process is gone; None: there is no parent to watch. stop_timeout: seconds for the requests in progress.
    """
    loop = asyncio.get_running_loop()
    api, *others = servers
    # libuv starts its threads with the first look-up of a name, and ends the process if the system has none: better now.
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(loop.getaddrinfo("localhost", None), LOOK_UP_TIMEOUT)
    MemoryWatch(lambda: sum([server.server_state.total_requests for server in servers])).watch(loop)

    def stop() -> None:
        for server in servers:
            server.stop()
        if parent is not None:
            loop.remove_reader(parent)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
        end_in_time(number, stop_timeout + LONGEST_STOP)
    loop.add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if parent is not None:
        loop.add_reader(parent, stop)
    checks = asyncio.create_task(check_clients(*servers))
    beside = [asyncio.create_task(server.serve()) for server in others]
    await api.serve()
    for server in others:
        server.stop()
    await asyncio.gather(*beside)
    checks.cancel()
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=END_TIMEOUT)


def end_in_time(number: int, seconds: int) -> None:
    """Let the kernel end this process some time after the first signal (SIGALRM), even if the event loop has no memory to
    stop.

    The event loop, which already handles the signal, learns of it from a pipe and does not need the handler set here.
    """

    def set_alarm(*_: object) -> None:
        left, _interval = signal.getitimer(signal.ITIMER_REAL)  # the timer of alarm()
        if not left:
            signal.alarm(seconds)

    signal.signal(number, set_alarm)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on host and port. Raises StartError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
