"""The journal: which batches are done, and which leads they left behind. It survives a crash of the process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lead_archive.errors import JournalLostError, UsageError

APPLICATION_ID = 0x6C617263
"""SQLite's application_id, which identifies a journal."""
VERSION = 1
"""The version of the schema (user_version). Release 0.1 left it at 0."""

SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batch (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, counts TEXT NOT NULL);
CREATE TABLE left_behind (lead_id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX left_behind_batch ON left_behind (batch);
"""
AGAIN = "kind IN ('unknown', 'failed')"
"""The kinds of leads left behind that a resumed run tries again. Which leads are unknown depends on the key."""
ROUNDS = 200_000
"""Iterations of the hash of the key, so that the key cannot be guessed from a journal."""


class Journal:
    """An SQLite file that one process at a time can use. A batch is in it whole or not at all, and on disk at once.

    identity: what a resumed run must have in common with the first one. key: may differ.
    Raises UsageError if the file cannot be used, if there is an unfinished run and neither resume nor start_over is given,
    or if the run cannot be resumed.
    """

    def __init__(
        self, path: Path, identity: dict[str, Any], key: str, *, resume: bool = False, start_over: bool = False
    ) -> None:
        self.path = path
        self.other_key = False
        """Whether the resumed run began with another key."""
        if resume and not path.exists():
            raise UsageError(f"there is no journal {path}, so there is no run to continue: leave out --resume")
        try:
            # Absolute, since SQLite has names such as :memory: that are no files.
            self._database = sqlite3.connect(path.absolute(), timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise UsageError(f"cannot write the journal {path}: {error}; name another place with --journal") from None
        try:
            with self._told():
                self._open()
                self._decide(identity, resume=resume, start_over=start_over)
                self._note_key(key)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def batch_size(self, size: int) -> int:
        """Return the batch size of this run: the one given, or that of the resumed run."""
        with self._told():
            self._execute("INSERT OR IGNORE INTO run VALUES ('batch_size', ?)", str(size))
            return max(int(self._run()["batch_size"]), 1)

    def still_to_do(self, number: int, lead_ids: list[int]) -> list[int]:
        """Return the leads of a batch to send: all, or if the batch was sent before, those to try again."""
        with self._told():
            if not self._one("SELECT count(*) FROM batch WHERE number = ?", number):
                return lead_ids
            statement = f"SELECT lead_id FROM left_behind WHERE batch = ? AND {AGAIN} ORDER BY lead_id"  # noqa: S608
            again = {lead_id for (lead_id,) in self._database.execute(statement, (number,))}
            return [lead_id for lead_id in lead_ids if lead_id in again]

    def record(self, number: int, lead_ids: list[int], counts: Counter[str], left: list[tuple[int, str, str]]) -> None:
        """Record the result for leads of a batch. It replaces an earlier result for them.

        Raises UsageError if it cannot be written.
        """
        with self._told(), self._transaction():
            total: Counter[str] = Counter(counts)
            for (before,) in self._database.execute("SELECT counts FROM batch WHERE number = ?", (number,)).fetchall():
                total.update(read_counts(before))
            rows = self._database.execute("SELECT lead_id, kind FROM left_behind WHERE batch = ?", (number,)).fetchall()
            asked = set(lead_ids)
            again = [(lead_id, kind) for lead_id, kind in rows if lead_id in asked]
            total.subtract(Counter(kind for _, kind in again))
            self._database.executemany("DELETE FROM left_behind WHERE lead_id = ?", [(lead_id,) for lead_id, _ in again])
            self._database.executemany(
                "INSERT OR REPLACE INTO left_behind VALUES (?, ?, ?, ?)",
                [(lead_id, number, kind, reason) for lead_id, kind, reason in left],
            )
            self._execute(
                "INSERT INTO batch VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET counts = excluded.counts",
                number,
                len(lead_ids),
                json.dumps(total),
            )

    def done(self) -> int:
        """Return how many leads need not be sent again."""
        with self._told():
            again = self._one(f"SELECT count(*) FROM left_behind WHERE {AGAIN}")  # noqa: S608
            return self._one("SELECT coalesce(sum(size), 0) FROM batch") - again

    def counts(self) -> Counter[str]:
        """Return the sums of the counts of all batches. Raises UsageError if the journal cannot be read."""
        total: Counter[str] = Counter()
        with self._told():
            for (counts,) in self._database.execute("SELECT counts FROM batch"):
                total.update(read_counts(counts))
        return total

    def left_behind(self) -> Generator[tuple[int, str], None, None]:
        """Yield the leads left behind with their reasons, in ascending order. Raises UsageError if it cannot be read."""
        with self._told():
            yield from self._database.execute("SELECT lead_id, reason FROM left_behind ORDER BY lead_id")

    def _open(self) -> None:
        # From here to the end, no other process can use the file, and a commit returns when it is on disk.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute("COMMIT")
        if self._one("SELECT count(*) FROM sqlite_schema") and self._one("PRAGMA application_id") != APPLICATION_ID:
            raise UsageError(f"{self.path} is not a journal of lead-archive: name another file with --journal")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")

    def _decide(self, identity: dict[str, Any], *, resume: bool, start_over: bool) -> None:
        run = self._run() if self._one("SELECT count(*) FROM sqlite_schema") else {}
        version = self._one("PRAGMA user_version")
        if run and version != VERSION and (resume or (version and not start_over)):
            raise UsageError(
                f"another release of lead-archive wrote the journal {self.path}: continue with that release, or start again "
                "with --start-over, which is safe"
            )
        if resume:
            if not run:
                raise UsageError(f"the journal {self.path} is empty: leave out --resume")
            self._compare(json.loads(run["identity"]), identity)
            return
        if run and not start_over:
            failed = "SELECT count(*) FROM left_behind WHERE kind = 'failed'"
            if not version:
                failed = "SELECT coalesce(sum(size), 0) FROM batch WHERE failed"
            done = self._one("SELECT coalesce(sum(size), 0) FROM batch") - self._one(failed)
            asked = json.loads(run["identity"])["leads"]
            if self._one("SELECT count(*) FROM batch") and done < asked:
                raise UsageError(
                    f"a run of {run['started']} was not finished, {done:,} of {asked:,} leads are done: continue with "
                    f"--resume, or start again with --start-over; both are safe (the journal is {self.path})"
                )
        with self._transaction():
            for table in ("run", "batch", "left_behind"):
                self._database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in SCHEMA.split(";"):
                self._database.execute(statement)
            self._execute("INSERT INTO run VALUES ('identity', ?)", json.dumps(identity))
            self._execute("INSERT INTO run VALUES ('started', ?)", f"{datetime.now():%Y-%m-%d %H:%M}")

    def _note_key(self, key: str) -> None:
        run = self._run()
        salt = run.get("salt") or secrets.token_hex(16)
        mark = hashlib.pbkdf2_hmac("sha256", key.encode(), bytes.fromhex(salt), ROUNDS).hex()
        self.other_key = "key" in run and run["key"] != mark
        with self._transaction():
            for name, value in {"salt": salt, "key": mark}.items():
                self._execute("INSERT OR REPLACE INTO run VALUES (?, ?)", name, value)

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                what = {"digest": "the lead ids are not those", "leads": "the lead ids are not those"}.get(
                    name, f"{name} is {json.dumps(now.get(name))} and was {json.dumps(before.get(name))}"
                )
                raise UsageError(
                    f"--resume: {what} of the run that the journal {self.path} is of: use the same as before, or start again "
                    "with --start-over"
                )

    def _run(self) -> dict[str, str]:
        return dict(self._database.execute("SELECT name, value FROM run").fetchall())

    def _one(self, statement: str, *values: Any) -> int:
        row = self._database.execute(statement, values).fetchone()
        return int(row[0])

    def _execute(self, statement: str, *values: Any) -> None:
        self._database.execute(statement, values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        damaged = f"the journal {self.path} is damaged: start again with --start-over and another --journal, which is safe"
        try:
            yield
        except sqlite3.Error as error:
            match getattr(error, "sqlite_errorname", ""):
                case "SQLITE_BUSY" | "SQLITE_LOCKED":
                    message = f"another lead-archive uses the journal {self.path}: let it finish, or name another file"
                case "SQLITE_NOTADB":
                    message = f"{self.path} is not a journal of lead-archive: name another file with --journal"
                    raise JournalLostError(message) from None
                case "SQLITE_CORRUPT" | "SQLITE_ERROR" | "SQLITE_MISMATCH":
                    raise JournalLostError(damaged) from None
                case _:
                    message = (
                        f"cannot write the journal {self.path}: {error}; the batches that are in it are safe, and those that "
                        "were in flight may have been processed: make room, and go on with --resume"
                    )
            raise UsageError(message) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise JournalLostError(damaged) from None


def read_counts(text: str) -> dict[str, int]:
    """Parse the counts of a batch. Raises ValueError if they are malformed."""
    counts = json.loads(text)
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        raise ValueError("no counts")
    return counts
