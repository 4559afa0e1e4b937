"""API keys: who may call, and for which leads. The file holds their hashes only, so that whoever reads it cannot call."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import re
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import structlog

from service.daemon_threads import DaemonThreads
from service.files import read_existing, read_file

FORM = 'write each key as a [[keys]] table with name = "…" and sha256 = "…", the 64 hex digits of the key\'s SHA-256'

LARGEST_LIST_ID = 2**64 - 1

SETTLE_TIME = 2.0
"""Seconds after which a file that has changed is read once more. A second change within the same tick of the file system's
clock leaves no other trace; FAT's clock ticks every two seconds, ext4's every few milliseconds."""

REMINDER_INTERVAL = 600.0
"""Seconds between two log lines about the same problem."""

NEVER_READ = ()

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
    _by_digest: dict[bytes, Key] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_digest", {key.digest: key for key in self.entries})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the TOML file. Raises ValueError, which says what is wrong and where, if it is not exactly as it should be."""
        return cls.parse(read_existing(path), path)

    @classmethod
    def parse(cls, text: bytes, path: Path) -> Self:
        """Return the keys in the text of the file at path. Raises ValueError like load."""
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
        """Return the key's entry, None if it is nobody's or has expired. today: the date in UTC.

        The time tells nothing that is of use: what is looked up is not what the caller sent but its SHA-256, which nobody can
        steer towards another one, and of which no part tells a key of 32 random bytes.
        """
        digest = hashlib.sha256(key).digest()
        found = self._by_digest.get(digest)
        if found and hmac.compare_digest(digest, found.digest) and found.is_valid_on(today):
            return found
        return None


class KeysFile:
    """API_KEYS_FILE, read anew when it changes.

    A new file that cannot be understood changes nothing: the old keys stay until it is mended, and the log says so. A file
    that cannot be read, since descriptors are out or it is being replaced, is tried again with each request until it is read.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError if the file cannot be understood."""
        self._path = path
        self._thread = DaemonThreads(1, "keys")
        """Whatever looks at the file runs here, one look at a time."""
        self._refresh: Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        """The look of the event loop that began last."""
        self._begun = 0
        """How many looks have begun."""
        self._ended = 0
        """The number of the last look that has ended."""
        self._signature = _signature(path)
        text = read_existing(path)
        self._keys = Keys.parse(text, path)
        self._digest = hashlib.sha256(text).digest()
        """SHA-256 of the text that was looked at last."""
        self._due = time.monotonic() + SETTLE_TIME
        """When the file is read anew though it does not seem to have changed, by time.monotonic()."""
        self._told: dict[str, float] = {}
        """By problem since the last success, when to log it again."""

    async def current(self, timeout: float) -> Keys:
        """Return the keys as they are now: of a file that changed before the call, those after the change.

        A thread looks at the file and reads it, while the event loop goes on: a network file system may stand still. timeout:
        seconds after which the old keys are returned.
        """
        deadline = time.monotonic() + timeout
        # A look that has begun may have missed the last change. Whoever comes while it lasts shares the next one.
        wanted = self._begun + 1
        while self._ended < wanted and (seconds := deadline - time.monotonic()) > 0:
            if self._looking is None or self._looking.done():
                self._begun += 1
                self._looking = asyncio.create_task(self._look_in_thread(self._begun))
            await asyncio.wait([self._looking], timeout=seconds)
            if self._looking.done():
                self._looking.result()  # raise what a defect has raised
        return self._keys

    def reload(self) -> None:
        """Read the file, whether it has changed or not, and log what came of it. May be called in any thread.

        It takes tenths of a second for thousands of keys, and a file system may stand still: the event loop should not be the
        one that calls it.
        """
        self._in_thread(self._look_anew).result()

    def refresh(self) -> None:
        """Have the file read if it has changed. Return at once."""
        if self._refresh is None or self._refresh.done():
            self._refresh = self._in_thread(self._look_if_due)

    def _in_thread(self, look: Callable[[], None]) -> Future[None]:
        try:
            return self._thread.submit(look)
        except RuntimeError:  # there is no thread, and the system has none left; a pause is better than a revoked key
            look()
            done: Future[None] = Future()
            done.set_result(None)
            return done

    def _is_due(self) -> bool:
        return _signature(self._path) != self._signature or time.monotonic() >= self._due

    async def _look_in_thread(self, number: int) -> None:
        await asyncio.wrap_future(self._in_thread(self._look_if_due))
        self._ended = number

    def _look_if_due(self) -> None:
        if self._is_due():
            self._look()

    def _look_anew(self) -> None:
        self._digest = b""
        self._look()

    def _look(self) -> None:
        """Read the file. Never raise."""
        signature = _signature(self._path)  # before it is read: a change meanwhile is seen by the next
        try:
            self._read(signature)
        except (OSError, MemoryError) as error:
            self._signature, self._digest = NEVER_READ, b""
            self._tell(f"cannot read {self._path}: {(isinstance(error, OSError) and error.strerror) or 'out of memory'}")
        except Exception as error:
            self._signature = signature
            self._tell(str(error))

    def _read(self, signature: tuple[int, ...] | None) -> None:
        self._due = time.monotonic() + REMINDER_INTERVAL if self._told else math.inf
        text = read_file(self._path)
        digest = hashlib.sha256(text).digest()
        if digest != self._digest:
            self._due = time.monotonic() + SETTLE_TIME
        elif not self._told:
            self._signature = signature
            return
        try:
            keys = Keys.parse(text, self._path)
        except ValueError:
            self._digest = digest
            raise
        # In this order: a worker that is forked meanwhile must not take the text for read while it has the old keys.
        self._keys = keys
        self._signature = signature
        self._digest = digest
        self._told.clear()
        logger.info("keys reloaded", file=str(self._path), keys=len(keys.entries))

    def _tell(self, problem: str) -> None:
        now = time.monotonic()
        if now >= self._told.get(problem, 0):
            self._told[problem] = now + REMINDER_INTERVAL
            logger.error("keys not reloaded", file=str(self._path), error=problem)


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file does, whether it is written in place or another is put there."""
    try:
        status = os.stat(path)  # half the time of Path.stat
    except (OSError, MemoryError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def parse_toml(text: bytes, path: Path) -> dict[str, Any]:
    """Return the TOML in the text of the file at path. Raises ValueError."""
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
    """What stands in the file for a key: the hex of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()
