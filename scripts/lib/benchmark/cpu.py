"""CPU time of another process."""

from __future__ import annotations

import time


def cpu_seconds(pid: int) -> float:
    """In user mode and in the kernel, of all threads so far."""
    # The clock of another process (see CPUCLOCK_SCHED in Linux): what utime + stime count, in nanoseconds.
    return time.clock_gettime(~pid << 3 | 2)
