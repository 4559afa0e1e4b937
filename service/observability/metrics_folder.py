"""The folder of the metric files of several workers. It is deleted when the last process that uses it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from service.observability.metrics_files import restore_files

PREFIX = "lead-archive-metrics-"


class MetricsFolder:
    """A folder in TMPDIR, locked by this process and by all processes forked from it.

    The kernel releases the lock when the last of them ends, in whatever way. A folder that nobody has locked is stale.
    """

    def __init__(self) -> None:
        """Make the folder, and delete stale folders of this account. Raises OSError."""
        self.delete_stale(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        if not self.path.exists():  # another service that is starting took it for a stale one
            os.close(self._descriptor)
            self.__init__()  # type: ignore[misc]

    @staticmethod
    def delete_stale(parent: Path) -> None:
        """Delete the stale folders of this account in a folder."""
        for path in parent.glob(f"{PREFIX}*"):
            _delete_if_stale(path)

    def restore(self) -> bool:
        """Make the folder and the files of this process again if somebody deleted them. Return whether anything was deleted.

        Raises OSError, also if another account has made a folder of that name meanwhile.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        found = os.fstat(descriptor)
        if os.path.samestat(found, os.fstat(self._descriptor)):
            os.close(descriptor)
        elif found.st_uid != os.geteuid():
            os.close(descriptor)
            raise PermissionError(errno.EPERM, "the folder belongs to another account")
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.close(self._descriptor)
            self._descriptor = descriptor
        return restore_files()

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
