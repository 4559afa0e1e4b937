"""All that was measured, and the tables that show it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmark.anatomy import LIMIT as LIMIT_STATEMENTS
from benchmark.anatomy import Anatomy
from benchmark.contestants import service_name
from benchmark.data import ENGINES, STATES
from benchmark.felt import AGENTS, CONTESTANTS, DiallerRuns
from benchmark.footprint import Footprint
from benchmark.goals import Goal, dialler_goals, goals
from benchmark.growth import Growth
from benchmark.machine import cores
from benchmark.sizes import BATCH, CLIENTS, Sizes
from benchmark.spread import Spread
from benchmark.throughput import BULK, DOCUMENTED, EIGHT_CLIENTS, LIMIT, ONE_CLIENT, ROW_BY_ROW, Throughput

SPREAD = "lowest to highest"


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """For a terminal; numbers, which begin with a digit, to the right."""
        widths = [max(len(row[column]) for row in (self.header, *self.rows)) for column in range(len(self.header))]
        lines = [
            "  ".join(
                cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in (self.header, *self.rows)
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def markdown(self) -> str:
        rows = [self.header, ["--"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows).replace("| --", "|--").replace("-- |", "--|")


@dataclass(frozen=True)
class Results:
    machine: dict[str, str]
    sizes: Sizes
    throughput: Throughput
    dialler: DiallerRuns
    anatomy: Anatomy
    footprint: Footprint
    memory: Spread
    growth: Growth

    @property
    def goals(self) -> list[Goal]:
        return [
            *dialler_goals(self.dialler),
            *goals(self.throughput, self.footprint, self.memory, self.growth, self.sizes),
        ]

    def machine_table(self) -> Table:
        return Table(["", ""], [[what, value] for what, value in self.machine.items()])

    def goals_table(self) -> Table:
        return Table(["What", "Goal", "Measured", SPREAD, "Verdict"], [goal.row for goal in self.goals])

    def dialler_table(self) -> Table:
        """Return the dialler's latencies in milliseconds beside each contestant."""
        runs = self.dialler
        rows = [
            [
                *(engine, AGENTS[agents], name),
                runs.percentile(engine, agents, name, 50).cells(1)[0],
                *runs.percentile(engine, agents, name, 99).cells(1),
                runs.longest(engine, agents, name).cells(0)[0],
                runs.rate(engine, agents, name).cells(0)[0],
            ]
            for engine in ENGINES
            for agents in AGENTS
            for name in CONTESTANTS
        ]
        return Table(["Engine", "Agents", "Who archives", "p50, ms", "p99, ms", SPREAD, "Longest, ms", "Leads/s"], rows)

    def throughput_table(self) -> Table:
        order = [LIMIT, ONE_CLIENT, EIGHT_CLIENTS, BULK, ROW_BY_ROW, DOCUMENTED]
        rows = []
        for engine in ENGINES:
            for state in STATES:
                for name in order:
                    runs = self.throughput.runs.get((engine, state, name))
                    if not runs:
                        continue
                    lost = median(run.lost for run in runs) / runs[0].leads
                    rows.append(
                        [
                            *(engine, state, name),
                            *self.throughput.rate(engine, state, name).cells(0),
                            *self.throughput.ratio(engine, state, name).cells(2),
                            "whole rows" if name == LIMIT or name.startswith("service") else "nothing",
                            f"{lost:.0%}" if lost else "none",
                        ]
                    )
        header = [
            "Engine",
            "Leads",
            "Who",
            "Leads/s",
            SPREAD,
            "By the limit",
            SPREAD,
            "Compares",
            "Lost",
        ]
        return Table(header, rows)

    def clients_table(self) -> Table:
        rows = []
        for workers, counts in CLIENTS.items():
            for clients in counts:
                cell = ("InnoDB", "fresh", service_name(clients, workers))
                rows.append(
                    [
                        *(str(clients), str(workers)),
                        *self.throughput.rate(*cell).cells(0),
                        *self.throughput.ratio(*cell).cells(2),
                    ]
                )
        return Table(["Clients", "Workers", "Leads/s", SPREAD, "By the limit", SPREAD], rows)

    def anatomy_table(self) -> Table:
        """Return the milliseconds of each statement for a batch as a table."""
        names = list(self.anatomy["fresh"])
        rows = [
            [name, *(f"{self.anatomy[state][name] * 1_000:.2f}" for state in STATES), self._who_sends(name)] for name in names
        ]
        return Table(["Statement", *(f"{state}, ms" for state in STATES), "Part of"], rows)

    @staticmethod
    def _who_sends(name: str) -> str:
        return "both" if name in {*LIMIT_STATEMENTS, "begin", "commit"} else "the service"

    def growth_table(self) -> Table:
        fewest = self.sizes.growth[0]
        rows = [
            [f"{count:,}", *self.growth.spread(count).times(1_000).cells(1), *self.growth.ratio(count, fewest).cells(2)]
            for count in self.sizes.growth
        ]
        return Table(["Archived rows", "ms a batch", SPREAD, "By the fewest", SPREAD], rows)

    def most_that_the_cores_allow(self) -> float:
        """Leads per second with eight clients, if the database server had all cores to itself and no work were left for
        later."""
        return cores() * BATCH / self.throughput.server_cpu_seconds_a_batch(EIGHT_CLIENTS).median

    def limit_milliseconds(self) -> float:
        """That a batch of fresh leads takes at the limit."""
        return BATCH / self.throughput.rate("InnoDB", "fresh", LIMIT).median * 1_000
