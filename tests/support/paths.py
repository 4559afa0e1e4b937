"""Paths in the checkout, and where the tests keep their databases."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCRATCH = ROOT / ".test"
"""The folder of temporary files of the tests. Git ignores it."""

MEMORY = Path("/dev/shm")
ROOM = 8 * 2**30
"""Bytes that must be free in MEMORY: a server of the tests needs a quarter of a GiB, and there are up to a dozen."""


def databases() -> Path:
    """Return the folder of the databases that most tests use. In memory, a new database takes a sixth of the time."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        return MEMORY
    SCRATCH.mkdir(exist_ok=True)
    return SCRATCH
