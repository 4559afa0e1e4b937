"""Compares the service with its limit, the bare SQL statements, and with what people use instead, and judges the result.

All of it runs on one private MariaDB, which is gone at the end. Absolute figures are worth something on an idle machine only.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from benchmark.anatomy import measure_anatomy
from benchmark.data import ENGINES, ROOT, CheckError, Database
from benchmark.felt import measure_dialler
from benchmark.footprint import measure_footprint, measure_memory
from benchmark.growth import fill, measure_growth
from benchmark.machine import MachineError, describe, refuse_small_machine, server_options
from benchmark.progress import progress
from benchmark.report import print_report, write_report
from benchmark.results import Results
from benchmark.script import Script
from benchmark.sizes import FULL, QUICK, Sizes
from benchmark.throughput import measure_throughput
from mariadb import PrivateMariaDB

SCRATCH = ROOT / ".bench"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything, to try; no verdict")
    parser.add_argument("--no-verdict", action="store_true", help="status 0 even if a goal is missed")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=ROOT / "docs",
        metavar="FOLDER",
        help="write performance.md and its plots to FOLDER (default: docs)",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, end_in_order)
    sizes = QUICK if arguments.quick else FULL
    SCRATCH.mkdir(exist_ok=True)
    started = time.monotonic()
    try:
        refuse_small_machine(sizes.buffer_pool, SCRATCH)
        with TemporaryDirectory(dir=SCRATCH) as folder:
            results = measure(Path(folder), sizes)
    except (CheckError, MachineError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - started
    print_report(results)
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        write_report(results, arguments.write, seconds)
    progress("done")
    missed = sum(not goal.met for goal in results.goals)
    return 1 if missed and not (arguments.quick or arguments.no_verdict) else 0


def end_in_order(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def measure(folder: Path, sizes: Sizes) -> Results:
    options = server_options(sizes.buffer_pool)
    progress("a private MariaDB")
    with PrivateMariaDB(folder / "mariadb", options) as mariadb:
        machine = describe(mariadb, options)
        options_file = folder / "client.cnf"
        options_file.touch(mode=0o600)
        options_file.write_text(
            f"[client]\nhost=127.0.0.1\nport={mariadb.port}\nuser={mariadb.user}\npassword={mariadb.password}\n"
        )
        databases = [Database(mariadb, engine.lower(), engine) for engine in ENGINES]
        for database in databases:
            database.prepare(sizes.leads)
        script = Script.read(databases[0].url, folder)
        throughput = measure_throughput(databases, script, folder, options_file, sizes)
        dialler = measure_dialler(mariadb, folder, options_file, sizes)
        anatomy = measure_anatomy(mariadb, databases[0], script, sizes.leads_elsewhere)
        footprint_database = Database(mariadb, "footprint", "InnoDB")
        footprint = measure_footprint(footprint_database, folder, sizes)
        growth_database = Database(mariadb, "growth", "InnoDB")
        growth_database.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        with ThreadPoolExecutor() as background:
            # The largest takes as long as the others and a million leads through the service, which nobody times.
            *others, largest = sizes.growth
            filled = background.submit(fill, growth_database.once_more(), largest)
            for rows in others:
                fill(growth_database, rows)
            memory = measure_memory(footprint_database, folder, sizes)
            filled.result()
        growth_database.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        growth = measure_growth(growth_database, folder, sizes)
        return Results(machine, sizes, throughput, dialler, anatomy, footprint, memory, growth)


if __name__ == "__main__":
    sys.exit(main())
