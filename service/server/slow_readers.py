"""Disconnect clients that do not read their answers."""

from __future__ import annotations

import asyncio
import socket
import struct

import structlog

STALL_TIMEOUT = 5
"""Seconds after which a client that reads nothing of its answer is disconnected."""

ANSWER_TIMEOUT = 60
"""Seconds for a client to read everything that was sent. The largest answer, a script of /docs, has 1.5 MB."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of zero."""

logger = structlog.get_logger()


class SlowReader:
    """Watches the client of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0
        """Bytes of all answers so far."""
        self._taken: int | None = None
        """Bytes that the client had read at the last check. None if nothing was waiting for it."""
        self._since = self._progress_at = 0.0

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        self._written += len(data)
        self._transport.write(data)

    def check(self, now: float, is_answering: bool) -> None:
        """Disconnect a client that does not read its answer in time. Called every second.

        now: the time of the event loop, in seconds. is_answering: whether a part of an answer is still to come. That part
        waits until the client has read the earlier ones, so the number of unsent bytes alone does not show progress.
        """
        unsent = self._transport.get_write_buffer_size()
        taken = self._written - unsent
        if not unsent and not is_answering and not self._transport.is_closing():
            self._taken = None
        elif self._taken is None:
            self._taken, self._since, self._progress_at = taken, now, now
        else:
            if taken > self._taken:
                self._taken, self._progress_at = taken, now
            if now - self._progress_at > STALL_TIMEOUT or now - self._since > ANSWER_TIMEOUT:
                logger.info("client does not read", unsent=unsent)
                # Send a reset: otherwise the kernel would keep the rest of the answer, and probe the client, for minutes.
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self._transport.abort()
