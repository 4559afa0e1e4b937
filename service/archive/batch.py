"""What a caller asks for, and what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.archive.caller import Caller

BeforeChange = Callable[[Sequence[int]], Awaitable[None]]

MayChange = Callable[[], Awaitable[None]]


async def always() -> None:
    """The MayChange of a batch that nothing forbids."""


@dataclass(frozen=True)
class Batch:
    """What a caller asks for. lead_ids holds at least one id, and each id once."""

    lead_ids: list[int]
    insert_leads: bool
    delete_leads: bool
    update_leads: bool = False
    list_ids: frozenset[int] | None = None
    """The lists whose leads the caller may see; None: all lists. Any other lead is unknown to the caller."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Conditions, by name. A lead whose row in the source does not match them all is left alone."""
    caller: Caller = field(default_factory=Caller)

    @property
    def is_limited(self) -> bool:
        """Whether there are leads that the caller may not see."""
        return self.list_ids is not None


@dataclass(frozen=True)
class Result:
    """What a batch did: numbers of leads, and the ids of those that stayed or left."""

    select_count: int
    insert_count: int
    update_count: int
    delete_count: int
    remaining_lead_ids: list[int]
    """The leads that were to be deleted and are still in the source."""
    reused_lead_ids: list[int]
    """The leads that stay because the target holds another lead with the same lead_id."""
    unmatched_lead_ids: list[int]
    """The leads of the source that did not match the conditions, and were left alone."""
    deleted_lead_ids: list[int]
    """The leads that the batch has deleted from the source."""
    gone_lead_ids: list[int]
    """The leads that another session has deleted, or given to a list that the caller may not see, meanwhile."""
    pace: str
    """gentle or full."""
