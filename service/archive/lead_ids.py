"""An immutable, sorted set of lead ids, which is rendered into SQL once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Self

from service.database.statements import integers


class LeadIDs:
    """Lead ids, each once, in ascending order. Their SQL text is made once, however many statements use it."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = tuple(sorted(ids))

    @cached_property
    def sql(self) -> str:
        """The ids as a list for IN (...). Raises ValueError if there are none."""
        return integers(self._ids)

    @property
    def first(self) -> int:
        """The lowest id. Raises IndexError if there are none."""
        return self._ids[0]

    @property
    def last(self) -> int:
        """The highest id. Raises IndexError if there are none."""
        return self._ids[-1]

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    def from_concat(self, text: str | None) -> LeadIDs:
        """Return the ids in `text`, the result of GROUP_CONCAT over some of these ids. None means none."""
        ids = text.split(",") if text else []
        return self if len(ids) == len(self) else LeadIDs(map(int, ids))

    def from_rows(self, rows: Sequence[tuple[int]]) -> LeadIDs:
        """Return the ids in the rows of a SELECT of some of these ids."""
        # A UNION of two integer types, such as BIGINT and INT UNSIGNED, returns DECIMAL.
        return self if len(rows) == len(self) else LeadIDs(int(lead_id) for (lead_id,) in rows)

    def intersection(self, others: Self) -> LeadIDs:
        """Return the ids that are in `others` too."""
        return self._only(set(self._ids).intersection(others))

    def difference(self, *others: Self) -> LeadIDs:
        """Return the ids that are in none of the others."""
        return self._only(set(self._ids).difference(*others))

    def halves(self) -> tuple[LeadIDs, LeadIDs]:
        """Return the first half and the second half of the ids."""
        middle = len(self) // 2
        return LeadIDs(self._ids[:middle]), LeadIDs(self._ids[middle:])

    def parts(self, size: int) -> list[LeadIDs]:
        """Return the ids in parts of at most `size`."""
        return [LeadIDs(self._ids[start : start + size]) for start in range(0, len(self), size)]

    def _only(self, ids: set[int]) -> LeadIDs:
        return self if len(ids) == len(self) else LeadIDs(ids)


NONE = LeadIDs(())
