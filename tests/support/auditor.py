"""What an auditor does with the lines of the audit: reads them, and asks where a lead went, as docs/logs.md says."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.paths import ROOT
from support.process import PATIENCE

Line = dict[str, Any]

FOLDER = "/var/log/lead-archive"


def read(*files: Path) -> list[Line]:
    """The lines of some files, oldest file first, without those that were torn."""
    lines = []
    for file in files:
        for line in file.read_bytes().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def command() -> str:
    """The documented command that asks for lead 4711."""
    (found,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/logs.md").read_text(encoding="utf-8"), re.DOTALL)
    assert FOLDER in found
    assert "4711" in found
    return str(found)


def ask(folder: Path, lead_id: int) -> list[Line]:
    """What the documented command prints for a lead and the audit.jsonl* in a folder."""
    script = command().replace(FOLDER, str(folder)).replace("4711", str(lead_id))
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def answer(lines: list[Line], lead_id: int) -> list[Line]:
    """The same, for many leads: ask() starts two programs for each."""
    batches: dict[str, Line] = {}
    for line in lines:
        named = lead_id in (line.get("leaving_lead_ids") or line.get("deleted_lead_ids") or [])
        batch = line.get("batch_id", "")
        if line["event"] == "intent":
            batches.pop(batch, None)
            if named:
                batches[batch] = {**line, "moved": None}
        elif line["event"] == "outcome" and (named or batch in batches):
            batches.setdefault(batch, line)["moved"] = {"committed": named, "rolled back": False}.get(line["outcome"])
    fields = ("time", "operation", "key", "request_id", "moved")
    answers = [{field: batch[field] for field in fields} for batch in batches.values()]
    return sorted(answers, key=lambda answer: str(answer["time"]))
