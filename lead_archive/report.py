"""The end of a run: the summary, for people and for scripts, and the file of the leads that were left behind."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lead_archive.errors import Status, UsageError
from lead_archive.operations import Operation

HEADER = ["lead_id", "reason"]

KINDS = {
    "moved": "{did}",
    "kept": "kept in {source}, as asked",
    "already": "{did} before",
    "identical": "identical in both tables",
    "archive_only": "only in vicidial_list_archive",
    "list_only": "only in vicidial_list",
    "different": "different",
    "remained": "remained",
    "unknown": "unknown",
    "failed": "failed",
    "not_sent": "not sent",
}
"""The kinds of leads, each of which is counted once, and what they are called."""

ALWAYS = {
    "compare": ["identical", "archive_only", "list_only", "different", "unknown", "failed", "not_sent"],
    "archive": ["moved", "already", "remained", "unknown", "failed", "not_sent"],
    "dearchive": ["moved", "already", "remained", "unknown", "failed", "not_sent"],
}
"""The kinds that are told even if there are none."""

NOT_WELL = {"list_only", "different", "remained", "unknown", "failed", "not_sent"}
BESIDES = {"inserted": "inserted into {target}", "updated": "updated in {target}", "in_use": "in use"}
"""What is counted besides, of leads of any kind."""


@dataclass(frozen=True)
class Summary:
    """The numbers of a run, with those of the runs that it goes on with."""

    operation: Operation
    asked: int
    counts: Counter[str]
    error: str | None
    """Why the server refuses, None if it does not."""

    @property
    def kinds(self) -> dict[str, int]:
        told = ALWAYS[self.operation.name]
        counts = {**self.counts, "not_sent": self.asked - sum(self.counts[kind] for kind in KINDS)}
        return {kind: counts.get(kind, 0) for kind in KINDS if kind in told or counts.get(kind)}

    @property
    def undone(self) -> int:
        """Leads that --resume tries."""
        return self.kinds["not_sent"] + self.kinds["failed"]

    @property
    def besides(self) -> dict[str, int]:
        if self.operation.name == "compare":
            return {"in_use": self.counts["in_use"]}
        if self.operation.dry_run:
            return {}
        counted = {"insert_leads": "inserted", "update_leads": "updated"}
        return {name: self.counts[name] for flag, name in counted.items() if self.operation.flags.get(flag)}

    @property
    def status(self) -> Status:
        if self.error:
            return Status.REFUSED
        return Status.SOME_REMAIN if any(self.kinds.get(kind) for kind in NOT_WELL) else Status.DONE

    def table(self) -> str:
        """For people: a line each, the numbers below each other."""
        operation = self.operation
        did = f"would be {operation.name}d" if operation.dry_run else f"{operation.name}d"
        words = {"did": did, "source": operation.source, "target": operation.target}
        rows = {"leads asked": self.asked}
        for kind, number in self.kinds.items():
            label = KINDS[kind]
            if operation.dry_run:
                label = {"already": f"{operation.name}d before", "remained": "would remain"}.get(kind, label)
            rows[label.format(**words)] = number
        for name, number in self.besides.items():
            rows[f"({BESIDES[name].format(**words)})"] = number
        words_wide, digits_wide = max(map(len, rows)), len(f"{max(rows.values()):,}")
        return "\n".join(f"{label:<{words_wide}}  {number:>{digits_wide},}" for label, number in rows.items())

    def json(self, **more: Any) -> str:
        """For scripts: one object."""
        return json.dumps(
            {
                "command": self.operation.name,
                "dry_run": self.operation.dry_run,
                "status": int(self.status),
                "asked": self.asked,
                **self.kinds,
                **self.besides,
                "error": self.error,
                **more,
            }
        )


def write_left_behind(path: Path, leads: Iterator[tuple[int, str]]) -> bool:
    """Write the leads with their reasons to a file that can be fed in again; whether there are any.

    The file is there whole or not at all. Without leads, one of an earlier run is taken away. Raises UsageError.
    """
    first = next(leads, None)
    try:
        if first is None:
            if is_ours(path):
                path.unlink()
            return False
        new = path.with_name(f"{path.name}.new")
        with new.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(chain([first], leads))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; name another file with --left, and --resume writes it"
        ) from None
    return True


def is_ours(path: Path) -> bool:
    """Whether a file is one of those that write_left_behind writes."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.readline(100).strip() == ",".join(HEADER).encode()
    return False
