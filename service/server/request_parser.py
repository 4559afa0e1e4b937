"""A parser of HTTP/1.1 requests: httptools' parser, which ignores the Upgrade header."""

from __future__ import annotations

from typing import Any

import httptools


class ParsingStoppedError(Exception):
    """Raised by a callback of the protocol: it takes no more input."""


class CallbackFailedError(Exception):
    """Raised by the parser if a callback failed: the input is not to blame. __cause__: what the callback raised."""


class RequestParser(httptools.HttpRequestParser):
    """Parse requests as if they had no Upgrade header, which a server may ignore (RFC 9110, 7.8).

    Clients such as Java's and curl use it to offer HTTP/2 on connections without TLS. httptools stops after the head of such a
    request and does not read the body. So this parser starts again with the head without that header, followed by the rest of
    the input.
    """

    def __init__(self, protocol: Any) -> None:
        """protocol: gets the callbacks. It keeps the current head in url and headers; discards_input says that it
        takes no more input: its callbacks then raise ParsingStoppedError."""
        self._protocol = protocol
        self.on_message_begin = protocol.on_message_begin
        self.on_url = protocol.on_url
        self.on_header = protocol.on_header
        self.on_body = protocol.on_body
        self._begin()

    def _begin(self) -> None:
        super().__init__(self)
        # As uvicorn sets it: input after a request that closes the connection is no error.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        """Parse input. Raises HttpParserError if it is not HTTP/1.1, and CallbackFailedError."""
        rest = memoryview(data)
        while not self._protocol.discards_input:
            try:
                self._feed(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_offer():
                    return  # input after CONNECT is for the other end of a tunnel, which does not exist
                rest = rest[upgrade.args[0] :]
            head = self._head_without_offer()
            self._begin()
            self._feed(head)

    def _feed(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not self._protocol.discards_input:
                raise CallbackFailedError from error.__context__
        except httptools.HttpParserError:
            if not self._protocol.discards_input:
                raise

    def on_headers_complete(self) -> None:
        if not self._is_offer():
            self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_offer():
            self._protocol.on_message_complete()

    def _is_offer(self) -> bool:
        """Return whether the request is to be parsed again. CONNECT asks for a tunnel, which is no offer to upgrade."""
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, self.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self._protocol.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
