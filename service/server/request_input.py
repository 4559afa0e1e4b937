"""What arrives on a connection: parsed into requests, within limits. Part of the protocol in http_protocol.py."""

from __future__ import annotations

from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.header_checks import LARGEST_BODY
from service.server.request_parser import ParsingStoppedError, RequestParser

MOST_HEADERS = 100
"""Maximum number of headers of a request, and of trailers. Requests that have passed proxies have fewer than 50. Each header
costs memory and time, however short it is: 256 KB of them would be 64,000."""

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line and headers, and of trailers."""

PART = 16 * 1024
"""Bytes that are parsed at a time. httptools keeps a header that is not complete, and does not tell of it: its bytes are
counted from one part to the next."""

LARGEST_REST = 2 * LARGEST_BODY
"""Bytes that are discarded: the largest body, with the overhead of its chunks."""

MOST_CHUNKS = 64 * 1024
"""Maximum number of chunks or segments of a body: six for each id of the largest batch, since some encoders send each token by
itself. A chunk costs half a microsecond, so a megabyte of single bytes would take half a second."""

MOST_PIPELINED = 16
"""Maximum number of requests on a connection that wait for the answer to an earlier one."""

logger = structlog.get_logger()


class RequestInput(HttpToolsProtocol):
    """Parses requests, and refuses what exceeds a limit."""

    def __init__(self, *arguments: Any) -> None:
        """arguments: those of uvicorn's protocol."""
        super().__init__(*arguments)
        self.parser = RequestParser(self)
        self.discards_input = False
        """Whether all further input is discarded. The parser stops at its next callback."""
        self._begun = False
        """Whether a part of the next request's head has arrived."""
        self._parsed: RequestResponseCycle | None = None
        """The request whose body is arriving. It may still wait for its turn."""
        self._size = 0
        """Bytes since the last step: of a head, or of the trailers of a body. At the end, the bytes that were discarded."""
        self._steps = 0
        """How often a head began or ended, or a part of a body arrived."""
        self._headers = 0
        """The number of headers of the current head, or of the trailers of the current body."""
        self._head_size = 0
        """Bytes of the address and the headers that are complete."""
        self._chunks = 0
        """The number of parts of the current body."""

    def _refuse(self, status: int, message: str) -> None:
        """Answer the request that is being parsed. Nothing after it is parsed."""
        raise NotImplementedError

    def _stop_reading(self) -> None:
        """Called when more was discarded than a client that waits for its answer sends."""
        raise NotImplementedError

    def _close_after_those_that_wait(self) -> None:
        """Answer the requests that wait, and close."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        try:
            self._take(data)
        except Exception:  # what the parser refuses was answered already: this is a lack of memory, or a defect
            self._fail()

    def _take(self, data: bytes) -> None:
        for start in range(0, len(data), PART):
            if self.discards_input:
                self._size += len(data) - start
                if self._size > LARGEST_REST:
                    self._stop_reading()
                return
            self._parse(data[start : start + PART])

    def _parse(self, data: bytes) -> None:
        steps = self._steps
        super().data_received(data)
        if steps == self._steps and (self._begun or self._parsed) and not self.discards_input:
            self._size += len(data)
            if self._size > LARGEST_HEAD:
                self._refuse_large_head()

    def _fail(self) -> None:
        """Answer the request that is being parsed, which this process could not take in."""
        try:
            logger.exception("request not taken in")
            if self.cycle and self.cycle.more_body:  # also if the failure came just after its head was complete
                self._parsed = self.cycle
            self._refuse(503, "the service failed while it read the request; nothing was changed, repeat the request")
        except Exception:
            self.transport.abort()  # there is not even memory for an answer
            raise

    def on_message_begin(self) -> None:
        self._expect_input()
        super().on_message_begin()
        self._begun = True
        self._headers = self._head_size = 0
        self._step()

    def on_url(self, url: bytes) -> None:
        self._expect_input()
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._expect_input()
        self._headers += 1
        if self._headers > MOST_HEADERS:
            self._refuse(431, f"a request cannot have more than {MOST_HEADERS} headers")
            return
        # Fields after the head are trailers, which must not be merged into the headers (RFC 9110, 6.5.1).
        if self._begun:
            super().on_header(name, value)
        self._count_head(len(name) + len(value) + len(": \r\n"))

    def on_headers_complete(self) -> None:
        self._expect_input()
        if not self._accepts():
            return
        super().on_headers_complete()
        self._begun = False
        self._headers = self._head_size = self._chunks = 0
        self._step()
        self._parsed = self.cycle

    def _accepts(self) -> bool:
        """Return whether the request is to be processed, by its head. If not, it was refused."""
        if len(self.pipeline) >= MOST_PIPELINED:
            # The client sees that the requests after the last answer were not processed.
            self.discards_input = True
            self._close_after_those_that_wait()
            return False
        if not self._has_path():
            self._refuse_no_http()
            return False
        *others, last = self._codings()
        if others and last == b"chunked":  # the parser accepts this; it rejects codings that do not end with chunked itself
            self._refuse(400, "Transfer-Encoding must be chunked, and nothing else")
            return False
        return True

    def _has_path(self) -> bool:
        """Return whether the address has a path. The parser accepts addresses without one, such as http://host."""
        try:
            return httptools.parse_url(self.url).path is not None
        except httptools.HttpParserInvalidURLError:
            return False

    def _codings(self) -> list[bytes]:
        """Return the transfer codings of the body; one empty coding if there is none. Only chunked is decoded."""
        values = b",".join(value for name, value in self.headers if name == b"transfer-encoding")
        return [coding.strip().lower() for coding in values.split(b",")]

    def on_body(self, body: bytes) -> None:
        self._expect_input()
        super().on_body(body)
        self._step()
        self._chunks += 1
        if self._chunks > MOST_CHUNKS:
            self._refuse(400, f"request body cannot have more than {MOST_CHUNKS} chunks")

    def on_message_complete(self) -> None:
        self._expect_input()
        super().on_message_complete()
        self._parsed = None
        # A large part of a body has paused reading. Nobody learns of a reset while it is paused.
        if not self.pipeline:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser refuses the input."""
        del msg
        self._refuse_no_http()

    def _refuse_no_http(self) -> None:
        self._refuse(400, "not a request that HTTP/1.1 allows")

    def _expect_input(self) -> None:
        """Raise ParsingStoppedError if no more input is taken: to parse it all the same would cost time."""
        if self.discards_input:
            raise ParsingStoppedError

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > LARGEST_HEAD:
            self._refuse_large_head()

    def _refuse_large_head(self) -> None:
        self._refuse(431, f"request line and headers cannot exceed {LARGEST_HEAD} bytes")

    def _step(self) -> None:
        self._steps += 1
        self._size = 0
