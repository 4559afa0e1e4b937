"""A private comparison of what a dialler feels beside each way to archive. Not part of scripts/bench yet.

PYTHONPATH=scripts/lib python -m benchmark.felt [--rounds 3] [--engines MyISAM,InnoDB] [--seconds 4]
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median, quantiles

from mariadb import PrivateMariaDB

from benchmark.data import IDLE_ID, ROOT, Database
from benchmark.dialler import Dialler, Pace
from benchmark.service_process import ServiceProcess

DIALLED = 200_000
FIRST = 1_000_001

OPTIONS = (
    "--innodb-buffer-pool-size=2G",
    "--innodb-log-file-size=1G",
    "--key-buffer-size=256M",
    "--local-infile=1",
    "--log-bin=binlog",
    "--binlog-format=MIXED",
    "--server-id=1",
    "--max-binlog-size=256M",
    "--sync-binlog=0",
)


class Bench:
    def __init__(self, mariadb: PrivateMariaDB, engine: str, folder: Path, leads: int, seconds: float) -> None:
        self.mariadb, self.engine, self.folder, self.leads, self.seconds = mariadb, engine, folder, leads, seconds
        self.database = database = Database(mariadb, engine.lower(), engine)
        database.make_up("spare", range(FIRST, FIRST + leads))
        database.make_up("dialled", range(1, DIALLED + 1))
        database.load("vicidial_list", "(SELECT * FROM dialled UNION ALL SELECT * FROM spare) AS both_tables", like="dialled")
        database.run("DROP TABLE dialled")
        self.options_file = folder / "client.cnf"
        self.options_file.write_text(
            f"[client]\nhost=127.0.0.1\nport={mariadb.port}\nuser={mariadb.user}\npassword={mariadb.password}\n"
        )
        self.ids = folder / "ids.txt"
        self.ids.write_text(f"{FIRST}-{FIRST + leads - 1}\n")

    def reset(self, agents: bool) -> None:
        database = self.database
        database.run("TRUNCATE TABLE vicidial_list_archive")
        database.run("INSERT IGNORE INTO vicidial_list SELECT * FROM spare")
        database.run("DELETE FROM vicidial_live_agents")
        if agents:
            database.run(
                f"INSERT INTO vicidial_live_agents (lead_id, user, status) SELECT seq + {IDLE_ID}, '1001', 'INCALL'"
                " FROM seq_1_to_50"
            )
        if self.engine == "InnoDB":
            database.settle()
        database.run("RESET MASTER")

    def run(self, contestant: str, agents: bool, service: ServiceProcess) -> tuple[list[float], float, float]:
        """Return the dialler's latencies, leads archived a second, and the seconds it took."""
        self.reset(agents)
        pace = Pace(self.mariadb.port, self.mariadb.user, self.mariadb.password, self.database.name, DIALLED)
        with Dialler(pace) as dialler:
            time.sleep(0.5)
            begun = time.perf_counter()
            startup = self.archive(contestant, service)
            ended = time.perf_counter()
        archived = self.database.count("vicidial_list_archive")
        offset = 0.5 + startup
        latencies = [latency for due, latency in dialler.operations if offset <= due <= 0.5 + ended - begun]
        return latencies, archived / (ended - begun - startup), ended - begun - startup

    def archive(self, contestant: str, service: ServiceProcess) -> float:
        """Archive for a while. Return the seconds that its start took, in which nothing was archived."""
        where = f"lead_id >= {FIRST}"
        if contestant == "alone":
            time.sleep(self.seconds)
            return 0
        if contestant == "pt-archiver":
            dsn = f"F={self.options_file},D={self.database.name},L=1"
            command = [
                *("pt-archiver", "--source", f"{dsn},t=vicidial_list", "--dest", f"{dsn},t=vicidial_list_archive"),
                *("--limit", "500", "--commit-each", "--charset", "utf8", "--no-check-charset", "--where", where),
                *("--no-safe-auto-increment", "--no-version-check", "--bulk-insert", "--bulk-delete"),
                *("--run-time", f"{max(1, int(self.seconds))}s"),
            ]
            subprocess.run(command, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
            return 0.25
        if contestant == "vicidial":
            connection = self.mariadb.connect(self.database.name)
            with connection, connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE {where}")
                cursor.execute(f"DELETE FROM vicidial_list WHERE {where}")
            return 0
        jobs = contestant.partition("jobs=")[2] or "4"
        command = [sys.executable, "-m", "lead_archive", "archive", str(self.ids), "--url", f"http://127.0.0.1:{service.port}"]
        command += ["--jobs", jobs, "--start-over", "--quiet"]
        environment = {"PATH": "/usr/bin:/bin", "LEAD_ARCHIVE_KEY": service.key}
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere) as client:
            try:
                client.wait(self.seconds + 0.6)
            except subprocess.TimeoutExpired:
                client.send_signal(signal.SIGINT)
                client.wait(60)
        return 0.6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--leads", type=int, default=60_000)
    parser.add_argument("--engines", default="MyISAM,InnoDB")
    parser.add_argument("--agents", default="yes,no")
    parser.add_argument("--contestants", default="alone,pt-archiver,service,service jobs=1,vicidial")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="felt"))
    try:
        with PrivateMariaDB(folder / "mariadb", OPTIONS) as mariadb:
            for engine in options.engines.split(","):
                bench = Bench(mariadb, engine, folder, options.leads, options.seconds)
                with ServiceProcess(bench.database.url, folder) as service:
                    for agents in options.agents.split(","):
                        measure(bench, options, agents == "yes", service)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(bench: Bench, options: argparse.Namespace, agents: bool, service: ServiceProcess) -> None:
    found = defaultdict(list)
    names = options.contestants.split(",")
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            latencies, rate, seconds = bench.run(name, agents, service)
            cuts = quantiles(latencies, n=100)
            found[name].append((cuts[49] * 1000, cuts[98] * 1000, max(latencies) * 1000, rate, seconds))
    print(f"{bench.engine}, {'agents logged in' if agents else 'nobody logged in'}")
    for name, rows in found.items():
        p50, p99, worst, rate, seconds = (median(column) for column in zip(*rows, strict=True))
        spread = " ".join(f"{row[1]:.1f}" for row in rows)
        times = f"p50 {p50:6.2f}  p99 {p99:7.1f}  max {worst:7.1f} ms"
        print(f"  {name:<16} {times}  {rate:7.0f} leads/s  {seconds:4.1f} s  p99 of each: {spread}", flush=True)


if __name__ == "__main__":
    main()
