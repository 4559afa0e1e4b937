"""lead-archive runs in a virtual environment with only its own dependencies, without those of the service."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.api import KEY
from support.client import clean
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables
from support.wheels import build_wheel, install_wheel

FOR_THE_SERVICE_ONLY = ("asyncmy", "cryptography", "databases", "pydantic", "sqlalchemy", "starlette", "uvicorn", "uvloop")

FOR_UNIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "uvloop"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a virtual environment with what `pip install .` would install, copied from the tests' own."""
    folder = tmp_path_factory.mktemp("alone")
    install_wheel(build_wheel(tmp_path_factory.mktemp("wheel")), folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (project,) = importlib.metadata.distributions(path=[str(site)])
    for name in needed_by(project):
        copy(importlib.metadata.distribution(name), site)
    return folder / "bin/python"


def needed_by(project: importlib.metadata.Distribution) -> set[str]:
    """Return the names of the distributions that the project needs without any extra, and of those that these need."""
    found: set[str] = set()
    todo = [(project, "")]
    while todo:
        distribution, extra = todo.pop()
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            if requirement.name not in found:
                found.add(requirement.name)
                needed = importlib.metadata.distribution(requirement.name)
                todo += [(needed, extra) for extra in (requirement.extras or {""})]
    return found


def copy(distribution: importlib.metadata.Distribution, site: Path) -> None:
    for file in distribution.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), site / file)


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**{name: value for name, value in clean().items() if name != "PYTHONPATH"}, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_it_archives_leads(python: Path, tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(1, 2)
    live, _ = tables.both()
    (tmp_path / "leads").write_text("1\n2\n")

    with ServiceProcess(environment) as service:
        server = {"LEAD_ARCHIVE_URL": service.base_url, "LEAD_ARCHIVE_KEY": KEY}
        done = run(python.with_name("lead-archive"), "archive", "leads", folder=tmp_path, **server)

    assert done.returncode == 0, done.stderr
    assert tables.both() == ({}, live)


def test_it_needs_nothing_of_the_service(python: Path, tmp_path: Path) -> None:
    for name in FOR_THE_SERVICE_ONLY:
        done = run(python, "-c", f"import {name}", folder=tmp_path)
        assert "ModuleNotFoundError" in done.stderr, name


def test_it_imports_no_module_that_windows_does_not_have(python: Path, tmp_path: Path) -> None:
    missing = f"import sys; sys.modules.update(dict.fromkeys({sorted(FOR_UNIX_ONLY)!r})); "

    done = run(python, "-c", missing + "from lead_archive.cli import main; main(['--version'])", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lead-archive, version ")
