"""API keys: who may call, and for which leads. The file contains only hashes: who reads it cannot call."""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from service.files import read_existing

FORM = 'write each key as a [[keys]] table with name = "…" and sha256 = "…", the 64 hex digits of the key\'s SHA-256'

LARGEST_LIST_ID = 2**64 - 1


@dataclass(frozen=True)
class Key:
    """A key. digest: its SHA-256."""

    name: str
    digest: bytes
    expires: date | None = None
    """The key is rejected from 00:00 UTC on this date."""
    list_ids: frozenset[int] | None = None
    """The lists whose leads the key may see; None: all lists."""

    def is_valid_on(self, day: date) -> bool:
        return self.expires is None or day < self.expires

    @property
    def short(self) -> str:
        """The first digits of the SHA-256, which distinguish the keys of one name."""
        return self.digest.hex()[:8]


@dataclass(frozen=True)
class Keys:
    """The keys of API_KEYS_FILE. Several keys may have the same name."""

    entries: tuple[Key, ...]
    _by_digest: dict[bytes, Key] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_digest", {key.digest: key for key in self.entries})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the TOML file. Raises ValueError, which says what is wrong and where."""
        return cls.parse(read_existing(path), path)

    @classmethod
    def parse(cls, text: bytes, path: Path) -> Self:
        """Return the keys in `text`, the content of the file at `path`. Raises ValueError as load() does."""
        content = parse_toml(text, path)
        tables = content.get("keys")
        if unknown := content.keys() - {"keys"}:
            raise ValueError(f"{path}: unknown field {', '.join(sorted(unknown))}; {FORM}")
        if not isinstance(tables, list) or not tables:
            raise ValueError(f"{path} holds no key; {FORM}")
        entries: dict[bytes, Key] = {}
        for number, table in enumerate(tables, 1):
            key = _read(table, f"{path}, key {number}")
            if key.digest in entries:
                raise ValueError(f"{path}, key {number} ({key.name}): the same key stands in the file already")
            entries[key.digest] = key
        return cls(tuple(entries.values()))

    def find(self, key: bytes, today: date) -> Key | None:
        """Return the entry of a key; None if the key is unknown or has expired. today: the date in UTC.

        The time that this takes reveals nothing useful: the look-up uses the SHA-256 of what the caller sent. Nobody can
        choose a text whose hash is close to another hash, and no part of the hash reveals a key of 32 random bytes.
        """
        digest = hashlib.sha256(key).digest()
        found = self._by_digest.get(digest)
        if found and hmac.compare_digest(digest, found.digest) and found.is_valid_on(today):
            return found
        return None


def parse_toml(text: bytes, path: Path) -> dict[str, Any]:
    """Return the parsed TOML. path: for the message. Raises ValueError."""
    try:
        return tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"{path} is not TOML that can be read: its values are nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


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
    """Return the hex SHA-256 of a key, as the file contains it."""
    return hashlib.sha256(key.encode()).hexdigest()
