"""The answer of find: a page of lead ids, and where the next page begins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lead_archive import fields
from lead_archive.answers import Answer
from lead_archive.errors import MalformedError
from lead_archive.ids import LARGEST_LEAD_ID


@dataclass(frozen=True)
class Page:
    lead_ids: list[int]
    """In ascending order. There may be none, though others follow."""
    after: int | None
    """Where the next page begins; None if this is the last one."""

    @classmethod
    def read(cls, answer: Answer, body: dict[str, Any]) -> Page:
        """Read the answer to a request with this body. Raises MalformedError if they do not match."""
        value = answer.object()
        fields.text(value, "message")
        lead_ids, done, after = value.get("lead_ids"), value.get("done"), value.get("next_after_lead_id")
        asked_after: int = body.get("after_lead_id", -1)
        if not isinstance(lead_ids, list) or not all(map(fields.is_integer, lead_ids)):
            raise MalformedError("lead_ids is not an array of integers")
        if len(lead_ids) > body["limit"]:
            raise MalformedError(f"lead_ids has {len(lead_ids)} leads, and limit was {body['limit']}")
        if any(before >= lead_id for before, lead_id in pairwise([asked_after, *lead_ids])):
            raise MalformedError("lead_ids is not in ascending order, or begins too early")
        last = lead_ids[-1] if lead_ids else asked_after
        if last > LARGEST_LEAD_ID:
            raise MalformedError(f"{last} is no lead id")
        if not isinstance(done, bool):
            raise MalformedError("done is not a boolean")
        if done:
            return cls(lead_ids, None)
        if not isinstance(after, int) or isinstance(after, bool) or after < last or after <= asked_after:
            raise MalformedError("next_after_lead_id is not an integer, or leads back")
        return cls(lead_ids, after)
