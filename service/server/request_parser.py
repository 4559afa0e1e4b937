"""The parser of HTTP/1.1 requests: httptools', without its way with offers to speak another protocol."""

from __future__ import annotations

from typing import Any

import httptools


class RequestParser(httptools.HttpRequestParser):
    """Parse requests as if they had no Upgrade header, which a server may ignore (RFC 9110, 7.8).

    Java's and curl's clients offer HTTP/2 that way on a connection without TLS. httptools stops after the head of such a
    request and leaves the body unread. So it begins anew, with the head without the offer, and then what comes after it.
    """

    def __init__(self, protocol: Any) -> None:
        """protocol: whose callbacks are called, which keeps the head of the request that it was last told of in url and
        headers, and whose is_deaf says that it takes no more.
        """
        self._protocol = protocol
        self.on_message_begin = protocol.on_message_begin
        self.on_url = protocol.on_url
        self.on_header = protocol.on_header
        self.on_body = protocol.on_body
        self._begin()

    def _begin(self) -> None:
        super().__init__(self)
        # As uvicorn sets it: what comes after a request that closes the connection is no error.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        rest = memoryview(data)
        while not self._protocol.is_deaf:
            try:
                super().feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_offer():
                    return  # what comes after CONNECT is for the other end of a tunnel that there is not
                rest = rest[upgrade.args[0] :]
            else:
                return
            if self._protocol.is_deaf:
                return  # the protocol holds no head: it ignored this one, or refused it
            head = self._head_without_offer()
            self._begin()
            super().feed_data(head)

    def on_headers_complete(self) -> None:
        if not self._is_offer():
            self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_offer():
            self._protocol.on_message_complete()

    def _is_offer(self) -> bool:
        """Whether the request is to be parsed once more. CONNECT asks for a tunnel, which is no offer."""
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, self.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self._protocol.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
