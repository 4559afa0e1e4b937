"""The systemd service and timer of the rules, checked without starting them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from support.client import Client
from support.fake_service import FIND_OPENAPI, Reply, fake, page
from support.paths import ROOT
from support.process import PATIENCE

SERVICE = ROOT / "deploy/lead-archive-rules.service"
TIMER = ROOT / "deploy/lead-archive-rules.timer"
LARGEST_EXPOSURE = 1.5
"""The most exposure out of 10 in `systemd-analyze security`. systemd 252 gives 1.1; other versions differ a little."""


def unit(path: Path) -> RawConfigParser:
    """Return a unit by section. Of directives that occur twice, the last one counts."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are as they are written
    parser.read(path)
    return parser


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    program = unit(SERVICE)["Service"]["ExecStart"].split()[0]
    for path in (SERVICE, TIMER):  # the service's program is not installed on this machine
        (tmp_path / path.name).write_text(path.read_text().replace(program, sys.executable))

    result = analyze("verify", str(tmp_path / SERVICE.name), str(tmp_path / TIMER.name))

    assert (result.returncode, result.stderr) == (0, "")
    assert TIMER.stem == SERVICE.stem  # so that the timer starts this service


def test_it_is_exposed_to_little() -> None:
    result = analyze("security", "--offline=yes", f"--threshold={LARGEST_EXPOSURE * 10:.0f}", str(SERVICE))

    assert result.returncode == 0, result.stdout[-200:] + result.stderr


def test_it_has_the_limits_of_the_services_unit() -> None:
    """The client has the same restrictions as the service. Both need the network, and the client writes no file."""
    mine, other = unit(SERVICE)["Service"], unit(ROOT / "deploy/lead-archive.service")["Service"]
    limits = [name for name in other if name.startswith(("Protect", "Private", "Restrict", "SystemCall", "IPAddress", "Lock"))]

    assert len(limits) > 15
    assert {name: mine.get(name) for name in limits} == {name: other[name] for name in limits if name != "LogsDirectory"}


def test_the_timer_begins_in_the_evening_and_makes_up_for_no_night() -> None:
    timer = unit(TIMER)["Timer"]

    assert analyze("calendar", timer["OnCalendar"]).returncode == 0
    assert timer["Persistent"] == "false"


@pytest.mark.parametrize("status", [200, 401])
def test_what_it_runs_carries_out_the_rules_that_are_shipped(tmp_path: Path, status: int) -> None:
    program, *arguments = shlex.split(unit(SERVICE)["Service"]["ExecStart"])
    assert (program.startswith("/opt/lead-archive/"), arguments[:3]) == (True, ["-I", "-m", "lead_archive"])
    places = {"/etc/lead-archive/rules.toml": ROOT / "deploy/rules.example.toml", "%d/key": "key"}
    reply = page() if status == 200 else Reply({"message": "unable to validate api user"}, status)

    with fake(lambda *_: reply, FIND_OPENAPI) as url:
        client = Client(tmp_path, url, key="")
        client.write("key", "anything")
        result = client.invoke(*(places.get(argument, argument) for argument in arguments[3:]))

    assert result.status == (0 if status == 200 else 3), result.errors
    assert result.output.count("done") == (5 if status == 200 else 0)
