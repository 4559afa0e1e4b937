"""Leads that meet conditions, as a source of batches: page by page. The next page is requested while batches are sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from lead_archive.conditions import Where
from lead_archive.operations import Outcome
from lead_archive.pages import Page
from lead_archive.server import Server

GONE = ("moved", "already", "kept", "failed")
"""The kinds of leads that count for at_most: the rule moved them. A batch that failed may have been processed; leads that were
archived before may be those of a batch whose answer was lost."""


class FoundBatches:
    """The leads of vicidial_list, or of its archive, that meet conditions.

    at_most: how many leads may be moved. Leads that stay do not count: others take their places.
    """

    def __init__(
        self,
        server: Server,
        where: Where,
        *,
        archived: bool,
        page_limit: int,
        batch_size: int,
        at_most: int | None = None,
        counted: tuple[str, ...] | None = GONE,
        found: Callable[[int], None] = lambda leads: None,  # noqa: ARG005
    ) -> None:
        """archived: whether to look into the archive; counted: the kinds that count for at_most, None for all leads.

        found: called with the number of leads of each page that is used.
        """
        self.taken = 0
        """How many leads were handed out."""
        self.complete = False
        """Whether all leads that meet the conditions were handed out."""
        self._server = server
        self._body: dict[str, Any] = {"where": where, "limit": page_limit, **({"in": "archive"} if archived else {})}
        self._batch_size = batch_size
        self._at_most = at_most
        self._counted = counted
        self._found = found
        self._leads: list[int] = []
        self._number = 0
        self._gone = 0  # leads that count for at_most
        self._in_flight = 0  # leads that may count for it soon
        self._turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._page: asyncio.Task[Page] | None = None

    def start(self) -> None:
        """Ask for the first page."""
        self._page = asyncio.create_task(self._server.find(self._body))

    async def close(self) -> None:
        """Cancel the request for the next page."""
        if self._page:
            self._page.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._page

    async def next(self) -> tuple[int, list[int]] | None:
        """Return the next batch, not larger than what at_most leaves. Raises RefusedError, StoppedError."""
        async with self._turn:
            size = await self._room()
            while size and not self._leads and self._page:
                await self._turn_page()
            if not self._leads or not size:
                self.complete = not self._leads and not self._page
                return None
            batch, self._leads = self._leads[:size], self._leads[size:]
            self._number += 1
            self.taken += len(batch)
            self._in_flight += len(batch)
            self.complete = not self._leads and not self._page
            return self._number, batch

    def settle(self, lead_ids: list[int], outcome: Outcome | None) -> None:
        """Record the result of a batch."""
        self._in_flight -= len(lead_ids)
        if outcome:
            self._gone += sum(outcome.counts[kind] for kind in self._counted) if self._counted else len(lead_ids)
        self._settled.set()

    async def _turn_page(self) -> None:
        assert self._page
        page = await self._page
        self._leads = page.lead_ids
        self._found(len(page.lead_ids))
        self._page = None
        if page.after is not None:
            self._body = {**self._body, "after_lead_id": page.after}
            self.start()

    async def _room(self) -> int:
        """Return how many leads the next batch may have. Wait if that depends on batches in flight."""
        if self._at_most is None:
            return self._batch_size
        while (room := self._at_most - self._gone - self._in_flight) <= 0 and self._in_flight:
            self._settled.clear()
            await self._settled.wait()
        return max(min(room, self._batch_size), 0)
