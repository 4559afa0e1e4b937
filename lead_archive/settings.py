"""Where the server is, what the key is, and which files are read: what the environment and the command line say."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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
        raise UsageError("which server? Set LEAD_ARCHIVE_URL, or give --url, such as https://archive.example.com")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError("the URL of the server is https://HOST or https://HOST:PORT, and nothing else but maybe a path")
    try:
        key = key_file.read_text(encoding="utf-8") if key_file else os.environ.get("LEAD_ARCHIVE_KEY", "")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read the key: {error}") from None
    key = key.strip()
    if not key:
        raise UsageError("which key? Set LEAD_ARCHIVE_KEY, or give --key-file with the name of a file that holds it")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError("the key is not one line of ASCII letters, digits and signs: is it the right file?")
    return Settings(url.rstrip("/"), key, insecure=insecure, timeout=timeout, retry_for=retry_for, wait=wait)


@contextlib.contextmanager
def opened(file: str) -> Iterator[io.BufferedReader]:
    """The file or standard input, as bytes. Raises UsageError."""
    if file == STDIN:
        assert isinstance(sys.stdin.buffer, io.BufferedReader)
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    with stream:
        yield stream


def refuse_same_files(files: dict[str, Path]) -> None:
    """Raises UsageError if two of them are the same file: one would overwrite the other."""
    seen: dict[Path, str] = {}
    for name, path in files.items():
        if other := seen.get(path.absolute()):
            raise UsageError(f"{other} and {name} are the same file, {path}: name another")
        seen[path.absolute()] = name
