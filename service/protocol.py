"""HTTP/1.1 on a connection: uvicorn's, which answers what is no request in the contract's words, and waits for no request
without end."""

from __future__ import annotations

import asyncio
import json
import uuid

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.middleware import common_headers
from service.request_parser import RequestParser

HEAD_TIMEOUT = 5
"""Seconds for a request's head, its first line and headers, to arrive: as long as an idle connection is kept."""

LARGEST_HEAD = 64 * 1024
"""Bytes of a head that arrive after its first part. httptools keeps whatever is sent."""

logger = structlog.get_logger()


class Protocol(HttpToolsProtocol):
    """A connection. The middleware never sees what is answered here: there is no request yet."""

    _timer: asyncio.TimerHandle | None = None
    """While a head is due."""
    _begun = False
    """Whether a part of it has arrived."""
    _size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self.parser = RequestParser(self)
        self._expect_head(begun=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head(begun=True)

    def on_headers_complete(self) -> None:
        self._expect_no_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        before = self._timer
        super().data_received(data)
        if before and self._timer is before:  # all of it is more of the same head
            self._size += len(data)
            if self._size > LARGEST_HEAD:
                self._refuse(400, f"request line and headers cannot exceed {LARGEST_HEAD} bytes")

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser gives up."""
        del msg
        self._refuse(400, "not a request that HTTP/1.1 allows")

    def _expect_head(self, begun: bool) -> None:
        self._expect_no_head()
        self._begun, self._size = begun, 0
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

    def _expect_no_head(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._begun:
            self._refuse(408, f"request line and headers did not arrive within {HEAD_TIMEOUT} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._expect_no_head()
        if self.transport.is_closing():
            return
        if self.cycle and not self.cycle.response_complete and (self.cycle.response_started or not self.cycle.more_body):
            # The request before it is not answered yet, and its caller would take this for the answer.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        request_id = uuid.uuid4().hex
        logger.warning("no request", request_id=request_id, status=status, message=message)
        body = {"message": message} | ({"lead_errors": 0, "lead_ids": []} if status == 400 else {})
        content = json.dumps(body, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            "connection": "close",
            **common_headers(request_id),
        }
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + content)
        self.transport.close()
