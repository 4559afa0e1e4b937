"""Build the project's wheel, and install it into a virtual environment. No network is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.paths import ROOT
from support.process import PATIENCE, clean


def build_wheel(folder: Path) -> Path:
    """Build what `pip install .` would install, with the hatchling of the tests."""
    _pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(ROOT), folder=folder)
    (built,) = folder.glob("*.whl")
    return built


def install_wheel(wheel: Path, folder: Path) -> None:
    """Create a virtual environment in `folder` that contains only the wheel."""
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    _pip(f"--python={folder}/bin/python", "install", "--no-deps", "--no-index", str(wheel), folder=folder)


def run(*command: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command, assert that it succeeds, and return its output."""
    done = subprocess.run(
        command, cwd=folder, env=clean(environment or {}), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _pip(*arguments: str, folder: Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments, folder=folder)
