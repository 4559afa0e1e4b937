"""The journal: which batches are done, and which leads they left behind. It outlives whatever happens to the process."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lead_archive.errors import UsageError

APPLICATION_ID = 0x6C617263
"""What tells a journal from other SQLite files."""

SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batch (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, failed INTEGER NOT NULL, counts TEXT NOT NULL);
CREATE TABLE left_behind (lead_id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX left_behind_batch ON left_behind (batch);
"""


class Journal:
    """An SQLite file that one process at a time can use. A batch is in it whole or not at all, and on disk at once.

    identity: what a run that goes on must have in common with the one that began. Raises UsageError if the file cannot
    be used, if there is an unfinished run and nobody said what to do with it, or if resume is asked for and cannot be.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, resume: bool = False, start_over: bool = False) -> None:
        self.path = path
        if resume and not path.exists():
            raise UsageError(f"there is no journal {path}, so there is nothing to go on with: leave out --resume")
        try:
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise UsageError(f"cannot write the journal {path}: {error}; name another place with --journal") from None
        try:
            with self._told():
                self._open()
                self._decide(identity, resume=resume, start_over=start_over)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def batch_size(self, size: int) -> int:
        """The size of all batches of this run: the one given, or that of the run that goes on."""
        with self._told():
            self._execute("INSERT OR IGNORE INTO run VALUES ('batch_size', ?)", str(size))
            return int(self._run()["batch_size"])

    def is_done(self, number: int) -> bool:
        return self._one("SELECT count(*) FROM batch WHERE number = ? AND NOT failed", number) > 0

    def record(self, number: int, size: int, counts: Counter[str], left: list[tuple[int, str]], *, failed: bool) -> None:
        """Note what came of a batch, in the place of what came of it before. Raises UsageError if it cannot be written."""
        with self._told(), self._transaction():
            self._execute("DELETE FROM left_behind WHERE batch = ?", number)
            rows = [(lead_id, number, reason) for lead_id, reason in left]
            self._database.executemany("INSERT OR REPLACE INTO left_behind VALUES (?, ?, ?)", rows)
            self._execute("INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?)", number, size, failed, json.dumps(counts))

    def done(self) -> int:
        """How many leads are in batches that are done."""
        return self._one("SELECT coalesce(sum(size), 0) FROM batch WHERE NOT failed")

    def counts(self) -> Counter[str]:
        """The counts of all batches, added up."""
        total: Counter[str] = Counter()
        for (counts,) in self._database.execute("SELECT counts FROM batch"):
            total.update(json.loads(counts))
        return total

    def left_behind(self) -> Iterator[tuple[int, str]]:
        yield from self._database.execute("SELECT lead_id, reason FROM left_behind ORDER BY lead_id")

    def _open(self) -> None:
        # Nobody else gets in from here to the end, and every commit is on disk when it returns.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute("COMMIT")
        if self._one("SELECT count(*) FROM sqlite_schema") and self._one("PRAGMA application_id") != APPLICATION_ID:
            raise UsageError(f"{self.path} is not a journal of lead-archive: name another file with --journal")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")

    def _decide(self, identity: dict[str, Any], *, resume: bool, start_over: bool) -> None:
        run = self._run() if self._one("SELECT count(*) FROM sqlite_schema") else {}
        if resume:
            if not run:
                raise UsageError(f"the journal {self.path} is empty: leave out --resume")
            self._compare(json.loads(run["identity"]), identity)
            return
        if run and not start_over:
            asked, done = json.loads(run["identity"])["leads"], self.done()
            if self._one("SELECT count(*) FROM batch") and done < asked:
                raise UsageError(
                    f"a run of {run['started']} was not finished, {done:,} of {asked:,} leads are done: go on with --resume, "
                    f"or begin anew with --start-over, which is safe too (the journal is {self.path})"
                )
        with self._transaction():
            for table in ("run", "batch", "left_behind"):
                self._database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in SCHEMA.split(";"):
                self._database.execute(statement)
            self._execute("INSERT INTO run VALUES ('identity', ?)", json.dumps(identity))
            self._execute("INSERT INTO run VALUES ('started', ?)", f"{datetime.now():%Y-%m-%d %H:%M}")

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                what = {"digest": "the lead ids are not those", "leads": "the lead ids are not those"}.get(
                    name, f"{name} is {json.dumps(now.get(name))} and was {json.dumps(before.get(name))}"
                )
                raise UsageError(
                    f"--resume: {what} of the run that the journal {self.path} is of: give what it was given, or begin anew "
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
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            match error.sqlite_errorname:
                case "SQLITE_BUSY" | "SQLITE_LOCKED":
                    message = (
                        f"another lead-archive is at work with the journal {self.path}: let it finish, or name another file"
                    )
                case "SQLITE_NOTADB":
                    message = f"{self.path} is not a journal of lead-archive: name another file with --journal"
                case _:
                    message = f"cannot write the journal {self.path}: {error}; the batches that are in it are safe"
            raise UsageError(message) from None
