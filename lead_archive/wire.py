"""One HTTP request: bounded in time and size, and ended by Ctrl-C as long as nothing was sent that changes leads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2

from lead_archive.answers import LARGEST_ANSWER, Answer
from lead_archive.errors import StoppedError, UsageError, visible
from lead_archive.settings import Settings

CONNECT_TIMEOUT = 10.0
"""Seconds in which a server takes a connection, or is not there."""

REQUEST_ID = "X-Request-ID"
"""The header that tells which request an answer is for."""


class NoAnswerError(Exception):
    """No whole answer arrived. The message says why. Whether the request was processed is not known."""


class CertificateError(Exception):
    """The server's certificate cannot be verified."""


class TooLargeError(Exception):
    """The answer is larger than any of this API's."""


class Wire:
    """Connections to one server."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        """Raises UsageError if certificates or proxies are set up wrong."""
        self._stop = stop
        self._mark = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        try:
            self._client = httpx2.AsyncClient(
                base_url=settings.url,
                headers={"Authorization": f"Key={settings.key}", "User-Agent": "lead-archive", "Accept-Encoding": "identity"},
                verify=not settings.insecure,
                # One connection for each request: whatever follows an answer is not taken for that to another request.
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            )
        except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
            raise UsageError(
                f"cannot prepare connections: {error}; look at --url, SSL_CERT_FILE, SSL_CERT_DIR and the variables *_PROXY"
            ) from None

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, method: str, path: str, body: Any, timeout: float, *, changes: bool) -> Answer:
        """Send a request and return the answer. timeout: seconds until all of the answer has arrived.

        changes: whether the request changes leads. When the run is to stop, such a request is waited for once it was sent,
        any other is not. Raises StoppedError, NoAnswerError, CertificateError, TooLargeError.
        """
        sent = False

        async def trace(event: str, info: dict[str, Any]) -> None:  # noqa: ARG001  # the library's signature
            nonlocal sent
            sent = sent or event.endswith(".send_request_headers.started")

        if self._stop.is_set():
            raise StoppedError
        request = asyncio.ensure_future(self._exchange(method, path, body, timeout, trace))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({request, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not request.done() and not (changes and sent):
                raise StoppedError
            return await request
        finally:
            stopped.cancel()
            if not request.done():
                request.cancel()
                with contextlib.suppress(asyncio.CancelledError, NoAnswerError, CertificateError, TooLargeError):
                    await request

    async def _exchange(self, method: str, path: str, body: Any, timeout: float, trace: Callable[..., Any]) -> Answer:
        times = httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT, pool=None)
        content = bytearray()
        request_id = f"{self._mark}-{next(self._numbers)}"
        sent: dict[str, Any] = {"json": body, "headers": {REQUEST_ID: request_id}}
        try:
            async with (
                asyncio.timeout(timeout),  # a server that sends a byte now and then is never silent
                self._client.stream(method, path, **sent, timeout=times, extensions={"trace": trace}) as response,
            ):
                # The service sends the id back. A proxy may replace it, or add one of its own.
                ours = {value for value in response.headers.get_list(REQUEST_ID, True) if value.startswith(self._mark)}
                if ours and request_id not in ours:
                    raise NoAnswerError("the answer to another request came: a proxy mixes up answers")
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > LARGEST_ANSWER:
                        raise TooLargeError(f"it has more than {LARGEST_ANSWER} bytes")
        except TimeoutError:
            raise NoAnswerError(f"no answer within {timeout:g} s") from None
        except (httpx2.RequestError, OSError, UnicodeError) as error:
            if certificate := certificate_error(error):
                raise CertificateError(visible(str(certificate))) from None
            raise NoAnswerError(visible(f"{type(error).__name__}: {error}".rstrip(": "))) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, visible(response.reason_phrase, 100), headers, bytes(content))


class DaemonExecutor(ThreadPoolExecutor):
    """Threads that nobody waits for: looking up a name can take minutes, and cannot be ended."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*arguments, **named)
            except BaseException as error:  # it is the waiting task's
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, daemon=True).start()
        return future


def certificate_error(error: BaseException | None) -> BaseException | None:
    """Return the cause of an error that is a certificate which cannot be verified, None if there is none."""
    while error and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error
