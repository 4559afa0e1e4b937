"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from mariadb import PrivateMariaDB

GIB = 2**30


class MachineError(Exception):
    """This machine cannot run the benchmark; the message says why."""


def server_options(buffer_pool: int) -> tuple[str, ...]:
    """As on a primary with a replica, on a machine whose memory holds all data: every commit waits until the disk has the log.

    buffer_pool in MiB.
    """
    return (
        f"--innodb-buffer-pool-size={buffer_pool}M",
        "--innodb-log-file-size=4G",
        "--innodb-flush-log-at-trx-commit=1",
        "--key-buffer-size=256M",
        "--log-bin=binlog",
        "--binlog-format=MIXED",
        "--server-id=1",
        "--expire-logs-days=1",
        "--local-infile=1",
    )


def refuse_small_machine(buffer_pool: int, folder: Path) -> None:
    """buffer_pool in MiB; folder is where the data are to be."""
    available = next(
        int(line.split()[1]) // 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    needed = buffer_pool + 1024
    if available < needed:
        raise MachineError(f"{needed} MiB of free memory are needed, and there are {available}; --quick needs less")
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize // 2**20
    if free < 2 * needed:
        raise MachineError(f"{2 * needed} MiB of free disk are needed, and there are {free}; --quick needs less")


def cores() -> int:
    """Return how many cores the benchmark may use."""
    return len(os.sched_getaffinity(0))


def describe(mariadb: PrivateMariaDB, options: tuple[str, ...]) -> dict[str, str]:
    """Return the properties of the machine and the server by their names."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        ((version,),) = cursor.fetchall()
    return {
        "Processor": f"{cpu}, {cores()} cores",
        "Memory": f"{memory:.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Load average at the start": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "MariaDB": str(version),
        "Its options": " ".join(options),
    }
