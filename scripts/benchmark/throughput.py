"""Leads per second: every contestant on the same leads, again and again in turns."""

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
from benchmark.sizes import BATCH, CLIENTS, WORKERS, Sizes
from benchmark.spread import Spread

ONE_CLIENT = service_name(1, 1)
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

    def rate(self, *cell: str) -> Spread:
        """Leads per second."""
        engine, state, contestant = cell
        return Spread.of([run.rate for run in self.runs[engine, state, contestant]])

    def ratio(self, engine: str, state: str, contestant: str, other: str = LIMIT) -> Spread:
        """The contestant's leads per second by the other's, of the same round: what slows the machine slows both."""
        pairs = zip(self.runs[engine, state, contestant], self.runs[engine, state, other], strict=True)
        return Spread.of([run.rate / other_run.rate for run, other_run in pairs])

    def p99_by_median(self) -> Spread:
        """Of the latencies of all rounds together, with one client and fresh leads."""
        latencies = [latency for run in self.runs["InnoDB", "fresh", ONE_CLIENT] for latency in run.latencies]
        return Spread.of([quantiles(latencies, n=100)[98] / median(latencies)])

    def cpu_seconds_a_batch(self, state: str) -> Spread:
        """Of the service, with one client."""
        return Spread.of([run.cpu_seconds / (run.leads / BATCH) for run in self.runs["InnoDB", state, ONE_CLIENT]])


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
        for workers in WORKERS if database.engine == "InnoDB" else (1,):
            process = stack.enter_context(ServiceProcess(database.url, folder, workers))
            warm_up(database, process, sizes.leads)
            everybody += [Service(process, clients) for clients in CLIENTS]
        yield {contestant.name: contestant for contestant in everybody}


def warm_up(database: Database, process: ServiceProcess, leads: int) -> None:
    """Have every worker open its connections."""
    database.reset("fresh", leads)
    process.send([process.request(lead_ids) for lead_ids in batches(range(1, leads + 1), BATCH)], max(CLIENTS))


def run_rounds(throughput: Throughput, database: Database, state: str, everybody: dict[str, Contestant], sizes: Sizes) -> None:
    main = (database.engine, state) == ("InnoDB", "fresh")
    # Elsewhere than in the main comparison: one client and eight, one worker, and nobody who takes a minute for it.
    elsewhere = {LIMIT, BULK, DOCUMENTED, ONE_CLIENT, service_name(8, 1)} | ({ROW_BY_ROW} if state == "fresh" else set())
    in_turns = [contestant for name, contestant in everybody.items() if main or name in elsewhere]
    for number in range(sizes.rounds):
        progress(f"{database.engine}, {state} leads: round {number + 1} of {sizes.rounds}")
        in_turns = in_turns[1:] + in_turns[:1]
        for contestant in in_turns:
            leads = sizes.leads if main else sizes.leads_elsewhere
            if contestant.name == ROW_BY_ROW:
                leads = sizes.leads_row_by_row
            throughput.runs[database.engine, state, contestant.name].append(run_one(database, contestant, state, leads))


def run_one(database: Database, contestant: Contestant, state: str, leads: int) -> Run:
    database.reset(state, leads)
    run = contestant.run(state, batches(range(1, leads + 1), BATCH))
    lost = database.lost(leads)
    if lost and contestant.compares:
        raise CheckError(f"{contestant.name} lost {lost} {state} leads")
    return replace(run, lost=lost)
