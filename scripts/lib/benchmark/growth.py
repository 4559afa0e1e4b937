"""What a batch costs with few and with many rows in the archive, all of them in the buffer pool."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmark.data import CheckError, Database, batches
from benchmark.progress import progress
from benchmark.service_process import ServiceProcess
from benchmark.sizes import BATCH, Sizes
from benchmark.spread import Spread


@dataclass
class Growth:
    seconds_a_batch: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By the rows in the archive: the median of a round's batches, for every round."""
    pages_read: int = 0
    """From the disk, while the batches ran."""

    def spread(self, rows: int) -> Spread:
        return Spread.of(self.seconds_a_batch[rows])

    def ratio(self, rows: int, other_rows: int) -> Spread:
        """The cost at some rows by that at others, of the same round."""
        pairs = zip(self.seconds_a_batch[rows], self.seconds_a_batch[other_rows], strict=True)
        return Spread.of([seconds / other for seconds, other in pairs])


def fill(database: Database, rows: int) -> None:
    """Make an archive of that many leads. It takes minutes if they are many."""
    progress(f"growth: an archive of {rows:,} leads")
    database.make_up(f"archive_{rows}", range(1, rows + 1), like="vicidial_list_archive")
    database.write_to_disk(f"archive_{rows}")


def measure_growth(database: Database, folder: Path, sizes: Sizes) -> Growth:
    """database holds the archives of all sizes."""
    # Their ids are higher than any in the archive, as those of newer leads are; their phone numbers fall anywhere.
    first = max(sizes.growth) + 1
    ids = range(first, first + sizes.rounds_growth * len(sizes.growth) * sizes.leads_growth)
    database.make_up("leads", ids)
    database.run("DROP TABLE vicidial_list")
    database.run("RENAME TABLE leads TO vicidial_list")
    database.write_to_disk("vicidial_list")

    growth = Growth()
    runs = iter(batches(ids, sizes.leads_growth))
    in_turns = list(sizes.growth)
    with ServiceProcess(database.url, folder) as process:
        for number in range(sizes.rounds_growth):
            progress(f"growth: round {number + 1} of {sizes.rounds_growth}")
            in_turns = in_turns[1:] + in_turns[:1]
            for rows in in_turns:
                requests = [process.request(lead_ids) for lead_ids in batches(next(runs), BATCH)]
                database.run(f"RENAME TABLE vicidial_list_archive TO other, archive_{rows} TO vicidial_list_archive")
                database.settle()
                pages_read = database.status("Innodb_buffer_pool_reads")
                load = process.send(requests)
                growth.pages_read += database.status("Innodb_buffer_pool_reads") - pages_read
                growth.seconds_a_batch[rows].append(median(answer.seconds for answer in load.answers))
                database.run(f"RENAME TABLE vicidial_list_archive TO archive_{rows}, other TO vicidial_list_archive")
    check(database, sizes)
    return growth


def check(database: Database, sizes: Sizes) -> None:
    """Raises CheckError if a lead is not where it should be."""
    archived = {rows: database.count(f"archive_{rows}") - rows for rows in sizes.growth}
    if set(archived.values()) != {sizes.rounds_growth * sizes.leads_growth} or database.count("vicidial_list"):
        raise CheckError(f"leads that got into the archives, by their sizes: {archived}")
