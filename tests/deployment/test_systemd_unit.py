"""The systemd unit, checked without starting it."""

from __future__ import annotations

import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

from support.fixtures import ReadSettings
from support.paths import ROOT
from support.process import PATIENCE

from service.app import DISCONNECT_TIMEOUT
from service.observability import audit_file
from service.observability.log_writer import DRAIN_TIMEOUT
from service.server.serve import END_TIMEOUT, STOP_MARGIN
from service.server.supervisor import KILL_TIMEOUT
from service.settings import Settings

UNIT = ROOT / "deploy/lead-archive.service"

LARGEST_EXPOSURE = 1.5
"""The most exposure out of 10 in `systemd-analyze security`. systemd 252 gives 1.1; other versions differ a little."""


class Unit(RawConfigParser):
    """Return the unit by section. Of directives that occur twice, the last one counts."""

    def __init__(self) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment,method-assign]  # names are as they are written
        self.read(UNIT)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    program = Unit()["Service"]["ExecStart"].split()[0]
    rendered = tmp_path / UNIT.name
    rendered.write_text(UNIT.read_text().replace(program, sys.executable))  # the shipped one is not installed here

    result = analyze("verify", str(rendered))

    assert (result.returncode, result.stderr) == (0, "")


def test_it_is_exposed_to_little() -> None:
    result = analyze("security", "--offline=yes", f"--threshold={LARGEST_EXPOSURE * 10:.0f}", str(UNIT))

    assert result.returncode == 0, result.stdout[-200:] + result.stderr


def test_a_stop_takes_no_longer_than_systemd_waits() -> None:
    """In the worst case a worker hangs, cannot be killed, and the log is not read."""
    request_timeout = Settings.model_fields["REQUEST_TIMEOUT"].default
    longest = 1 + STOP_MARGIN + KILL_TIMEOUT + DRAIN_TIMEOUT
    assert longest == 9  # as docs/operations.md and the unit say
    assert int(Unit()["Service"]["TimeoutStopSec"]) == request_timeout + 10
    one_process = 1 + audit_file.DRAIN_TIMEOUT + DISCONNECT_TIMEOUT + END_TIMEOUT + DRAIN_TIMEOUT
    assert one_process <= longest


def test_the_settings_that_are_shipped_are_good(settings_from: ReadSettings, keys_file: Path) -> None:
    lines = (ROOT / "deploy/environment").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert settings["API_KEYS_FILE"] == "/etc/lead-archive/keys.toml"
    # The only folder that the unit lets it write to, besides /tmp.
    assert Path(settings["AUDIT_LOG"]).parent == Path("/var/log") / Unit()["Service"]["LogsDirectory"]
    files = {"API_KEYS_FILE": str(keys_file), "AUDIT_LOG": str(keys_file.parent / "audit.jsonl")}

    read = settings_from({**{name: value.strip("'\"") for name, value in settings.items()}, **files})

    assert read.office_hours
    assert (read.HOST, read.PORT) == ("127.0.0.1", 8000)  # where nginx looks for it
