"""What a dialler feels while leads are archived beside it: its latencies, with agents logged in and without, beside each way
to archive, and beside nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from mariadb import PrivateMariaDB

from benchmark.contestants import PtArchiver
from benchmark.data import ENGINES, IDLE_ID, ROOT, Database
from benchmark.dialler import Dialler, Pace
from benchmark.progress import progress
from benchmark.service_process import ServiceProcess
from benchmark.sizes import Sizes
from benchmark.spread import Spread

DIALLED = 100_000
"""Leads in vicidial_list that the dialler calls, and that nobody archives."""

FIRST = 1_000_001
"""The first id of the leads that are archived."""

WARM_UP = 0.5
"""Seconds for which the dialler dials before anybody archives."""

ALONE = "nobody archives"
SERVICE = "lead-archive"
BULK = "pt-archiver, bulk"
VICIDIAL = "INSERT SELECT, DELETE"

CONTESTANTS = (ALONE, SERVICE, BULK, VICIDIAL)

AGENTS = {True: "logged in", False: "nobody"}


@dataclass(frozen=True)
class Felt:
    """One run: seconds from when each operation of the dialler was due to its answer."""

    operations: list[tuple[float, float]]
    """When each was due, in seconds since archiving began, and its latency."""
    rate: float
    """Leads archived per second."""

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        return quantiles([latency for _, latency in self.operations], n=100)[percent - 1] * 1_000

    @property
    def longest(self) -> float:
        """In milliseconds."""
        return max(latency for _, latency in self.operations) * 1_000


class DiallerRuns:
    """The runs of all rounds, by engine, whether agents are logged in, and who archives."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, bool, str], list[Felt]] = defaultdict(list)

    def percentile(self, engine: str, agents: bool, name: str, percent: int) -> Spread:
        return Spread.of([run.percentile(percent) for run in self.runs[engine, agents, name]])

    def longest(self, engine: str, agents: bool, name: str) -> Spread:
        return Spread.of([run.longest for run in self.runs[engine, agents, name]])

    def rate(self, engine: str, agents: bool, name: str) -> Spread:
        return Spread.of([run.rate for run in self.runs[engine, agents, name]])

    def percentile_by(self, engine: str, agents: bool, other: str, percent: int) -> Spread:
        """Return the dialler's percentile beside lead-archive by that beside another contestant in the same round."""
        pairs = zip(self.runs[engine, agents, SERVICE], self.runs[engine, agents, other], strict=True)
        return Spread.of([ours.percentile(percent) / theirs.percentile(percent) for ours, theirs in pairs])

    def rate_by(self, engine: str, agents: bool, other: str) -> Spread:
        """Return lead-archive's rate by another contestant's in the same round."""
        pairs = zip(self.runs[engine, agents, SERVICE], self.runs[engine, agents, other], strict=True)
        return Spread.of([ours.rate / theirs.rate for ours, theirs in pairs])


def measure_dialler(mariadb: PrivateMariaDB, folder: Path, options_file: Path, sizes: Sizes) -> DiallerRuns:
    runs = DiallerRuns()
    for engine in ENGINES:
        database = Database(mariadb, f"dialler_{engine.lower()}", engine)
        site = Site(mariadb, database, folder, options_file, sizes)
        with ServiceProcess(database.url, folder) as service:
            site.measure_starts(service)
            for agents, who in AGENTS.items():
                for number in range(sizes.rounds_dialler):
                    progress(f"the dialler, {engine}, agents: {who}: round {number + 1} of {sizes.rounds_dialler}")
                    for name in CONTESTANTS[number % 4 :] + CONTESTANTS[: number % 4]:
                        runs.runs[engine, agents, name].append(site.run(name, agents, service))
        database.run(f"DROP DATABASE {database.name}")
    return runs


class Site:
    """A database with a dialler, and those who archive its finished leads."""

    def __init__(self, mariadb: PrivateMariaDB, database: Database, folder: Path, options_file: Path, sizes: Sizes) -> None:
        self._mariadb = mariadb
        self._database = database
        self._sizes = sizes
        self._pt_archiver = PtArchiver(
            BULK, options_file, database.name, "--bulk-insert", "--bulk-delete", "--run-time", f"{sizes.seconds_dialler}s"
        )
        self._ids = folder / "ids.txt"
        self._ids.write_text(f"{FIRST}-{FIRST + sizes.leads_dialler - 1}\n")
        self._first_id = folder / "first_id.txt"
        self._first_id.write_text(f"{FIRST}\n")
        self._client_start = 0.0
        database.make_up("spare", range(FIRST, FIRST + sizes.leads_dialler))
        database.make_up("dialled", range(1, DIALLED + 1))
        database.load("vicidial_list", "(SELECT * FROM dialled UNION ALL SELECT * FROM spare) AS leads", like="dialled")

    def measure_starts(self, service: ServiceProcess) -> None:
        """Measure how long lead-archive takes for a single lead that is archived already."""
        self._archive(SERVICE, service, self._first_id)
        seconds = [self._timed(SERVICE, service, self._first_id) for _ in range(3)]
        self._client_start = median(seconds)

    def run(self, name: str, agents: bool, service: ServiceProcess) -> Felt:
        self._reset(agents)
        mariadb = self._mariadb
        pace = Pace(mariadb.port, mariadb.user, mariadb.password, self._database.name, DIALLED)
        with Dialler(pace) as dialler:
            time.sleep(WARM_UP)
            seconds = self._timed(name, service, self._ids)
        start = {SERVICE: self._client_start, BULK: self._pt_archiver.start_seconds}.get(name, 0.0)
        begin, end = WARM_UP + start, WARM_UP + seconds
        operations = [(due - begin, latency) for due, latency in dialler.operations if begin <= due <= end]
        archived = self._database.count("vicidial_list_archive")
        return Felt(operations, archived / (seconds - start))

    def _reset(self, agents: bool) -> None:
        database = self._database
        database.run("TRUNCATE TABLE vicidial_list_archive")
        database.run("INSERT IGNORE INTO vicidial_list SELECT * FROM spare")
        database.run("DELETE FROM vicidial_live_agents")
        if agents:
            database.run(
                "INSERT INTO vicidial_live_agents (lead_id, user, status)"
                f" SELECT seq + {IDLE_ID}, '1001', 'INCALL' FROM seq_1_to_50"
            )
        database.settle()

    def _timed(self, name: str, service: ServiceProcess, ids: Path) -> float:
        started = time.perf_counter()
        self._archive(name, service, ids)
        return time.perf_counter() - started

    def _archive(self, name: str, service: ServiceProcess, ids: Path) -> None:
        where = f"lead_id >= {FIRST}"
        if name == ALONE:
            time.sleep(self._sizes.seconds_dialler)
        elif name == BULK:
            self._pt_archiver.archive(where)
        elif name == VICIDIAL:
            with self._mariadb.connect(self._database.name) as connection, connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE {where}")
                cursor.execute(f"DELETE FROM vicidial_list WHERE {where}")
        else:
            self._run_client(service, ids)

    def _run_client(self, service: ServiceProcess, ids: Path) -> None:
        """Run lead-archive with its defaults, until all leads are archived or the time is over."""
        command = [sys.executable, "-m", "lead_archive", "archive", str(ids), "--start-over", "--quiet"]
        environment = {
            "PATH": "/usr/bin:/bin",
            "LEAD_ARCHIVE_KEY": service.key,
            "LEAD_ARCHIVE_URL": f"http://127.0.0.1:{service.port}",
        }
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere) as client:
            try:
                client.wait(self._sizes.seconds_dialler + self._client_start)
            except subprocess.TimeoutExpired:
                client.send_signal(signal.SIGINT)
                client.wait(60)
