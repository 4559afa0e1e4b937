"""Who archives the leads: the service, the bare statements that are its limit, and what people use instead."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmark.service_process import ServiceProcess
from benchmark.sizes import BATCH

Batches = list[list[int]]


@dataclass(frozen=True)
class Run:
    """One contestant's run over some leads."""

    leads: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds from request to answer, for every batch."""
    cpu_seconds: float = 0
    """CPU seconds of the service."""
    server_cpu_seconds: float = 0
    """CPU seconds of the database server."""
    lost: int = 0
    """Leads whose latest data is in neither table afterwards."""

    @property
    def rate(self) -> float:
        return self.leads / self.seconds


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def compares(self) -> bool:
        """Whether it compares the archived row before it deletes a lead."""
        ...

    def run(self, state: str, batches: Batches) -> Run:
        """Archive these leads, which are all in vicidial_list. Only the work is timed, not the start of a program."""
        ...


class Service:
    """The service over HTTP, keep-alive."""

    compares = True

    def __init__(self, process: ServiceProcess, clients: int) -> None:
        self.name = service_name(clients, process.workers)
        self._process = process
        self._clients = clients

    def run(self, state: str, batches: Batches) -> Run:
        requests = [self._process.request(lead_ids) for lead_ids in batches]
        cpu_seconds = self._process.cpu_seconds() if self._process.workers == 1 else 0
        load = self._process.send(requests, self._clients)
        cpu_seconds = self._process.cpu_seconds() - cpu_seconds if self._process.workers == 1 else 0
        counts = {"insert_count": 0, "update_count": 0, "delete_count": 0}
        for answer in load.answers:
            body = json.loads(answer.body)
            if answer.status != 200 or body["remaining_lead_ids"]:
                raise RuntimeError(f"the service answered {answer.status}: {answer.body!r}")
            counts = {name: count + body[name] for name, count in counts.items()}
        leads = sum(map(len, batches))
        expected = {"fresh": (leads, 0, leads), "equal": (0, 0, leads), "different": (0, leads, leads)}[state]
        if tuple(counts.values()) != expected:
            raise RuntimeError(f"the service counted {counts} for {leads} {state} leads")
        return Run(leads, load.seconds, [answer.seconds for answer in load.answers], cpu_seconds)


def service_name(clients: int, workers: int) -> str:
    return f"service, {clients} client{'s'[: clients - 1]}, {workers} worker{'s'[: workers - 1]}"


class MariadbClient:
    """Statements through the mariadb client: one stream, made beforehand, in a client that is connected already."""

    def __init__(
        self,
        name: str,
        options_file: Path,
        database: str,
        script: Callable[[str], str],
        *,
        session: str = "DO 0",
        compares: bool = False,
    ) -> None:
        """script: from the ids of a batch, as SQL's IN wants them, to what archives it. session: sent first."""
        self.name = name
        self.compares = compares
        self._command = [
            *("mariadb", f"--defaults-file={options_file}"),
            *("--batch", "--unbuffered", "--skip-column-names", database),
        ]
        self._script = script
        self._session = session

    def run(self, state: str, batches: Batches) -> Run:
        del state
        text = "".join(self._script(", ".join(map(str, lead_ids))) for lead_ids in batches) + "SELECT 'done';\n"
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(f"{self._session};\nSELECT 'ready';\n")
            client.stdin.flush()
            ready = client.stdout.readline()
            started = time.perf_counter()
            client.stdin.write(text)
            client.stdin.flush()
            done = client.stdout.readline()
            seconds = time.perf_counter() - started
            client.stdin.close()
        if (ready, done, client.returncode) != ("ready\n", "done\n", 0):
            raise RuntimeError(f"{self.name}: the mariadb client ended with status {client.returncode}")
        return Run(sum(map(len, batches)), seconds)


class PtArchiver:
    """pt-archiver of the percona-toolkit, as kindly as it can be run: a commit for every 500 rows, no look for a new version.

    Without --charset its bulk options damage every letter beyond ASCII, without --no-safe-auto-increment the lead with the
    highest id stays.
    """

    compares = False

    def __init__(self, name: str, options_file: Path, database: str, *options: str) -> None:
        if not shutil.which("pt-archiver"):
            raise RuntimeError("pt-archiver is not installed: run scripts/install --bench")
        self.name = name
        dsn = f"F={options_file},D={database},L=1"
        self._command = [
            *("pt-archiver", "--source", f"{dsn},t=vicidial_list", "--dest", f"{dsn},t=vicidial_list_archive"),
            *("--limit", str(BATCH), "--commit-each", "--charset", "utf8", "--no-check-charset"),
            *("--no-safe-auto-increment", "--no-version-check", *options),
        ]
        self.start_seconds = statistics.median(self._time("1 = 0") for _ in range(3))

    def run(self, state: str, batches: Batches) -> Run:
        # Where the archive has the leads already, a plain INSERT would end it.
        seconds = self._time("1 = 1", *(["--replace"] if state != "fresh" else []))
        return Run(sum(map(len, batches)), seconds - self.start_seconds)

    def archive(self, where: str) -> None:
        """Archive the leads for which the condition is true."""
        self._time(where)

    def _time(self, where: str, *options: str) -> float:
        started = time.perf_counter()
        result = subprocess.run([*self._command, "--where", where, *options], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if result.returncode:
            raise RuntimeError(f"pt-archiver ended with status {result.returncode}:\n{result.stderr[-2000:]}")
        return seconds
