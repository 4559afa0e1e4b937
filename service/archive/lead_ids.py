"""Lead ids on their way through a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Self

from service.database.statements import integers


class LeadIDs:
    """Ids of leads, each once, ascending. What they are in SQL is worked out once, however many statements they are in."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = tuple(sorted(ids))

    @cached_property
    def sql(self) -> str:
        """For IN (...). Raises ValueError if there is none."""
        return integers(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    def listed(self, text: str | None) -> LeadIDs:
        """Return the ids that a GROUP_CONCAT lists, which are all among these; None means none."""
        ids = text.split(",") if text else []
        return self if len(ids) == len(self) else LeadIDs(map(int, ids))

    def selected(self, rows: Sequence[tuple[int]]) -> LeadIDs:
        """Return the ids in the rows of a SELECT, which are all among these."""
        # Of two types, such as BIGINT and INT UNSIGNED, a UNION makes DECIMAL.
        return self if len(rows) == len(self) else LeadIDs(int(lead_id) for (lead_id,) in rows)

    def intersection(self, others: Self) -> LeadIDs:
        """Return those that are among others too."""
        return self._only(set(self._ids).intersection(others))

    def difference(self, *others: Self) -> LeadIDs:
        """Return those that are among none of the others."""
        return self._only(set(self._ids).difference(*others))

    def halves(self) -> tuple[LeadIDs, LeadIDs]:
        """Return the first and the second half of them."""
        middle = len(self) // 2
        return LeadIDs(self._ids[:middle]), LeadIDs(self._ids[middle:])

    def _only(self, ids: set[int]) -> LeadIDs:
        return self if len(ids) == len(self) else LeadIDs(ids)


NONE = LeadIDs(())
