"""A run with a file: all batches of its ids, with a journal."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from lead_archive.errors import StoppedError
from lead_archive.interrupts import Interrupts, stopping
from lead_archive.journal import Journal
from lead_archive.operations import Operation, Outcome
from lead_archive.progress import Progress
from lead_archive.sending import Sending, prepare
from lead_archive.server import Server
from lead_archive.settings import Settings
from lead_archive.spool import Spool


class FileBatches:
    """The ids of a file as a source of batches."""

    def __init__(self, spool: Spool, size: int) -> None:
        self._batches = enumerate(spool.batches(size))

    async def next(self) -> tuple[int, list[int]] | None:
        return next(self._batches, None)

    def settle(self, lead_ids: list[int], outcome: Outcome | None) -> None:
        pass


@dataclass(frozen=True)
class FileRun:
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
        interrupts = Interrupts(self.progress.say, "--resume sends them again")
        with stopping(interrupts.interrupt), contextlib.suppress(StoppedError):
            async with Server(self.settings, interrupts.stop, self.progress.say) as server:
                processor, limit = prepare(self.operation, server, await server.offer(), self.batch_size)
                source = FileBatches(self.spool, self.journal.batch_size(limit))
                self.progress.start(self.spool.count, self.journal.done())
                sending = Sending(processor, source, self.journal, self.progress, self.jobs, interrupts.stop)
                await sending.send(interrupts.tasks)
