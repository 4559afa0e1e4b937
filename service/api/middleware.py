"""Middleware around every request: the request id, the common headers, the log line, and an answer to every unhandled
exception."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.error_responses import MAY_BE_APPLIED, RETRY_AFTER, error_response
from service.observability.metrics import count_request

IS_LOST = "lead_archive.is_lost"
"""An ASGI extension. "ask" is a function that tells whether the client disconnected before its answer was complete, or got
another answer; "status" is the status to count then. "then" is called when the connection is lost before the answer is
complete; who wants to know replaces it."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

METHODS = frozenset({"GET", "HEAD", "POST"})
"""The methods of the contract's paths."""

PART = 64 * 1024
"""Bytes of an answer that are written at a time. Before each part, the server waits until the client has taken most of the
parts before. With TLS, everything that is written is copied: a large answer in one piece would cost its whole size for each
client that does not read."""

logger = structlog.get_logger()


def common_headers(request_id: str) -> dict[str, str]:
    """Return the headers that every answer has."""
    return {"X-Request-ID": request_id, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def send_in_parts(send: Send, message: Message) -> None:
    """Send a message with at most PART bytes of a body at a time."""
    body: bytes = message.get("body", b"")
    for end in range(PART, len(body), PART):
        await send({**message, "body": body[end - PART : end], "more_body": True})
    rest = len(body) % PART or min(len(body), PART)
    await send(message if rest == len(body) else {**message, "body": body[-rest:]})


INTERNAL_ERROR = "internal error; no lead is lost, and the request can be repeated"


async def on_exception(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that RequestMiddleware could not answer, for lack of memory."""
    del error  # RequestMiddleware has logged it
    request_id = structlog.contextvars.get_contextvars().get("request_id") or uuid.uuid4().hex
    return JSONResponse({"message": INTERNAL_ERROR}, 500, {**common_headers(request_id), "Connection": "close"})


class RequestMiddleware:
    """Plain ASGI middleware. It is the outermost."""

    def __init__(self, app: ASGIApp, routes: frozenset[str], is_counted: bool = True) -> None:
        """routes: all paths. is_counted: whether requests are logged and counted."""
        self._app = app
        self._routes = routes
        self._is_counted = is_counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        sent_id = headers.get("x-request-id", "")
        request_id = sent_id if REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        body_is_due = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        status = 0

        async def receive_and_watch() -> Message:
            nonlocal body_is_due
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                body_is_due = False
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer.update(common_headers(request_id))
                if body_is_due:
                    # The answer was sent before the body was read. The server would go on reading the body, however long it
                    # is.
                    answer["Connection"] = "close"
            await send_in_parts(send, message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive_and_watch, send_with_headers)
        except ClientDisconnect:
            logger.info("client disconnected")
        except asyncio.CancelledError:
            # The service is stopping, and the request took longer than the stop waits.
            if not status:
                message = f"the service was stopped; {MAY_BE_APPLIED}"
                response = error_response(503, message, {"Retry-After": str(RETRY_AFTER)})
                await response(scope, receive, send_with_headers)
            raise
        except Exception:
            logger.exception("internal error")
            if status:
                raise  # It is too late for another answer: let the server close the connection.
            response = error_response(500, INTERNAL_ERROR)
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            extension = scope.get("extensions", {}).get(IS_LOST)
            if extension and extension["ask"]():
                status = extension["status"]
            if self._is_counted:
                self._count(scope, status, seconds)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Methods that callers invent must not become labels.
        route = scope["path"] if scope["path"] in self._routes else "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        count_request(method, route, status, seconds)
        logger.info(
            "request",
            method=scope["method"],
            path=scope["raw_path"].decode("ascii", "backslashreplace"),  # not decoded: it may contain anything
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )
