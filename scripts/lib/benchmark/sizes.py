"""How much of everything a run of the benchmark takes."""

from __future__ import annotations

from dataclasses import dataclass

BATCH = 500
"""Lead ids in a request: the default limit."""

CLIENTS = {1: (1, 2, 4, 8, 16), 2: (8, 16)}
"""How many send requests at the same time, by the number of workers."""


@dataclass(frozen=True)
class Sizes:
    """Leads are multiples of BATCH."""

    rounds: int
    """How often every contestant runs, with fresh leads."""
    rounds_elsewhere: int
    """In the other states."""
    leads: int
    """In one run on fresh leads under InnoDB, where up to 16 clients share them."""
    leads_elsewhere: int
    """In one run in another state or under MyISAM."""
    leads_row_by_row: int
    """In one run of pt-archiver without its bulk options, an order of magnitude slower."""
    rounds_growth: int
    """How often each size of the archive is measured: the first times are far from the others."""
    growth: tuple[int, ...]
    """Rows in the archive, from few to many."""
    leads_growth: int
    """In one run into each of them."""
    leads_memory: int
    rounds_dialler: int
    seconds_dialler: int
    """How long each contestant archives beside the dialler."""
    leads_dialler: int
    """Whoever has archived all of them stops before the time is over."""
    starts: int
    refusals: int
    """Of each kind, in a round."""
    buffer_pool: int
    """MiB; all data fit, so that nothing waits for a disk but the log."""


FULL = Sizes(
    rounds=4,
    rounds_elsewhere=2,
    rounds_growth=5,
    leads=12_000,
    leads_elsewhere=6_000,
    leads_row_by_row=1_000,
    growth=(100_000, 300_000, 1_000_000),
    leads_growth=5_000,
    leads_memory=100_000,
    rounds_dialler=3,
    seconds_dialler=3,
    leads_dialler=40_000,
    starts=5,
    refusals=500,
    buffer_pool=4_096,
)

QUICK = Sizes(
    rounds=2,
    rounds_elsewhere=1,
    rounds_growth=2,
    leads=8_000,
    leads_elsewhere=2_000,
    leads_row_by_row=500,
    growth=(5_000, 20_000, 50_000),
    leads_growth=2_000,
    leads_memory=20_000,
    rounds_dialler=1,
    seconds_dialler=2,
    leads_dialler=10_000,
    starts=2,
    refusals=100,
    buffer_pool=512,
)
