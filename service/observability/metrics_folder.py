"""The folder of the metric files of several workers. It is deleted when the last process that uses it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "lead-archive-metrics-"


class MetricsFolder:
    """A folder in TMPDIR, locked by this process and by all processes forked from it.

    The kernel releases the lock when the last of them ends, in whatever way. A folder that nobody has locked is stale.
    """

    def __init__(self) -> None:
        """Make the folder, and delete stale folders of this account. Raises OSError."""
        for other in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _delete_if_stale(other)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        if not self.path.exists():  # another service that is starting took it for a stale one
            os.close(self._descriptor)
            self.__init__()  # type: ignore[misc]

    def leave(self) -> None:
        """Stop using the folder. Delete it if no other process uses it."""
        os.close(self._descriptor)
        _delete_if_stale(self.path)


def _delete_if_stale(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it is deleted already, or belongs to another account
        return
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
