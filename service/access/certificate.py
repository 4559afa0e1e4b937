"""The TLS certificate, which can be replaced while the service runs."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import structlog

from service.files import read_file

logger = structlog.get_logger()


class Certificate:
    """TLS_CERT_FILE and TLS_KEY_FILE as they were when they were last read successfully."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError (ssl.SSLError is one) and ValueError."""
        self._files = certificate, key
        self.context = self._load()
        """The context for the next connection."""

    def reload(self) -> None:
        """Read the files again. If they cannot be used, keep the old certificate."""
        try:
            # Make a new context: the old one would still offer the old certificate if its key is of another type.
            self.context = self._load()
            logger.info("certificate reloaded", file=str(self._files[0]))
        except (OSError, ValueError) as error:
            logger.error("certificate not reloaded", file=str(self._files[0]), error=str(error))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        texts = [read_file(path) for path in self._files]
        with _in_memory(texts[0]) as certificate, _in_memory(texts[1]) as key:
            context.load_cert_chain(certificate, key, password=lambda: "")
        return context


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a file name for the content. OpenSSL reads only from names, and this one is in memory: no disk can hang."""
    descriptor = os.memfd_create("certificate")
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
