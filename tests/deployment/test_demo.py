"""The demo: what it needs, what it prints, and that the commands that it suggests work as printed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.process import PATIENCE, clean


@pytest.fixture(scope="module")
def output() -> Iterator[str]:
    """The output of the demo until it serves requests."""
    log = ROOT / ".test/demo.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as file:
        demo = subprocess.Popen(["scripts/demo"], cwd=ROOT, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 2 * PATIENCE
        while "tail -f" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield log.read_text()
    finally:
        demo.send_signal(signal.SIGINT)
        status = demo.wait(PATIENCE)
    assert status == 128 + signal.SIGINT


def run(output: str, path: str) -> Any:
    """Run the command that the demo prints for a path."""
    (command,) = re.findall(rf"^  (curl .*/vicidial/leads/{path} .*)$", output, re.MULTILINE)
    done = subprocess.run(["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return json.loads(done.stdout)


def test_its_requirements_are_all_that_it_needs(tmp_path: Path) -> None:
    """Run in a venv that holds the packages of requirements-demo.txt, from those of the tests, and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True, timeout=PATIENCE)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements-demo.txt").read_text(), re.MULTILINE):
        for path in importlib.metadata.files(name) or ():
            top = path.parts[0]
            if top not in {"..", "__pycache__"} and not (site / top).exists():
                (site / top).symlink_to(Path(str(path.locate())).parents[len(path.parts) - 1] / top)

    demo = subprocess.run(
        [f"{tmp_path}/bin/python", "scripts/lib/demo.py", "--exit"],
        cwd=ROOT,
        env=clean({}),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )

    assert (demo.returncode, "All 500 leads are archived" in demo.stdout) == (0, True), demo.stdout + demo.stderr
    for option in ("--help", "--version"):
        client = [f"{tmp_path}/bin/python", "-m", "lead_archive", option]
        assert subprocess.run(client, cwd=ROOT, env=clean({}), timeout=PATIENCE, check=False).returncode == 0


def test_it_archives_all_leads_and_what_it_suggests_works_as_printed(output: str) -> None:
    assert "All 500 leads are archived" in output
    assert run(output, "archive")["select_count"] == 0

    assert [(lead["in_list"], lead["in_archive"]) for lead in run(output, "compare")["leads"]] == [(False, True)] * 3
    answer = run(output, "dearchive")
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 3, [])
    assert [(lead["in_list"], lead["in_archive"]) for lead in run(output, "compare")["leads"]] == [(True, False)] * 3
    assert run(output, "archive")["delete_count"] == 3


def bulk_client(output: str, *commands: str) -> str:
    """Run the commands of the bulk client that the demo prints, and return their output."""
    printed = [line.strip() for line in output.splitlines() if line.startswith(("  . ", "  lead-archive "))]
    chosen = [line for line in printed if line.startswith(". ") or line.split()[1] in commands]
    script = "\n".join(chosen)
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_bulk_client_that_it_suggests_works_as_printed(output: str) -> None:
    back = bulk_client(output, "dearchive")
    assert "dearchived" in back
    assert "500" in back

    found = bulk_client(output, "find").split()
    assert 0 < len(found) < 250

    foreseen, carried_out = [part.splitlines() for part in bulk_client(output, "run").split("rule ") if part]
    assert foreseen[0].split() == ["match", "would", "go", "would", "stay", "failed"]
    assert carried_out[0].split() == ["found", "moved", "stayed", "failed"]
    numbers = [int(line.split()[-4]) for line in carried_out[1:]]
    assert len(numbers) == 5  # the rules
    assert all(numbers)
