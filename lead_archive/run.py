"""A run: all batches of a file, several at a time, until they are done, the server refuses, or the user stops it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from lead_archive.errors import FailedError, RefusedError, StoppedError, UsageError
from lead_archive.journal import Journal
from lead_archive.operations import Operation, Outcome, Processor
from lead_archive.progress import Progress
from lead_archive.server import COMPARE, Server
from lead_archive.settings import Settings
from lead_archive.spool import Spool


@dataclass(frozen=True)
class Run:
    """The parameters of a run. batch_size: the most lead ids in a request; None means the server's limit."""

    operation: Operation
    spool: Spool
    journal: Journal
    settings: Settings
    progress: Progress
    jobs: int
    batch_size: int | None

    async def take(self) -> None:
        """Take all batches to the server. Returns early if the user stops it.

        Raises RefusedError, after what is in flight has been finished, and UsageError if the journal cannot be written.
        """
        stop = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []
        with stopping(lambda: self._interrupt(stop, tasks)), contextlib.suppress(StoppedError):
            async with Server(self.settings, stop, self.progress.say) as server:
                processor, size = await self._prepare(server)
                self.progress.start(self.spool.count, self.journal.done())
                batches = enumerate(self.spool.batches(size))
                tasks.extend(asyncio.create_task(self._work(processor, batches, stop)) for _ in range(self.jobs))
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                for error in ends:
                    if isinstance(error, Exception) and not isinstance(error, StoppedError):
                        raise error

    async def _prepare(self, server: Server) -> tuple[Processor, int]:
        """Return the processor and the batch size."""
        offer = await server.offer()
        path = self.operation.path
        if offer and not offer.has(path):
            raise RefusedError(f"{self.settings.url} does not offer {path}, which {self.operation.title} needs")
        limit = offer.limit(path) or self.batch_size
        if limit is None:
            raise RefusedError(
                f"{self.settings.url}/openapi.yaml does not say how many lead ids a request may have: say it with --batch-size"
            )
        limit = min(limit, self.batch_size or limit)
        return Processor(self.operation, server, limit, compares=offer.has(COMPARE)), self.journal.batch_size(limit)

    async def _work(self, processor: Processor, batches: Iterator[tuple[int, list[int]]], stop: asyncio.Event) -> None:
        """Process one batch after the other, until none is left or the run is to stop."""
        for number, batch in batches:
            try:
                lead_ids = self.journal.still_to_do(number, batch)
                if not lead_ids:
                    continue
                if stop.is_set():
                    return
                outcome = await self._process(processor, lead_ids)
                self.journal.record(number, lead_ids, outcome.counts, outcome.left)
            except (RefusedError, UsageError):
                stop.set()  # the other tasks finish what they have in flight
                raise
            self.progress.advance(len(lead_ids))

    async def _process(self, processor: Processor, lead_ids: list[int]) -> Outcome:
        try:
            return await processor.process(lead_ids)
        except FailedError as error:
            outcome = Outcome()
            for lead_id in lead_ids:
                outcome.leave("failed", lead_id, f"failed: {error}")
            return outcome

    def _interrupt(self, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        if stop.is_set():
            self.progress.say(
                "stopping at once; what was sent and not answered may have been processed, and --resume learns it"
            )
            for task in tasks:
                task.cancel()
        else:
            self.progress.say("finishing what is in flight; once more, and it stops at once" if tasks else "stopping")
            stop.set()


@contextlib.contextmanager
def stopping(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call interrupt at every SIGINT and SIGTERM while the block runs."""
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        loop.call_soon_threadsafe(interrupt)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
