"""The results of the rules of a file, for people and for scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lead_archive.errors import RefusedError, Status, UsageError
from lead_archive.operations import Operation
from lead_archive.report import Summary
from lead_archive.rules import Rule
from lead_archive.selection_run import Taken

MOST_REASONS = 10
"""The number of different reasons that are shown for a rule."""
STAYED = ("remained", "reused", "unmatched", "unknown")
"""The kinds of leads that a rule leaves behind intentionally."""


@dataclass
class Result:
    """The result of a rule."""

    rule: Rule
    operation: Operation
    taken: Taken

    @cached_property
    def kinds(self) -> dict[str, int]:
        """Return the number of leads of each kind. In a dry run, those that at_most keeps for another run are a kind too."""
        kinds = Summary(self.operation, self.taken.found, self.taken.ledger.counts()).kinds
        if self.operation.dry_run and self.rule.at_most is not None and kinds["moved"] > self.rule.at_most:
            kinds["beyond_at_most"] = kinds["moved"] - self.rule.at_most
            kinds["moved"] = self.rule.at_most
        return kinds

    @property
    def stayed(self) -> int:
        return sum(self.kinds.get(kind, 0) for kind in STAYED)

    @property
    def end(self) -> str:
        """Return how the rule ended, in a word."""
        if self.taken.trouble:
            return "refused"
        if self.kinds["failed"]:
            return "failed"
        if self.taken.complete and not self.kinds["not_sent"]:
            return "done"
        return "stopped" if self.taken.stopped else "at_most"

    @cached_property
    def reasons(self) -> dict[str, int]:
        """Return why leads stayed or failed, with the number of leads for each reason."""
        reasons = self.taken.ledger.reasons(MOST_REASONS)
        if self.kinds["already"]:
            moved = "in vicidial_list" if self.operation.name == "dearchive" else "archived"
            reasons[f"{moved} already, by another or by a batch whose answer was lost"] = self.kinds["already"]
        if beyond := self.kinds.get("beyond_at_most"):
            reasons[f"left for another run: at_most is {self.rule.at_most:,}"] = beyond
        return reasons

    def values(self) -> dict[str, Any]:
        return {
            "name": self.rule.name,
            "operation": self.rule.operation,
            "end": self.end,
            "found": self.taken.found,
            **self.kinds,
            "reasons": self.reasons,
            "error": str(self.taken.trouble) if self.taken.trouble else None,
        }


ENDS = {"at_most": "at_most reached", "stopped": "stopped, not all done"}
"""Texts of the table for which the word for scripts is too short."""


@dataclass
class Report:
    """The results of the rules that were begun, in their order."""

    dry_run: bool
    rules: list[Rule]
    results: list[Result] = field(default_factory=list)
    stopped: bool = False
    """Whether the user or the clock stopped the run."""
    trouble: RefusedError | UsageError | None = None
    """Why the run ended before all rules were begun, or None."""

    @property
    def errors(self) -> list[str]:
        """Return the errors, each with its rule."""
        told = [f"{result.rule.name}: {result.taken.trouble}" for result in self.results if result.taken.trouble]
        if self.trouble and not any(result.taken.trouble is self.trouble for result in self.results):
            told.append(str(self.trouble))
        return told

    @property
    def status(self) -> Status:
        troubles = [result.taken.trouble for result in self.results if result.taken.trouble]
        troubles += [self.trouble] if self.trouble else []
        if troubles:
            return Status.REFUSED if any(isinstance(trouble, RefusedError) for trouble in troubles) else Status.WRONG_USAGE
        carried_out = all(result.end in {"done", "at_most"} for result in self.results)
        return Status.DONE if carried_out and len(self.results) == len(self.rules) else Status.SOME_REMAIN

    def table(self) -> str:
        """Return the results for people: a line for each rule, and below it a line for each reason why leads stayed."""
        header = ["rule", "match", "would go", "would stay"] if self.dry_run else ["rule", "found", "moved", "stayed"]
        rows = [[*header, "failed", ""]]
        for result in self.results:
            numbers = [result.taken.found, result.kinds["moved"], result.stayed, result.kinds["failed"]]
            end = "" if self.dry_run and result.end == "done" else ENDS.get(result.end, result.end)
            rows.append([result.rule.name, *(f"{number:,}" for number in numbers), end])
        rows += [[rule.name, "", "", "", "", "not begun"] for rule in self.rules[len(self.results) :]]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = []
        for row, of in zip(rows, [None, *self.results, *[None] * len(self.rules)], strict=False):
            cells = [f"{row[0]:<{widths[0]}}", *(f"{row[column]:>{widths[column]}}" for column in range(1, 5)), row[5]]
            lines.append("  ".join(cells).rstrip())
            if of:
                digits = max((len(f"{number:,}") for number in of.reasons.values()), default=0)
                lines += [f"    {number:>{digits},}  {reason}" for reason, number in of.reasons.items()]
        return "\n".join(lines)

    def json(self, **more: Any) -> str:
        """Return the results for scripts: one JSON object."""
        not_begun = [rule.name for rule in self.rules[len(self.results) :]]
        results = [result.values() for result in self.results]
        return json.dumps(
            {
                "command": "run",
                "dry_run": self.dry_run,
                "status": int(self.status),
                "rules": results,
                "not_begun": not_begun,
                "error": "; ".join(self.errors) or None,
                **more,
            }
        )
