"""The TLS certificate, which can be replaced while the service runs."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

logger = structlog.get_logger()


class Certificate:
    """TLS_CERT_FILE and TLS_KEY_FILE, as they were when they could last be read."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError, of which ssl.SSLError is one."""
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
        context.load_cert_chain(*self._files, password=lambda: "")
        return context
