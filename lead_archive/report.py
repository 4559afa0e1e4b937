"""The summary of a run, for people and for scripts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from lead_archive.errors import RefusedError, Status, UsageError
from lead_archive.operations import Operation

KINDS = {
    "moved": "{did}",
    "kept": "kept in {source}, as asked",
    "already": "{did} before",
    "identical": "identical in both tables",
    "archive_only": "only in vicidial_list_archive",
    "list_only": "only in vicidial_list",
    "different": "different",
    "remained": "remained",
    "unmatched": "no longer meet the conditions",
    "reused": "left alone, id given out again",
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
"""The kinds that are shown even if their count is 0."""

NOT_WELL = {"list_only", "different", "remained", "reused", "unknown", "failed", "not_sent"}
BESIDES = {"inserted": "inserted into {target}", "updated": "updated in {target}", "in_use": "in use"}
"""Further counts, of leads of any kind."""


@dataclass(frozen=True)
class Summary:
    """The counts of a run, with those of the runs that it resumes."""

    operation: Operation
    asked: int
    counts: Counter[str]
    trouble: RefusedError | UsageError | None = None
    """Why the run ended early, or None."""
    stopped: bool = False
    """Whether the user stopped the run before it was known how many leads there are."""

    @property
    def kinds(self) -> dict[str, int]:
        told = ALWAYS[self.operation.name]
        counts = {**self.counts, "not_sent": self.asked - sum(self.counts[kind] for kind in KINDS)}
        return {kind: counts.get(kind, 0) for kind in KINDS if kind in told or counts.get(kind)}

    @property
    def undone(self) -> int:
        """Return the number of leads that --resume tries again."""
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
        if self.trouble:
            return Status.REFUSED if isinstance(self.trouble, RefusedError) else Status.WRONG_USAGE
        if self.stopped:
            return Status.SOME_REMAIN
        # Without conditions, the service has some of its own.
        not_well = NOT_WELL if self.operation.where else NOT_WELL | {"unmatched"}
        return Status.SOME_REMAIN if any(self.kinds.get(kind) for kind in not_well) else Status.DONE

    def table(self) -> str:
        """Return the summary for people: one count a line, aligned to the right."""
        operation = self.operation
        words = {"did": operation.did, "source": operation.source, "target": operation.target}
        rows = {"leads found" if operation.where else "leads asked": self.asked}
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
        """Return the summary for scripts: one JSON object."""
        return json.dumps(
            {
                "command": self.operation.name,
                "dry_run": self.operation.dry_run,
                "status": int(self.status),
                "asked": self.asked,
                **self.kinds,
                **self.besides,
                "error": str(self.trouble) if self.trouble else None,
                **more,
            }
        )
