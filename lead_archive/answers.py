"""Read the answers of the service. Check each type, id and sum, so that other servers are detected.

Unknown fields are ignored, as the contract demands. Fields of later releases may be missing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lead_archive import fields
from lead_archive.errors import MalformedError, visible

PACE = "x-lead-archive-pace"
GENTLE = "gentle"
"""The pace at which the service processes one batch at a time and rests in between, as while agents are logged in."""

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes: a hundred times the size of a comparison of 1,000 leads that differ in every column."""

_CONDITION = re.compile(r"the condition \w+ cannot be used until an administrator")
"""Other refusals that name an administrator can end by themselves, such as that of a read-only server."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it arrived. Header names are in lower case."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    content: bytes

    def object(self) -> dict[str, Any]:
        """Return the JSON object. Raises MalformedError if there is none."""
        try:
            value = json.loads(self.content.decode("utf-8"), object_pairs_hook=fields.once, parse_constant=fields.no_number)
        except UnicodeDecodeError:
            raise MalformedError("it is not UTF-8") from None
        except RecursionError:
            raise MalformedError("it is nested too deep") from None
        except ValueError as error:
            raise MalformedError(f"it is not JSON: {visible(str(error), 100)}") from None
        if not isinstance(value, dict):
            raise MalformedError("it is not a JSON object")
        return value

    def message(self) -> str | None:
        """Return the API's message, or None if this is not one of its answers."""
        try:
            message = self.object().get("message")
        except MalformedError:
            return None
        return message if isinstance(message, str) and message else None

    def said(self) -> str:
        """Return the status, the message and the request id of the answer as one line for the operator."""
        message = self.message() or f"{self.phrase or 'no reason given'}, and nothing that this API says"
        text = f"{self.status} {visible(message)}"
        if self.status == 403 and (seconds := self.retry_after()):
            text += f"; it ends at {time.strftime('%a %H:%M', time.localtime(time.time() + seconds))}"
        if location := self.headers.get("location"):
            text += f"; it points to {visible(location)}"
        if request_id := self.headers.get("x-request-id"):
            text += f" (X-Request-ID {visible(request_id, 128)})"
        return text

    def refuses_condition(self) -> bool:
        """Return whether this is a 503 that names a condition which the database cannot check: repeating it does not help."""
        return self.status == 503 and bool(_CONDITION.match(self.message() or ""))

    def pace(self) -> str | None:
        """Return how fast the service worked: gentle or full; None if it does not say."""
        pace = self.headers.get(PACE)
        return pace if pace in {GENTLE, "full"} else None

    def retry_after(self) -> float | None:
        """Return the seconds in Retry-After, or None if the answer has none."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass(frozen=True)
class Moved:
    """The 200 answer of archive or dearchive."""

    select: int
    insert: int
    update: int
    delete: int
    remaining: list[int]
    """Leads that were to be deleted, and were not."""
    reused: list[int]
    """Leads that were not moved, since the two tables hold two different leads with this id."""
    unmatched: list[int]
    """Leads that were not moved, since they do not meet a condition."""
    pace: str | None
    """As Answer.pace()."""

    @property
    def left(self) -> list[int]:
        """Return all leads that were left behind, in ascending order."""
        return sorted({*self.remaining, *self.reused, *self.unmatched})

    @classmethod
    def read(cls, answer: Answer, body: dict[str, Any]) -> Moved:
        """Read the answer to a request with this body. Raises MalformedError if they do not match."""
        value = answer.object()
        asked = set(body["lead_ids"])
        fields.text(value, "message")
        counts = {
            step: fields.count(value, f"{step}_count", len(asked))
            for step in ("select", "insert", "update", "delete")
            if step != "update" or "update_leads" in body
        }
        moved = cls(
            **{"update": 0, **counts},
            remaining=fields.ids(value, "remaining_lead_ids", asked),
            reused=fields.ids(value, "reused_lead_ids", asked) if "reused_lead_ids" in value else [],
            unmatched=fields.ids(value, "unmatched_lead_ids", asked) if "unmatched_lead_ids" in value else [],
            pace=answer.pace(),
        )
        for step in ("insert", "update", "delete"):
            if counts.get(step) and not body[f"{step}_leads"]:
                raise MalformedError(f"{step}_count is {counts[step]}, and {step}_leads was false")
        if moved.remaining and not body["delete_leads"]:
            raise MalformedError("remaining_lead_ids names leads, and delete_leads was false")
        if moved.insert + moved.update > moved.select or moved.delete > moved.select:
            raise MalformedError(f"its counts do not add up: {value['select_count']} leads were selected and more were moved")
        found = len(asked) if body["delete_leads"] else moved.select
        if moved.delete + len(moved.left) > found:
            raise MalformedError(f"its counts do not add up: of {found} leads {moved.delete} and {len(moved.left)} are more")
        return moved


@dataclass(frozen=True)
class Lead:
    """One lead in the answer of compare."""

    lead_id: int
    in_list: bool
    in_archive: bool
    identical: bool
    different_columns: list[str]
    in_use: bool
    used_by: list[str]
    """The columns that name it, such as vicidial_hopper.lead_id; empty for a service that does not say."""
    reused: bool
    """Whether the two tables hold two different leads with this id."""


def compared(answer: Answer, lead_ids: list[int]) -> list[Lead]:
    """Return the leads, one for each id that was asked for. Raises MalformedError."""
    value = answer.object()
    fields.text(value, "message")
    items = value.get("leads")
    if not isinstance(items, list):
        raise MalformedError("leads is not an array")
    leads = [_lead(item) for item in items]
    if len(leads) != len(lead_ids) or {lead.lead_id for lead in leads} != set(lead_ids):
        raise MalformedError("leads are not those that were asked for")
    return leads


def unknown(answer: Answer, lead_ids: list[int]) -> set[int]:
    """Return the ids that a 404 names; empty if it is about the path. Raises MalformedError."""
    if answer.message() is None or "lead_ids" not in (value := answer.object()):
        return set()
    named = fields.ids(value, "lead_ids", set(lead_ids))
    if not named or fields.count(value, "lead_errors", len(lead_ids)) != len(named):
        raise MalformedError("lead_errors does not say how many lead_ids it names")
    return set(named)


def _lead(item: Any) -> Lead:
    if not isinstance(item, dict):
        raise MalformedError("leads holds something that is not an object")
    lead_id = item.get("lead_id")
    if not isinstance(lead_id, int) or isinstance(lead_id, bool):
        raise MalformedError("a lead_id is not an integer")
    flags: dict[str, bool] = {}
    for name in ("in_list", "in_archive", "identical", "in_use", "reused"):
        flag = item.get(name, False if name == "reused" else None)
        if not isinstance(flag, bool):
            raise MalformedError(f"{name} of lead {lead_id} is not a boolean")
        flags[name] = flag
    different, used_by = fields.names(item, "different_columns"), fields.names({"used_by": [], **item}, "used_by")
    in_both = flags["in_list"] and flags["in_archive"]
    if (flags["identical"] or different or flags["reused"]) and not in_both:
        raise MalformedError(f"lead {lead_id} is compared, and is not in both tables")
    if flags["identical"] and (different or flags["reused"]):
        raise MalformedError(f"lead {lead_id} is identical, and is not")
    if used_by and not flags["in_use"]:
        raise MalformedError(f"used_by of lead {lead_id} names columns, and in_use is false")
    return Lead(
        lead_id=lead_id,
        in_list=flags["in_list"],
        in_archive=flags["in_archive"],
        identical=flags["identical"],
        different_columns=different,
        in_use=flags["in_use"],
        used_by=used_by,
        reused=flags["reused"],
    )
