"""The performance goals, and whether they are met."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.data import ENGINES, STATES
from benchmark.felt import ALONE, SERVICE, DiallerRuns
from benchmark.felt import BULK as BULK_BESIDE_DIALLER
from benchmark.footprint import Footprint
from benchmark.growth import Growth
from benchmark.sizes import Sizes
from benchmark.spread import Spread
from benchmark.throughput import EIGHT_CLIENTS, ONE_CLIENT, Throughput


@dataclass(frozen=True)
class Goal:
    what: str
    measured: Spread
    bound: float
    unit: str = ""
    at_least: bool = False
    """Otherwise: at most."""

    @property
    def met(self) -> bool:
        value = self.measured.median
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def row(self) -> list[str]:
        """What, goal, measured, spread, verdict."""
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"
        value, spread = self.measured.cells(2)
        return [self.what, bound, value + self.unit, spread, "met" if self.met else "MISSED"]


def goals(throughput: Throughput, footprint: Footprint, memory: Spread, growth: Growth, sizes: Sizes) -> list[Goal]:
    few, many = sizes.growth[0], sizes.growth[-1]
    return [
        *(
            Goal(
                f"one client, {state} leads, {engine}: by the limit",
                throughput.ratio(engine, state, ONE_CLIENT),
                0.95,
                at_least=True,
            )
            for engine in ENGINES
            for state in STATES
        ),
        Goal(
            "eight clients, fresh leads, InnoDB: by the limit",
            throughput.ratio("InnoDB", "fresh", EIGHT_CLIENTS),
            1.4,
            at_least=True,
        ),
        Goal("one client, fresh leads, InnoDB: p99 latency by the median", throughput.p99_by_median(), 3),
        Goal("the service's own CPU time for a batch of 500", footprint.own_part.times(1_000), 1.5, " ms"),
        *(
            Goal(f"its CPU time for a request that is refused, {status}", seconds.times(1_000), 0.5, " ms")
            for status, seconds in footprint.refusals.items()
        ),
        *(
            Goal(f"its CPU time for the slowest body, limit {limit:,} ({name})", seconds.times(1_000), 100, " ms")
            for limit, (name, seconds) in footprint.slowest_bodies.items()
        ),
        Goal(f"growth: a batch into {many:,} rows by one into {few:,}", growth.ratio(many, few), 1.5),
        Goal(f"resident memory: more after {sizes.leads_memory:,} leads than after 1,000", memory, 10, " MiB"),
        Goal("start to the first answer", footprint.start, 1.5, " s"),
        Goal("start to the first batch archived", footprint.first_batch, 1.5, " s"),
    ]


def dialler_goals(dialler: DiallerRuns) -> list[Goal]:
    """The dialler comes first: agents must not feel that leads are archived."""
    found = [
        Goal(
            f"dialler's p99 beside lead-archive, agents logged in, {engine}: by that beside pt-archiver, bulk",
            dialler.percentile_by(engine, True, BULK_BESIDE_DIALLER, 99),
            bound,
        )
        for engine, bound in (("MyISAM", 0.5), ("InnoDB", 1))
    ]
    found += [
        Goal(
            f"dialler's p50 beside lead-archive, agents logged in, {engine}: by that of the dialler alone",
            dialler.percentile_by(engine, True, ALONE, 50),
            1.5,
        )
        for engine in ENGINES
    ]
    found.append(
        Goal(
            "dialler's p99 beside lead-archive, nobody logged in, MyISAM: by that beside pt-archiver, bulk",
            dialler.percentile_by("MyISAM", False, BULK_BESIDE_DIALLER, 99),
            1,
        )
    )
    for engine in ENGINES:
        found += [
            Goal(
                f"lead-archive, nobody logged in, {engine}: leads a second by pt-archiver, bulk",
                dialler.rate_by(engine, False, BULK_BESIDE_DIALLER),
                1,
                at_least=True,
            ),
            Goal(
                f"lead-archive, agents logged in, {engine}: leads a second",
                dialler.rate(engine, True, SERVICE),
                1_000,
                at_least=True,
            ),
        ]
    return found
