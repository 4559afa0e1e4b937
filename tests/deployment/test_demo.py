"""The demo: what it shows, and that what it suggests at its end works as it is printed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.paths import ROOT
from support.process import PATIENCE


@pytest.fixture(scope="module")
def output() -> Iterator[str]:
    """What the demo has printed by the time it serves."""
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
    """Run the command that the demo suggests for a path, as it is printed."""
    (command,) = re.findall(rf"^  (curl .*/vicidial/leads/{path} .*)$", output, re.MULTILINE)
    done = subprocess.run(["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return json.loads(done.stdout)


def test_it_archives_all_leads_and_what_it_suggests_works_as_printed(output: str) -> None:
    assert "All 500 leads are archived" in output
    assert run(output, "archive")["select_count"] == 0

    assert [(lead["in_list"], lead["in_archive"]) for lead in run(output, "compare")["leads"]] == [(False, True)] * 3
    answer = run(output, "dearchive")
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 3, [])
    assert [(lead["in_list"], lead["in_archive"]) for lead in run(output, "compare")["leads"]] == [(True, False)] * 3
    assert run(output, "archive")["delete_count"] == 3
