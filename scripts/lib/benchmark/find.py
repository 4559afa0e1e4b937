"""Compare a search, page by page, with one SELECT of all ids: seconds, memory of the service, and the longest statement.

Run it by itself: .venv/bin/python scripts/lib/benchmark/find.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from mariadb import PrivateMariaDB

from benchmark.data import ENGINES, CheckError, Database
from benchmark.load import Connection, post
from benchmark.progress import progress
from benchmark.service_process import ServiceProcess

OPTIONS = ("--innodb-buffer-pool-size=1G", "--key-buffer-size=128M", "--innodb-flush-log-at-trx-commit=2")

SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "no lead": ({"statuses": ["NOBODY"]}, "status IN ('NOBODY')"),
    "a third": ({"list_ids": [101]}, "list_id IN (101)"),
    "all leads": ({"called_count_at_least": 0}, "called_count >= 0"),
}
"""By its result: the conditions, and the same in SQL. The SELECT reads all rows: an index would answer another question."""


def select(database: Database, condition: str) -> tuple[float, int]:
    """Return the seconds of a SELECT of all ids that match, and their number."""
    started = time.perf_counter()
    rows = database.run(f"SELECT lead_id FROM vicidial_list FORCE INDEX (PRIMARY) WHERE lead_id > 0 AND {condition}")
    return time.perf_counter() - started, len(rows)


def find(service: ServiceProcess, where: dict[str, Any]) -> tuple[float, int, float]:
    """Return the seconds of all pages, the number of ids, and the seconds of the slowest page."""
    connection = Connection(service.port)
    body: dict[str, Any] = {"where": where, "limit": 10_000}
    found, slowest, done = 0, 0.0, False
    started = time.perf_counter()
    while not done:
        answer = connection.exchange(post("/vicidial/leads/find", json.dumps(body).encode(), service.key))
        if answer.status != 200:
            raise CheckError(answer.body.decode())
        page = json.loads(answer.body)
        found += len(page["lead_ids"])
        slowest = max(slowest, answer.seconds)
        done, body["after_lead_id"] = page["done"], page["next_after_lead_id"]
    connection.close()
    return time.perf_counter() - started, found, slowest


def measure(mariadb: PrivateMariaDB, engine: str, folder: Path, leads: int, rounds: int) -> None:
    progress(f"{engine}: {leads:,} leads")
    database = Database(mariadb, f"find_{engine.lower()}", engine)
    database.make_up("leads", range(1, leads + 1))
    database.run("DROP TABLE vicidial_list")
    database.run("RENAME TABLE leads TO vicidial_list")
    database.run("ANALYZE TABLE vicidial_list")
    with ServiceProcess(database.url, folder) as service:
        find(service, {"list_ids": [0]})
        before = service.resident_mib()
        for name, (where, condition) in SEARCHES.items():
            plain, paged, slowest = [], [], 0.0
            for _ in range(rounds):
                seconds, expected = select(database, condition)
                plain.append(seconds)
                seconds, found, slow = find(service, where)
                paged.append(seconds)
                slowest = max(slowest, slow)
                if found != expected:
                    raise CheckError(f"{name}: {found} leads were found instead of {expected}")
            ratios = sorted(page / one for page, one in zip(paged, plain, strict=True))
            print(
                f"{engine:<7} {name:<10} {expected:>9,} leads  SELECT {median(plain):6.2f} s  find {median(paged):6.2f} s"
                f"  ratio {median(ratios):4.2f} ({ratios[0]:4.2f} to {ratios[-1]:4.2f})  slowest page {slowest * 1e3:4.0f} ms",
                flush=True,
            )
        print(f"{engine:<7} memory of the service {before:.1f} MiB before, {service.resident_mib():.1f} MiB after", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="find") as folder, PrivateMariaDB(Path(folder) / "mariadb", OPTIONS) as mariadb:
        for engine in ENGINES:
            measure(mariadb, engine, Path(folder), options.leads, options.rounds)


if __name__ == "__main__":
    main()
