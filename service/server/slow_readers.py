"""How long a client may take to read its answer."""

from __future__ import annotations

import asyncio
import socket
import struct

import structlog

STALL_TIMEOUT = 5
"""Seconds after which a client that takes nothing of its answer is disconnected."""

ANSWER_TIMEOUT = 60
"""Seconds for a client to take all that it was sent. The largest answer, a script of /docs, has 1.5 MB."""

RESET = struct.pack("ii", 1, 0)
"""Linger, for no second."""

logger = structlog.get_logger()


class Patience:
    """With the client of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._unsent: int | None = None
        """Bytes that the client had not taken at the last look; None if nothing was waiting for it."""
        self._since = self._progress_at = 0.0

    def check(self, now: float) -> None:
        """Disconnect a client that does not take its answer in time. Called every second.

        now: the event loop's time, in seconds.
        """
        unsent = self._transport.get_write_buffer_size()
        if not unsent and not self._transport.is_closing():
            self._unsent = None
        elif self._unsent is None:
            self._unsent, self._since, self._progress_at = unsent, now, now
        else:
            if unsent < self._unsent:
                self._unsent, self._progress_at = unsent, now
            if now - self._progress_at > STALL_TIMEOUT or now - self._since > ANSWER_TIMEOUT:
                logger.info("client does not read", unsent=unsent)
                # With a reset: otherwise the kernel would keep the rest, and probe for a reader, for minutes more.
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self._transport.abort()
