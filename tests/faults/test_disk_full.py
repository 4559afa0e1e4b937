"""The disk of the database or of the audit log is full: nothing is lost, every request is answered, and work continues when
there is space again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

SIZE = 200
"""Size of the disk in MiB: that of an empty server, and some more."""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Runs disk_full.py on a small disk. In a separate mount namespace, this needs no privileges."""
    mount = f'mount -t tmpfs -o size={SIZE}m tmpfs "$0" && exec "$@"'
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", str(ROOT / "tests/support/disk_full.py")]
    result = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, tmp_path, *pytest],
        cwd=ROOT,
        env={**os.environ, "LEAD_ARCHIVE_SMALL_DISK": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout
