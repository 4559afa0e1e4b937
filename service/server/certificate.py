"""The TLS certificate, which can be replaced while the service runs."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

logger = structlog.get_logger()


class Certificate:
    """TLS_CERT_FILE and TLS_KEY_FILE, as they were when they could last be read."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError, of which ssl.SSLError is one, and ValueError."""
        self._files = certificate, key
        self.context = self._load()
        """For the next connection."""

    def reload(self) -> None:
        """Read the files again. Keep what there was if they cannot be used."""
        try:
            # A new context: the old one would go on offering an old certificate whose key is of another type.
            self.context = self._load()
            logger.info("certificate reloaded", file=str(self._files[0]))
        except (OSError, ValueError) as error:
            logger.error("certificate not reloaded", file=str(self._files[0]), error=str(error))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with _regular(self._files[0]) as certificate, _regular(self._files[1]) as key:
            context.load_cert_chain(certificate, key, password=lambda: "")
        return context


@contextlib.contextmanager
def _regular(path: Path) -> Iterator[str]:
    """Give a name under which a regular file can be read, whatever is put in its place meanwhile.

    Raises OSError, and ValueError if it is no regular file: a FIFO would wait for somebody who writes to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is not a regular file")
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
