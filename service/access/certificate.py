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
        texts = [read_file(path) for path in self._files]
        with _in_memory(texts[0]) as certificate, _in_memory(texts[1]) as key:
            context.load_cert_chain(certificate, key, password=lambda: "")
        return context


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give a name under which OpenSSL, which takes names only, reads the content: never from a disk that may stand still."""
    descriptor = os.memfd_create("certificate")
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
