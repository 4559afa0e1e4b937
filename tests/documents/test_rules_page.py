"""docs/rules.md and README.md: their rules can be read, and the line for cron runs as it is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.client import COMMAND, Client
from support.fake_service import FIND_OPENAPI, fake, page
from support.paths import ROOT
from support.process import PATIENCE

from lead_archive.conditions import CONDITIONS
from lead_archive.rules import KEYS, read_rules

PAGE = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [PAGE, README], ids=["rules.md", "README.md"])
def test_the_rules_that_are_shown_can_be_read(tmp_path: Path, text: str) -> None:
    blocks = re.findall(r"^    \[\[rules\]\]\n(?:    (?!\$).+\n)+", text, re.MULTILINE)
    assert blocks

    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.toml"
        path.write_text("".join(line[4:] for line in block.splitlines(keepends=True)))
        assert len(read_rules(path)) == 1


def test_the_page_has_every_key_and_every_condition() -> None:
    documented = {name for row in re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}

    assert {*KEYS, *CONDITIONS} <= documented


def test_the_line_for_cron_runs_with_the_environment_that_cron_gives(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    0 22 \* \* \* archiver (.+)$", PAGE, re.MULTILINE)
    assert "%" not in line
    rules, key = tmp_path / "rules.toml", tmp_path / "rules.key"
    rules.write_text((ROOT / "deploy/rules.example.toml").read_text())
    key.write_text("anything")
    places = {
        "/opt/lead-archive/client/bin/lead-archive": COMMAND,
        "/etc/lead-archive/rules.toml": rules,
        "/etc/lead-archive/rules.key": key,
    }
    for path, place in places.items():
        assert path in line
        line = line.replace(path, shlex.quote(str(place)))

    with fake(lambda *_: page(), FIND_OPENAPI) as url:
        python_path = Client(tmp_path, url).environment.get("PYTHONPATH", str(ROOT))
        environment = {"PATH": "/usr/bin:/bin", "LEAD_ARCHIVE_URL": url, "PYTHONPATH": python_path}

        def cron() -> tuple[int, str, str]:
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            return done.returncode, done.stdout, done.stderr

        status, output, errors = cron()
        assert (status, errors, output.count("done")) == (0, "", 5)
        with subprocess.Popen(["flock", str(rules), "sh", "-c", "echo; read _"], stdin=-1, stdout=-1) as other:
            assert other.stdout
            other.stdout.readline()
            assert cron() == (1, "", "")  # one run at a time
            other.communicate(b"\n")
