"""The server, the key and the input files, from the environment and the command line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from lead_archive.errors import UsageError

STDIN = "-"


@dataclass(frozen=True)
class Settings:
    """How to reach the server. Times in seconds."""

    url: str
    key: str
    insecure: bool = False
    timeout: float = 90
    retry_for: float = 300
    wait: bool = False
    """Whether to wait for the end of office hours."""


def settings_from(
    *, url: str | None, key_file: Path | None, insecure: bool, timeout: float, retry_for: float, wait: bool
) -> Settings:
    """Raises UsageError."""
    if not url:
        raise UsageError("no server is given: set LEAD_ARCHIVE_URL, or give --url, such as https://archive.example.com")
    if not is_server(url):
        raise UsageError("the URL of the server is https://HOST or https://HOST:PORT, and nothing else but maybe a path")
    try:
        key = key_file.read_text(encoding="utf-8-sig") if key_file else os.environ.get("LEAD_ARCHIVE_KEY", "")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read the key: {error}") from None
    key = key.strip()
    if not key:
        raise UsageError("no key is given: set LEAD_ARCHIVE_KEY, or give --key-file with the name of a file that holds it")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError("the key is not one line of ASCII letters, digits and signs: is it the right file?")
    return Settings(url.rstrip("/"), key, insecure=insecure, timeout=timeout, retry_for=retry_for, wait=wait)


def is_server(url: str) -> bool:
    """Return whether a URL can be that of a server: it has a host, may have a port and a path, and has nothing else."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # no such port, no such IPv6 address, no such name
        return False
    odd = parts.query or parts.fragment or "@" in parts.netloc or port == 0 or not (url.isascii() and url.isprintable())
    return parts.scheme in {"http", "https"} and bool(host) and not odd and " " not in url


@contextlib.contextmanager
def opened(file: str) -> Iterator[io.BufferedReader]:
    """The file or standard input, as bytes. Raises UsageError."""
    if file == STDIN:
        buffer = getattr(sys.stdin, "buffer", None)
        if not isinstance(buffer, io.BufferedReader):
            raise UsageError("standard input is closed: name a file")
        yield buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot read {click.format_filename(file)}: {error.strerror}") from None
    except ValueError as error:  # a zero byte in the name
        raise UsageError(f"cannot read this file: {error}") from None
    with stream:
        yield stream
