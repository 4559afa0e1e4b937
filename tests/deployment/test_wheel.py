"""The wheel contains everything that the service needs. The service runs from it in any folder, without a checkout."""

from __future__ import annotations

import json
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT
from support.process import ServiceProcess
from support.tables import Tables
from support.wheels import build_wheel, install_wheel, run

from service import __version__

COMMANDS = {
    ("python", "-m", "service", "--version"): f"vicidial-lead-archive-api, version {__version__}\n",
    ("lead-archive", "--version"): f"lead-archive, version {__version__}\n",
}
"""Commands to run from the wheel, besides the service, and their output."""

SHIPPED = {
    **{path: "service" / path.relative_to(ROOT) for path in (ROOT / "sql").rglob("*.sql")},
    ROOT / "openapi.yaml": Path("service/openapi.yaml"),
    **{
        path: path.relative_to(ROOT)
        for package in ("service", "lead_archive")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    },
}
"""Files of the checkout, and their paths in the wheel."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin of a venv with the wheel, and with the libraries of the tests. Their own installation, which leads
    to the checkout, is not among them: site takes no .pth files from a folder that a .pth file names."""
    folder = tmp_path_factory.mktemp("venv")
    install_wheel(wheel, folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_what_the_checkout_has(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name): archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}

    assert set(held) == set(SHIPPED.values())
    assert [path for path, name in SHIPPED.items() if held[name] != path.read_bytes()] == []


def test_the_service_runs_from_the_wheel_in_any_folder(
    programs: Path, tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1)
    python = f"{programs}/python"
    where = run(python, "-c", "import service; print(service.__file__)", folder=tmp_path).strip()
    assert Path(where).is_relative_to(programs.parent)

    assert "WHERE lead_id IN (1)" in run(python, "-m", "service", "sql", "1", folder=tmp_path, environment=environment)
    with ServiceProcess(environment, python=python, folder=tmp_path) as service:
        assert json.loads(service.get("/readyz")[1])["message"] == "ready"
        assert service.get("/openapi.yaml") == (200, (ROOT / "openapi.yaml").read_bytes())
        assert service.get("/docs/docs.js") == (200, (ROOT / "service/api/pages/docs.js").read_bytes())
        assert service.stop() == 0


@pytest.mark.parametrize(("command", "said"), COMMANDS.items())
def test_the_commands_run_from_the_wheel(programs: Path, tmp_path: Path, command: tuple[str, ...], said: str) -> None:
    assert run(f"{programs}/{command[0]}", *command[1:], folder=tmp_path) == said
