"""Send batches to the server, several at a time, until none is left, the server refuses, or the user stops it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from lead_archive.answers import GENTLE
from lead_archive.errors import ConditionsRefusedError, FailedError, RefusedError, StoppedError, UsageError
from lead_archive.offer import Offer
from lead_archive.operations import Operation, Outcome, Processor
from lead_archive.progress import Progress
from lead_archive.server import COMPARE, FIND, Server

GENTLE_JOBS = 2
"""Requests at a time while the service is gentle: it processes one, and the next one is there when it has rested."""


class Source(Protocol):
    """Where batches come from."""

    async def next(self) -> tuple[int, list[int]] | None:
        """Return the next batch with its number, or None if there is none left. Raises RefusedError, StoppedError."""

    def settle(self, lead_ids: list[int], outcome: Outcome | None) -> None:
        """Record the result of a batch. outcome: None if it was not sent, or if the run ends with it."""


class Record(Protocol):
    """Where results are kept."""

    def still_to_do(self, number: int, lead_ids: list[int]) -> list[int]:
        """Return the leads of a batch that must be sent."""

    def record(self, number: int, lead_ids: list[int], counts: Counter[str], left: list[tuple[int, str, str]]) -> None:
        """Keep the result of a batch. Raises UsageError if that is not possible."""


@dataclass
class Sending:
    """All batches of a source."""

    processor: Processor
    source: Source
    record: Record
    progress: Progress
    jobs: int
    """Requests at a time."""
    stop: asyncio.Event
    _refused: bool = False
    _ending: bool = False
    """Whether a task has found no other batch, or has stopped."""
    _full_pace: asyncio.Event = field(default_factory=asyncio.Event)
    """Set unless the service is gentle."""

    def __post_init__(self) -> None:
        self._full_pace.set()

    async def send(self, tasks: list[asyncio.Task[None]]) -> None:
        """Send all batches. Return early if the user stops the run. tasks: a list that the tasks are added to.

        Raises RefusedError, after what is in flight has been finished, and UsageError if a result cannot be recorded.
        """
        mine = [asyncio.create_task(self._work(only_at_full_pace=number >= GENTLE_JOBS)) for number in range(self.jobs)]
        tasks.extend(mine)
        for error in await asyncio.gather(*mine, return_exceptions=True):
            if isinstance(error, Exception) and not isinstance(error, StoppedError):
                raise error

    async def _work(self, *, only_at_full_pace: bool) -> None:
        """Process one batch after the other, until none is left or the run is to stop."""
        try:
            while not self._ends():
                if only_at_full_pace:
                    await self._full_pace.wait()
                found = await self.source.next()
                if found is None:
                    break
                await self._take(*found)
        except (RefusedError, UsageError) as error:
            self._refused = True  # the other tasks finish what they have in flight
            if not isinstance(error, ConditionsRefusedError):
                self.stop.set()
            raise
        finally:
            self._ending = True
            self._full_pace.set()  # nobody waits any longer: the others end too

    def _ends(self) -> bool:
        return self._refused or self.stop.is_set()

    async def _take(self, number: int, batch: list[int]) -> None:
        outcome: Outcome | None = None
        try:
            lead_ids = self.record.still_to_do(number, batch)
            if not lead_ids or self._ends():
                return
            outcome = await self._process(lead_ids)
            self.record.record(number, lead_ids, outcome.counts, outcome.left)
            self._note_pace(outcome.pace)
            self.progress.advance(len(lead_ids), len(outcome.left))
        finally:
            self.source.settle(batch, outcome)

    def _note_pace(self, pace: str | None) -> None:
        """Send fewer requests at a time if the service is gentle: further ones would only wait there, and might time out."""
        if pace is None:
            return
        self.progress.pace(pace)
        if pace == GENTLE and not self._ending:
            self._full_pace.clear()
        else:
            self._full_pace.set()

    async def _process(self, lead_ids: list[int]) -> Outcome:
        try:
            return await self.processor.process(lead_ids)
        except FailedError as error:
            outcome = Outcome()
            for lead_id in lead_ids:
                outcome.leave("failed", lead_id, f"failed: {error}")
            return outcome


def prepare(operation: Operation, server: Server, offer: Offer, batch_size: int | None) -> tuple[Processor, int]:
    """Return the object that processes batches, and how many leads a batch may have. Raises RefusedError.

    offer: what the server offers; batch_size: the most that the user wants, None for the server's limit.
    """
    for path in (operation.path, *([FIND] if operation.where else [])):
        if offer and not offer.has(path):
            raise RefusedError(f"{server.url} does not offer {path}, which {operation.title} needs")
    limit = offer.limit(operation.path) or batch_size
    if limit is None:
        raise RefusedError(
            f"{server.url}/openapi.yaml does not say how many lead ids a request may have: say it with --batch-size"
        )
    limit = min(limit, batch_size or limit)
    return Processor(operation, server, limit, compares=offer.has(COMPARE)), limit
