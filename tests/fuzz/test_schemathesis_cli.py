"""The command in docs/fuzzing.md, unchanged, against the running service. test_openapi.py does the same within one process,
checks more, and also tries a lower limit of lead ids."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from support.api import KEY, PATHS
from support.fuzzed import Leads
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.tables import Tables

DOCUMENT = (ROOT / "docs/fuzzing.md").read_text(encoding="utf-8")

WARNINGS = set(tomllib.loads((ROOT / "schemathesis.toml").read_text())["warnings"]["display"])


def documented_command(base_url: str, key: str) -> list[str]:
    """Return the command, with values for its placeholders."""
    (line,) = re.findall(r"^    (\S*schemathesis run .*)$", DOCUMENT, re.MULTILINE)
    filled = line.replace("https://TEST_INSTALLATION", base_url).replace("YOUR_API_KEY", key)
    assert base_url in filled
    assert key in filled
    program, *arguments = shlex.split(filled)
    assert program == ".venv/bin/schemathesis"
    return [str(Path(sys.executable).with_name("schemathesis")), *arguments]


@pytest.mark.parametrize(
    ("configuration", "common_answer", "options"),
    [
        ({}, 200, []),
        (
            {"OFFICE_HOURS": every_day_but_the_one_in_three_days(), "OFFICE_HOURS_TIMEZONE": "UTC"},
            403,
            # missing_auth would report the purpose of this run: no request is authenticated.
            ["--warnings", ",".join(WARNINGS - {"missing_auth"})],
        ),
    ],
    ids=["normal", "within office hours"],
)
def test_the_documented_command_finds_nothing(
    tables: Tables, environment: dict[str, str], configuration: dict[str, str], common_answer: int, options: list[str]
) -> None:
    with Leads(tables) as leads, ServiceProcess({**environment, **configuration}) as service:
        run = subprocess.run(
            [*documented_command(service.base_url, KEY), *options],
            cwd=ROOT,
            env={**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=3 * PATIENCE,
            check=False,
        )
        requests = [line for line in service.log_lines if line["event"] == "request"]

    assert run.returncode == 0, run.stdout + run.stderr
    assert "No issues found" in run.stdout
    assert f"Tested: {len(PATHS)}" in run.stdout
    assert all(f"✅ {phase}\n" in run.stdout for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"))
    assert leads.lost == {}
    statuses = Counter(line["status"] for line in requests if line["path"] == "/vicidial/leads/archive")
    assert statuses[common_answer] > statuses.total() / 10  # test_openapi.py gives the reason
    assert common_answer != 403 or set(statuses) <= {401, 403, 405}


def test_the_documented_leads_are_those_of_the_contracts_examples(tables: Tables) -> None:
    (statement,) = re.findall(r"^ +(INSERT .*);$", DOCUMENT, re.MULTILINE)

    tables.execute("SET sql_mode = 'TRADITIONAL'")
    tables.execute(statement)

    examples = PATHS["/vicidial/leads/archive"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    live, _ = tables.ids()
    assert {tuple(example["value"]["lead_ids"]) for example in examples.values()} == {tuple(live)}
