"""What the commands do with a batch: what is sent, what the answer means, and why a lead stayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lead_archive.errors import RefusedError
from lead_archive.server import FailedError, Server, StoppedError, UnknownLeadsError

COMPARE = "/vicidial/leads/compare"
UNKNOWN = "unknown: in neither table or in a list that the key may not see"


@dataclass
class Outcome:
    """What came of leads: how many of each kind, and each that was left behind with the reason."""

    counts: Counter[str] = field(default_factory=Counter)
    left: list[tuple[int, str]] = field(default_factory=list)

    def leave(self, kind: str, lead_id: int, reason: str) -> None:
        self.counts[kind] += 1
        self.left.append((lead_id, reason))


@dataclass(frozen=True)
class Operation:
    """A command with its flags."""

    name: str
    flags: dict[str, bool]
    dry_run: bool = False

    @property
    def path(self) -> str:
        return COMPARE if self.dry_run else f"/vicidial/leads/{self.name}"

    @property
    def title(self) -> str:
        return f"{self.name} --dry-run" if self.dry_run else self.name

    @property
    def source(self) -> str:
        return "vicidial_list_archive" if self.name == "dearchive" else "vicidial_list"

    @property
    def target(self) -> str:
        return "vicidial_list" if self.name == "dearchive" else "vicidial_list_archive"

    def foresee(self, lead: dict[str, Any]) -> tuple[str, str]:
        """What would come of a lead, by what compare says of it: the kind, and the reason if it would be left behind."""
        in_source, in_target = lead["in_list"], lead["in_archive"]
        if self.name == "dearchive":
            in_source, in_target = in_target, in_source
        if not in_source:
            return ("already", "") if in_target else ("unknown", UNKNOWN)
        if not self.flags["delete_leads"]:
            return "kept", ""
        if in_target and not lead["identical"] and not self.flags.get("update_leads"):
            return "remained", difference(lead)
        if not in_target and not self.flags["insert_leads"]:
            return "remained", f"not in {self.target}"
        if self.name == "archive" and lead["in_use"]:
            return "remained", "in use"
        return "moved", ""

    def why(self, lead: dict[str, Any]) -> str:
        """Why a lead stayed that was to be moved, by what compare says of it now."""
        kind, reason = self.foresee(lead)
        # Everything that this batch could do was done: what would go well now changed a moment ago.
        return reason if kind == "remained" else "changed while it was processed: try again"


class Processor:
    """Takes batches to a server."""

    def __init__(self, operation: Operation, server: Server, limit: int, *, compares: bool) -> None:
        """limit: lead ids in a request; compares: whether the server can say why a lead stayed."""
        self._operation = operation
        self._server = server
        self._limit = limit
        self._compares = compares

    async def process(self, lead_ids: list[int]) -> Outcome:
        """Raises FailedError, RefusedError, StoppedError. Whatever it raises, the same batch again is safe."""
        outcome = Outcome()
        step = self._compare if self._operation.path == COMPARE else self._move
        # A run that goes on may find a server whose limit is lower than its batches.
        for start in range(0, len(lead_ids), self._limit):
            await self._known(lead_ids[start : start + self._limit], outcome, step)
        return outcome

    async def _known(self, lead_ids: list[int], outcome: Outcome, step: Callable[[list[int], Outcome], Any]) -> None:
        """Take the step with the leads that exist; the others are left behind."""
        while lead_ids:
            try:
                await step(lead_ids, outcome)
            except UnknownLeadsError as error:
                for lead_id in sorted(error.lead_ids):
                    outcome.leave("unknown", lead_id, UNKNOWN)
                lead_ids = [lead_id for lead_id in lead_ids if lead_id not in error.lead_ids]
            else:
                return

    async def _move(self, lead_ids: list[int], outcome: Outcome) -> None:
        answer = await self._server.post(self._operation.path, {**self._operation.flags, "lead_ids": lead_ids})
        remaining = answer.get("remaining_lead_ids")
        numbers = {name: answer.get(f"{name}_count", 0) for name in ("select", "insert", "update", "delete")}
        if not isinstance(remaining, list) or not are_ids([*remaining, *numbers.values()]) or set(remaining) - set(lead_ids):
            raise RefusedError(f"the answer to {self._operation.path} is not this API's: {str(answer)[:200]}")
        outcome.counts.update(inserted=numbers["insert"], updated=numbers["update"])
        if self._operation.flags["delete_leads"]:
            outcome.counts["moved"] += numbers["delete"]
            outcome.counts["already"] += len(lead_ids) - numbers["delete"] - len(remaining)
        else:
            outcome.counts["kept"] += numbers["select"]
            outcome.counts["already"] += len(lead_ids) - numbers["select"]
        reasons = await self._reasons(remaining) if remaining and self._compares else {}
        for lead_id in remaining:
            outcome.leave("remained", lead_id, reasons.get(lead_id, "in use, or the data differs, or it changed meanwhile"))

    async def _reasons(self, lead_ids: list[int]) -> dict[int, str]:
        """Why leads stayed. What has been done counts, so trouble here is none."""
        try:
            answer = await self._server.post(COMPARE, {"lead_ids": lead_ids})
            return {lead["lead_id"]: self._operation.why(lead) for lead in compared(answer, lead_ids)}
        except (FailedError, RefusedError, StoppedError, UnknownLeadsError):
            return {}

    async def _compare(self, lead_ids: list[int], outcome: Outcome) -> None:
        answer = await self._server.post(COMPARE, {"lead_ids": lead_ids})
        for lead in compared(answer, lead_ids):
            if self._operation.name == "compare":
                kind, reason = state(lead)
                outcome.counts["in_use"] += bool(lead["in_use"])
            else:
                kind, reason = self._operation.foresee(lead)
            if reason:
                outcome.leave(kind, lead["lead_id"], reason)
            else:
                outcome.counts[kind] += 1


def compared(answer: dict[str, Any], lead_ids: list[int]) -> list[dict[str, Any]]:
    """The leads in an answer of compare. Raises RefusedError if it is none."""
    leads = answer.get("leads")
    fields = {"lead_id", "in_list", "in_archive", "identical", "different_columns", "in_use"}
    if (
        not isinstance(leads, list)
        or not all(isinstance(lead, dict) and fields <= lead.keys() for lead in leads)
        or {lead["lead_id"] for lead in leads} != set(lead_ids)
    ):
        raise RefusedError(f"the answer to {COMPARE} is not this API's: {str(answer)[:200]}")
    return leads


def state(lead: dict[str, Any]) -> tuple[str, str]:
    """What compare says of a lead: the kind, and the reason if the archive does not hold what vicidial_list does."""
    match lead["in_list"], lead["in_archive"]:
        case True, True:
            return ("identical", "") if lead["identical"] else ("different", difference(lead))
        case True, _:
            return "list_only", "not in vicidial_list_archive"
        case _, True:
            return "archive_only", ""
        case _:
            return "unknown", UNKNOWN


def difference(lead: dict[str, Any]) -> str:
    return f"the tables differ in {', '.join(lead['different_columns']) or 'the data'}"


def are_ids(values: list[Any]) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)
