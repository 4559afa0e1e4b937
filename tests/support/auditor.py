"""Read the audit log as an auditor does, and find out where a lead went with the command of docs/logs.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.paths import ROOT
from support.process import PATIENCE

Line = dict[str, Any]

FOLDER = "/var/log/lead-archive"


def read(*files: Path) -> list[Line]:
    """Return the lines of these files, oldest file first, without incomplete lines."""
    lines = []
    for file in files:
        for line in file.read_bytes().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def command() -> str:
    """Return the documented command that asks for lead 4711."""
    (found,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/logs.md").read_text(encoding="utf-8"), re.DOTALL)
    assert FOLDER in found
    assert "4711" in found
    return str(found)


def ask(folder: Path, lead_id: int, *, warning: str = "", **variables: str) -> list[Line]:
    """Return what the documented command prints for a lead and the audit.jsonl* in a folder. warning: what it says on standard
    error. variables: of its environment."""
    script = command().replace(FOLDER, str(folder)).replace("4711", str(lead_id))
    environment = {**os.environ, **variables}
    result = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True, timeout=PATIENCE, env=environment
    )
    assert result.stderr == warning
    return [json.loads(line) for line in result.stdout.splitlines()]


def answer(lines: list[Line], lead_id: int) -> list[Line]:
    """Return the same as ask(), without starting two programs for each lead."""
    batches: dict[str, Line] = {}
    ended: set[str] = set()
    for line in lines:
        named = lead_id in (line.get("leaving_lead_ids") or line.get("deleted_lead_ids") or [])
        batch = line.get("batch_id", "")
        if line["event"] == "intent" and batch not in ended:
            batches.pop(batch, None)
            if named:
                batches[batch] = {**line, "moved": None}
        elif line["event"] == "outcome" and (named or batch in batches):
            left = named or ("gone" if lead_id in line.get("gone_lead_ids", ()) else False)
            ended.add(batch)
            batches.setdefault(batch, line)["moved"] = {"committed": left, "rolled back": False}.get(line["outcome"])
    fields = ("time", "operation", "key", "request_id", "moved")
    return [{field: batch[field] for field in fields} for batch in batches.values()]


BOTH = [("intent", None), ("outcome", "committed")]
"""What events() returns for a batch that was committed."""


def events(*files: Path) -> list[tuple[str, str | None]]:
    """Return the event and the outcome of each line."""
    return [(line["event"], line.get("outcome")) for line in read(*files)]


class StuckDisk:
    """A disk on which the flush of a file descriptor does not end while `stuck` is true for it."""

    def __init__(self) -> None:
        self.stuck: Callable[[int], bool] = lambda _: True
        self.released = threading.Event()
        self.waiting = 0
        self._flush = os.fdatasync

    def flush(self, descriptor: int) -> None:
        if self.stuck(descriptor):
            self.waiting += 1
            assert self.released.wait(PATIENCE)
        self._flush(descriptor)
