"""Some measurements of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """The median of all rounds, and the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    def times(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.low * factor, self.high * factor)

    def cells(self, digits: int) -> list[str]:
        """For a table: the median, and from where to where."""
        return [f"{self.median:,.{digits}f}", f"{self.low:,.{digits}f} to {self.high:,.{digits}f}"]
