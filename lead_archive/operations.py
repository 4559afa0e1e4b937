"""What each command sends for a batch, how it reads the answer, and for which reason a lead is left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lead_archive.answers import Lead
from lead_archive.conditions import Where
from lead_archive.errors import FailedError, RefusedError, StoppedError, UnknownLeadsError
from lead_archive.server import COMPARE, Server

UNKNOWN = "unknown: in neither table or in a list that the key may not see"
REUSED = (
    "id given out again: another lead has this id in {other} (phone_number and entry_date differ); both are left alone until "
    "an administrator gives one of them another id"
)
UNMATCHED = "no longer meets the conditions: it was left as it is"
LONGEST_FOR_REASONS = 30.0
"""Seconds to retry the request for the reasons why leads stayed. It changes nothing for the leads."""
UNEXPLAINED = "in use, or the data differs, or it changed meanwhile"


@dataclass
class Outcome:
    """The result of a batch: the number of leads of each kind, and each lead left behind with its kind and reason."""

    counts: Counter[str] = field(default_factory=Counter)
    left: list[tuple[int, str, str]] = field(default_factory=list)
    pace: str | None = None
    """The pace of the service; None if it is not known."""

    def leave(self, kind: str, lead_id: int, reason: str) -> None:
        self.counts[kind] += 1
        self.left.append((lead_id, kind, reason))


@dataclass(frozen=True)
class Operation:
    """A command with its flags."""

    name: str
    flags: dict[str, bool]
    dry_run: bool = False
    where: Where = field(default_factory=dict)
    """The conditions that choose its leads; empty if a file does."""

    @property
    def path(self) -> str:
        return COMPARE if self.dry_run else f"/vicidial/leads/{self.name}"

    @property
    def request(self) -> dict[str, Any]:
        """Return the fields of a request to archive or dearchive, but for the lead ids."""
        return {**self.flags, "where": self.where} if self.where else self.flags

    @property
    def title(self) -> str:
        return f"{self.name} --dry-run" if self.dry_run else self.name

    @property
    def did(self) -> str:
        """Return what becomes of a lead, as a participle."""
        if self.name == "compare":
            return "compared"
        return f"would be {self.name}d" if self.dry_run else f"{self.name}d"

    @property
    def moves(self) -> bool:
        """Return whether a lead that is processed is then in the other table only."""
        return self.name != "compare" and not self.dry_run and self.flags["delete_leads"]

    @property
    def source(self) -> str:
        return "vicidial_list_archive" if self.name == "dearchive" else "vicidial_list"

    @property
    def target(self) -> str:
        return "vicidial_list" if self.name == "dearchive" else "vicidial_list_archive"

    @property
    def reused(self) -> str:
        """Return why a lead whose id was given out again is not moved."""
        return REUSED.format(other=self.target)

    def foresee(self, lead: Lead) -> tuple[str, str]:
        """Predict the result for a lead from its comparison: the kind, and the reason if it would be left behind."""
        in_source, in_target = lead.in_list, lead.in_archive
        if self.name == "dearchive":
            in_source, in_target = in_target, in_source
        if not in_source:
            return ("already", "") if in_target else ("unknown", UNKNOWN)
        if lead.reused:
            return "reused", self.reused
        if not self.flags["delete_leads"]:
            return "kept", ""
        if reason := self._hindrance(lead, in_target=in_target):
            return "remained", reason
        return "moved", ""

    def _hindrance(self, lead: Lead, *, in_target: bool) -> str:
        """Return what would prevent the deletion of a lead; empty if nothing would."""
        if self.name == "archive" and lead.in_use:
            return in_use(lead)
        if in_target and not lead.identical and not self.flags.get("update_leads"):
            return difference(lead)
        return "" if in_target or self.flags["insert_leads"] else f"not in {self.target}"

    def why(self, lead: Lead) -> str:
        """Return why a lead that was to be moved stayed, by its comparison now."""
        kind, reason = self.foresee(lead)
        # The batch did everything that it could. A lead that could be moved now has changed since.
        return reason if kind in {"remained", "reused"} else "changed while it was processed: try again"

    def state(self, lead: Lead) -> tuple[str, str]:
        """Return the kind of a compared lead, and the reason if the archive does not hold the data of vicidial_list."""
        if lead.reused:
            return "reused", self.reused
        match lead.in_list, lead.in_archive:
            case True, True:
                return ("identical", "") if lead.identical else ("different", difference(lead))
            case True, _:
                return "list_only", "not in vicidial_list_archive"
            case _, True:
                return "archive_only", ""
            case _:
                return "unknown", UNKNOWN


class Processor:
    """Sends batches to a server."""

    def __init__(self, operation: Operation, server: Server, limit: int, *, compares: bool) -> None:
        """limit: lead ids in a request; compares: whether the server can say why a lead stayed."""
        self._operation = operation
        self._server = server
        self._limit = limit
        self._compares = compares
        self._said_why_not = False

    async def process(self, lead_ids: list[int]) -> Outcome:
        """Process a batch. Raises FailedError, RefusedError, StoppedError; it is always safe to repeat the batch."""
        outcome = Outcome()
        step = self._compare if self._operation.path == COMPARE else self._move
        # A run that goes on may find a server whose limit is lower than its batches.
        for start in range(0, len(lead_ids), self._limit):
            await self._known(lead_ids[start : start + self._limit], outcome, step)
        return outcome

    async def _known(self, lead_ids: list[int], outcome: Outcome, step: Callable[[list[int], Outcome], Any]) -> None:
        """Process the leads that exist; the others are left behind as unknown."""
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
        moved = await self._server.move(self._operation.path, {**self._operation.request, "lead_ids": lead_ids})
        outcome.counts.update(inserted=moved.insert, updated=moved.update)
        outcome.pace = moved.pace
        left = moved.left
        if self._operation.flags["delete_leads"]:
            outcome.counts["moved"] += moved.delete
            outcome.counts["already"] += len(lead_ids) - moved.delete - len(left)
        else:
            outcome.counts["kept"] += moved.select - len(left)
            outcome.counts["already"] += len(lead_ids) - moved.select
        told = dict.fromkeys(moved.unmatched, ("unmatched", UNMATCHED))
        told |= dict.fromkeys(moved.reused, ("reused", self._operation.reused))
        reasons = await self._reasons([lead_id for lead_id in left if lead_id not in told])
        for lead_id in left:
            kind, reason = told.get(lead_id) or ("remained", reasons.get(lead_id, UNEXPLAINED))
            outcome.leave(kind, lead_id, reason)

    async def _reasons(self, lead_ids: list[int]) -> dict[int, str]:
        """Ask why leads stayed. The batch is done, so an error here does not count."""
        if not lead_ids or not self._compares:
            return {}
        try:
            leads = await self._server.compare(lead_ids, LONGEST_FOR_REASONS)
        except StoppedError:
            return {}
        except (FailedError, RefusedError) as error:
            if not self._said_why_not:
                self._said_why_not = True
                self._server.say(f"cannot find out why leads stayed: {error}")
            return {}
        return {lead.lead_id: self._operation.why(lead) for lead in leads}

    async def _compare(self, lead_ids: list[int], outcome: Outcome) -> None:
        for lead in await self._server.compare(lead_ids):
            if self._operation.name == "compare":
                kind, reason = self._operation.state(lead)
                outcome.counts["in_use"] += lead.in_use
            else:
                kind, reason = self._operation.foresee(lead)
            if reason:
                outcome.leave(kind, lead.lead_id, reason)
            else:
                outcome.counts[kind] += 1


def in_use(lead: Lead) -> str:
    return "in use" + (f": {', '.join(lead.used_by)}" if lead.used_by else "")


def difference(lead: Lead) -> str:
    return f"the tables differ in {', '.join(lead.different_columns) or 'the data'}"
