"""What the service itself takes: CPU time for a refusal, memory, and time to start."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmark.bodies import measure_bodies
from benchmark.data import CheckError, Database, batches
from benchmark.load import Load
from benchmark.progress import progress
from benchmark.service_process import ServiceProcess
from benchmark.sizes import BATCH, Sizes
from benchmark.spread import Spread

CLIENTS = 8


@dataclass(frozen=True)
class Footprint:
    refusals: dict[int, Spread]
    """CPU seconds of a refused request, by its status."""
    slowest_bodies: dict[int, tuple[str, Spread]]
    """By limit of lead ids: the body that takes longest to parse and refuse, and its CPU seconds."""
    own_part: Spread
    """CPU seconds of a batch that leaves the database nothing to move."""
    start: Spread
    """Seconds from the start of the process to its first answer, of /livez."""
    first_batch: Spread
    """Seconds from the start of the process until the first batch is archived."""


def measure_footprint(database: Database, folder: Path, sizes: Sizes) -> Footprint:
    start, first_batch = measure_starts(database, folder, sizes)
    progress("refusals")
    refusals = {status: measure_refusals(database, folder, sizes, status) for status in (401, 403)}
    return Footprint(refusals, measure_bodies(sizes.rounds), measure_own_part(database, folder, sizes), start, first_batch)


def measure_own_part(database: Database, folder: Path, sizes: Sizes) -> Spread:
    """All that the service does for a batch, without a database that works on it: the leads are archived already.

    Eight clients keep the processor awake. With one, most of the CPU time is what a processor takes to wake up, and to fetch
    from memory what the database has pushed out of its caches.
    """
    progress("the service's own part")
    lead_ids = range(1, sizes.starts * BATCH + 1)  # measure_starts has archived them
    seconds = []
    with ServiceProcess(database.url, folder) as process:
        requests = [process.request(batch) for batch in batches(lead_ids, BATCH)] * (sizes.refusals // sizes.starts)
        expect(process.send(requests, CLIENTS), 200)
        for _ in range(sizes.rounds):
            before = process.cpu_seconds()
            expect(process.send(requests, CLIENTS), 200)
            seconds.append((process.cpu_seconds() - before) / len(requests))
    return Spread.of(seconds)


def measure_starts(database: Database, folder: Path, sizes: Sizes) -> tuple[Spread, Spread]:
    first_answers, first_batches = [], []
    database.make_up("leads", range(1, sizes.starts * BATCH + 1))
    database.run("DROP TABLE vicidial_list")
    database.run("RENAME TABLE leads TO vicidial_list")
    for number, lead_ids in enumerate(batches(range(1, sizes.starts * BATCH + 1), BATCH), 1):
        progress(f"start {number} of {sizes.starts}")
        with ServiceProcess(database.url, folder) as process:
            expect(process.send([process.request(lead_ids)]), 200)
            first_batches.append(time.perf_counter() - process.started)
            first_answers.append(process.start_seconds)
    return Spread.of(first_answers), Spread.of(first_batches)


def measure_memory(database: Database, folder: Path, sizes: Sizes) -> Spread:
    """MiB of resident memory after the last of many leads, more than after the first thousand.

    On tables without other keys than the primary one, which are quick to fill: the service does not see the difference.
    """
    progress(f"memory: {sizes.leads_memory:,} leads in one run")
    leads = sizes.leads_memory
    for table in ("vicidial_list", "vicidial_list_archive"):
        database.run(f"TRUNCATE TABLE {table}")
        database.drop_keys(table)
    database.run(f"INSERT INTO vicidial_list (lead_id, phone_number) SELECT seq, seq FROM seq_1_to_{leads}")
    with ServiceProcess(database.url, folder) as process:
        first, *others = [process.request(lead_ids) for lead_ids in batches(range(1, leads + 1), BATCH)]
        expect(process.send([first, others.pop(0)]), 200)
        resident = process.resident_mib()
        expect(process.send(others, CLIENTS), 200)
        resident_after = process.resident_mib()
    counts = database.count("vicidial_list"), database.count("vicidial_list_archive")
    if counts != (0, leads):
        raise CheckError(f"of {leads} leads {counts} are in the tables")
    return Spread.of([resident_after - resident])


def measure_refusals(database: Database, folder: Path, sizes: Sizes, status: int) -> Spread:
    """CPU seconds of a refusal: 401 for an unknown key, 403 within office hours, each with a whole batch that is not read."""
    lead_ids = list(range(1, BATCH + 1))
    now = datetime.now(UTC)
    office_hours = f"Mon-Sun {now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    with ServiceProcess(database.url, folder, office_hours=office_hours) as process:
        request = process.request(lead_ids, "unknown" if status == 401 else None)
        expect(process.send([request] * (sizes.refusals // 10)), status)
        seconds = []
        for _ in range(sizes.rounds):
            before = process.cpu_seconds()
            expect(process.send([request] * sizes.refusals), status)
            seconds.append((process.cpu_seconds() - before) / sizes.refusals)
        return Spread.of(seconds)


def expect(load: Load, status: int) -> None:
    for answer in load.answers:
        if answer.status != status:
            raise RuntimeError(f"the service answered {answer.status} instead of {status}: {answer.body!r}")
