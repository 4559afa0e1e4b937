"""The results of a run without a journal: counts, and the leads left behind. They are gone at the end of the process."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator

from lead_archive.errors import UsageError


class Ledger:
    """Keeps leads left behind in a temporary database, which moves to TMPDIR if it is large. It has a journal's methods."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE left_behind (lead_id INTEGER PRIMARY KEY, reason TEXT NOT NULL)")

    def close(self) -> None:
        self._database.close()

    def still_to_do(self, number: int, lead_ids: list[int]) -> list[int]:  # noqa: ARG002
        """Return the batch: nothing was done before."""
        return lead_ids

    def record(
        self,
        number: int,  # noqa: ARG002
        lead_ids: list[int],  # noqa: ARG002
        counts: Counter[str],
        left: list[tuple[int, str, str]],
    ) -> None:
        """Add the result of a batch. Raises UsageError if TMPDIR is full."""
        with self._told():
            self._database.executemany(
                "INSERT OR REPLACE INTO left_behind VALUES (?, ?)", [(lead_id, reason) for lead_id, _, reason in left]
            )
        self._counts.update(counts)

    def counts(self) -> Counter[str]:
        """Return the sums of the counts of all batches."""
        return self._counts

    def left_behind(self) -> Generator[tuple[int, str], None, None]:
        """Yield the leads left behind with their reasons, in ascending order."""
        with self._told():
            yield from self._database.execute("SELECT lead_id, reason FROM left_behind ORDER BY lead_id")

    def reasons(self, most: int) -> dict[str, int]:
        """Return how many leads were left behind for each reason: the most frequent ones, and the rest as one."""
        with self._told():
            rows = self._database.execute(
                "SELECT reason, count(*) FROM left_behind GROUP BY reason ORDER BY count(*) DESC, reason"
            ).fetchall()
        rest = sum(number for _, number in rows[most:])
        return {**dict(rows[:most]), **({"other reasons": rest} if rest else {})}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UsageError(f"cannot keep the leads left behind: {error}; name another folder in TMPDIR") from None
