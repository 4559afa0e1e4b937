"""API keys: who may call, and for which leads. The file holds their hashes only, so that whoever reads it cannot call."""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import structlog

FORM = 'write each key as a [[keys]] table with name = "…" and sha256 = "…", the 64 hex digits of the key\'s SHA-256'

LARGEST_LIST_ID = 2**64 - 1

logger = structlog.get_logger()


@dataclass(frozen=True)
class Key:
    """A key, whose digest is its SHA-256."""

    name: str
    digest: bytes
    expires: date | None = None
    """From the start of this day, UTC, the key is refused."""
    list_ids: frozenset[int] | None = None
    """The lists whose leads it may see; None: all."""

    def is_valid_on(self, day: date) -> bool:
        return self.expires is None or day < self.expires

    @property
    def short(self) -> str:
        """What tells the keys of one name apart: the first digits of its SHA-256."""
        return self.digest.hex()[:8]


@dataclass(frozen=True)
class Keys:
    """The keys of API_KEYS_FILE. A name may have several."""

    entries: tuple[Key, ...]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the TOML file. Raises ValueError, which says what is wrong and where, if it is not exactly as it should be."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not TOML: {error}") from None
        tables = content.get("keys")
        if unknown := content.keys() - {"keys"}:
            raise ValueError(f"{path}: unknown field {', '.join(sorted(unknown))}; {FORM}")
        if not isinstance(tables, list) or not tables:
            raise ValueError(f"{path} holds no key; {FORM}")
        entries: list[Key] = []
        for number, table in enumerate(tables, 1):
            key = _read(table, f"{path}, key {number}")
            if any(key.digest == other.digest for other in entries):
                raise ValueError(f"{path}, key {number} ({key.name}): the same key stands in the file already")
            entries.append(key)
        return cls(tuple(entries))

    def find(self, key: bytes, today: date) -> Key | None:
        """The key's entry, None if it is nobody's or has expired. Every entry is compared, each in constant time.

        today: the date in UTC.
        """
        digest = hashlib.sha256(key).digest()
        found = None
        for entry in self.entries:
            if hmac.compare_digest(digest, entry.digest) and entry.is_valid_on(today):
                found = entry
        return found


class KeysFile:
    """API_KEYS_FILE, read anew when it changes. A new file that cannot be understood changes nothing: the old keys stay."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError if the file cannot be understood."""
        self._path = path
        self._signature = _signature(path)
        self._keys = Keys.load(path)

    def read(self) -> Keys:
        """The keys as they are now."""
        signature = _signature(self._path)
        if signature != self._signature:
            self._signature = signature
            try:
                self._keys = Keys.load(self._path)
                logger.info("keys reloaded", file=str(self._path), keys=len(self._keys.entries))
            except ValueError as error:
                logger.error("keys not reloaded", file=str(self._path), error=str(error))
        return self._keys


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the file does, whether it is written in place or another is put there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(table: Any, where: str) -> Key:
    if not isinstance(table, dict) or not {"name", "sha256"} <= table.keys() <= {"name", "sha256", "expires", "list_ids"}:
        raise ValueError(f"{where}: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}")
    name, sha256, expires, list_ids = (table.get(field) for field in ("name", "sha256", "expires", "list_ids"))
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"{where}: name must be a text that can be printed")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9A-Fa-f]{64}", sha256):
        raise ValueError(f"{where} ({name}): sha256 must be 64 hex digits")
    digest = bytes.fromhex(sha256)
    if digest == hashlib.sha256(b"").digest():
        raise ValueError(f"{where} ({name}): sha256 is that of an empty key")
    if "expires" in table and (not isinstance(expires, date) or isinstance(expires, datetime)):
        raise ValueError(f"{where} ({name}): expires must be a date without quotes, such as expires = 2027-12-31")
    if "list_ids" in table and not (
        isinstance(list_ids, list)
        and list_ids
        and all(type(list_id) is int and 0 <= list_id <= LARGEST_LIST_ID for list_id in list_ids)
    ):
        raise ValueError(f"{where} ({name}): list_ids must be an array of list ids, such as list_ids = [101, 102]")
    return Key(name, digest, expires, frozenset(list_ids) if list_ids else None)


def fingerprint(key: str) -> str:
    """What stands in the file for a key: the hex of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()
