"""Leads per second: the contestants take turns on the same leads for several rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from benchmark.contestants import Contestant, MariadbClient, PtArchiver, Run, Service, service_name
from benchmark.data import STATES, CheckError, Database, batches
from benchmark.progress import progress
from benchmark.script import Script, documented
from benchmark.service_process import ServiceProcess
from benchmark.sizes import BATCH, CLIENTS, Sizes
from benchmark.spread import Spread

ONE_CLIENT = service_name(1, 1)
EIGHT_CLIENTS = service_name(8, 1)
LIMIT = "limit: the three statements alone"
BULK = "pt-archiver, bulk"
ROW_BY_ROW = "pt-archiver, row by row"
DOCUMENTED = "INSERT IGNORE, blind DELETE"

Cell = tuple[str, str, str]
"""Engine, state, contestant."""


class Throughput:
    """The runs of all rounds."""

    def __init__(self) -> None:
        self.runs: dict[Cell, list[Run]] = defaultdict(list)
        self.by_limit: dict[Cell, list[float]] = defaultdict(list)
        """For each of these runs, its leads per second by those of the limit's run before it: what slows the machine for more
        than a moment slows both."""

    def add(self, cell: Cell, run: Run, limit: Run) -> None:
        """limit: the limit's run before it."""
        self.runs[cell].append(run)
        self.by_limit[cell].append(run.rate / limit.rate)

    def rate(self, *cell: str) -> Spread:
        """Leads per second."""
        engine, state, contestant = cell
        return Spread.of([run.rate for run in self.runs[engine, state, contestant]])

    def ratio(self, *cell: str) -> Spread:
        """The contestant's leads per second by the limit's."""
        engine, state, contestant = cell
        return Spread.of(self.by_limit[engine, state, contestant])

    def p99_by_median(self) -> Spread:
        """Of the latencies of all rounds together, with one client and fresh leads."""
        latencies = [latency for run in self.runs["InnoDB", "fresh", ONE_CLIENT] for latency in run.latencies]
        return Spread.of([quantiles(latencies, n=100)[98] / median(latencies)])

    def cpu_seconds_a_batch(self, state: str) -> Spread:
        """Of the service, with one client."""
        return Spread.of([run.cpu_seconds / (run.leads / BATCH) for run in self.runs["InnoDB", state, ONE_CLIENT]])

    def server_cpu_seconds_a_batch(self, contestant: str) -> Spread:
        """Of the database server, with fresh leads. What it does after the last answer is not in it."""
        return Spread.of([run.server_cpu_seconds / (run.leads / BATCH) for run in self.runs["InnoDB", "fresh", contestant]])


def measure_throughput(
    databases: Iterable[Database], script: Script, folder: Path, options_file: Path, sizes: Sizes
) -> Throughput:
    """databases: one for each engine, with the leads in it."""
    throughput = Throughput()
    for database in databases:
        with contestants(database, script, folder, options_file, sizes) as everybody:
            for state in STATES:
                run_rounds(throughput, database, state, everybody, sizes)
    return throughput


@contextmanager
def contestants(
    database: Database, script: Script, folder: Path, options_file: Path, sizes: Sizes
) -> Iterator[dict[str, Contestant]]:
    with ExitStack() as stack:
        everybody: list[Contestant] = [
            MariadbClient(LIMIT, options_file, database.name, script.limit, session=script.session, compares=True),
            PtArchiver(BULK, options_file, database.name, "--bulk-insert", "--bulk-delete"),
            PtArchiver(ROW_BY_ROW, options_file, database.name),
            MariadbClient(DOCUMENTED, options_file, database.name, documented),
        ]
        for workers in CLIENTS if database.engine == "InnoDB" else (1,):
            process = stack.enter_context(ServiceProcess(database.url, folder, workers))
            warm_up(database, process, sizes.leads)
            everybody += [Service(process, clients) for clients in CLIENTS[workers]]
        yield {contestant.name: contestant for contestant in everybody}


def warm_up(database: Database, process: ServiceProcess, leads: int) -> None:
    """Have every worker open its connections."""
    database.reset("fresh", leads)
    process.send([process.request(lead_ids) for lead_ids in batches(range(1, leads + 1), BATCH)], max(CLIENTS[1]))


def run_rounds(throughput: Throughput, database: Database, state: str, everybody: dict[str, Contestant], sizes: Sizes) -> None:
    main = (database.engine, state) == ("InnoDB", "fresh")
    # Elsewhere than in the main comparison: one client and eight, one worker, and nobody who takes a minute for it.
    elsewhere = {BULK, DOCUMENTED, ONE_CLIENT, EIGHT_CLIENTS} | ({ROW_BY_ROW} if state == "fresh" else set())
    in_turns = [contestant for name, contestant in everybody.items() if name != LIMIT and (main or name in elsewhere)]
    limit = everybody[LIMIT]
    leads = sizes.leads if main else sizes.leads_elsewhere
    rounds = sizes.rounds if state == "fresh" else sizes.rounds_elsewhere
    for number in range(rounds):
        progress(f"{database.engine}, {state} leads: round {number + 1} of {rounds}")
        in_turns = in_turns[1:] + in_turns[:1]
        latest: Run | None = None
        for contestant in in_turns:
            # The limit runs right before each of those whom the goals are about.
            if latest is None or contestant.name in {ONE_CLIENT, EIGHT_CLIENTS, BULK}:
                latest = run_one(database, limit, state, leads)
                throughput.add((database.engine, state, LIMIT), latest, latest)
            run = run_one(database, contestant, state, sizes.leads_row_by_row if contestant.name == ROW_BY_ROW else leads)
            throughput.add((database.engine, state, contestant.name), run, latest)


def run_one(database: Database, contestant: Contestant, state: str, leads: int) -> Run:
    database.reset(state, leads)
    database.settle()
    server_cpu_seconds = database.cpu_seconds()
    run = contestant.run(state, batches(range(1, leads + 1), BATCH))
    server_cpu_seconds = database.cpu_seconds() - server_cpu_seconds
    lost = database.lost(leads)
    if lost and contestant.compares:
        raise CheckError(f"{contestant.name} lost {lost} {state} leads")
    return replace(run, lost=lost, server_cpu_seconds=server_cpu_seconds)
