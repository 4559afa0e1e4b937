"""Lead ids on their way through a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Self

from service.statements import integers


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

    def found(self, text: str | None) -> LeadIDs:
        """Those of them that a GROUP_CONCAT of the database names; it names no others, and None if none."""
        ids = text.split(",") if text else []
        return self if len(ids) == len(self) else LeadIDs(map(int, ids))

    def these(self, rows: Sequence[tuple[int]]) -> LeadIDs:
        """Those of them that are in the rows of a SELECT; it has no others."""
        return self if len(rows) == len(self) else LeadIDs(lead_id for (lead_id,) in rows)

    def within(self, others: Self) -> LeadIDs:
        """Those of them that are among others too."""
        return self._only(set(self._ids).intersection(others))

    def without(self, others: Self) -> LeadIDs:
        """Those of them that are not among others."""
        return self._only(set(self._ids).difference(others))

    def _only(self, ids: set[int]) -> LeadIDs:
        return self if len(ids) == len(self) else LeadIDs(ids)
