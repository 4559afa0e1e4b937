"""A run with conditions: find the leads page by page, and send them in batches. It needs no journal."""

from __future__ import annotations

from dataclasses import dataclass

from lead_archive.errors import RefusedError, StoppedError, UsageError
from lead_archive.found import GONE, FoundBatches
from lead_archive.found_progress import FoundProgress
from lead_archive.interrupts import Interrupts
from lead_archive.ledger import Ledger
from lead_archive.offer import Offer
from lead_archive.operations import Operation
from lead_archive.sending import Sending, prepare
from lead_archive.server import FIND, Server

AGAIN = "run the same command again"
"""What the user does after batches without an answer. Leads that they moved no longer meet the conditions."""


@dataclass(frozen=True)
class Selection:
    """Process the leads that meet the conditions of an operation."""

    operation: Operation
    at_most: int | None = None
    """How many leads may be moved, or compared; None for all."""
    archived: bool = False
    """Whether to look for them in vicidial_list_archive."""
    jobs: int = 4
    batch_size: int | None = None


@dataclass
class Taken:
    """The result of a selection."""

    ledger: Ledger
    found: int = 0
    """Leads that were handed out, whether they were sent or not."""
    complete: bool = False
    """Whether no other leads meet the conditions."""
    stopped: bool = False
    """Whether the user stopped the run."""
    trouble: RefusedError | UsageError | None = None
    """Why the run ended early, or None."""


async def take(
    selection: Selection, server: Server, offer: Offer | None, progress: FoundProgress, interrupts: Interrupts
) -> Taken:
    """Send all leads of a selection to the server, and return the result. Return early if the user stops the run.

    offer: what the server offers, None if it is not known.
    """
    taken = Taken(Ledger())
    try:
        await _take(selection, server, offer or await server.offer(), progress, interrupts, taken)
    except StoppedError:
        taken.stopped = True
    except (RefusedError, UsageError) as error:
        taken.trouble = error
    else:
        taken.stopped = interrupts.stop.is_set()
    return taken


async def _take(  # noqa: PLR0917
    selection: Selection, server: Server, offer: Offer, progress: FoundProgress, interrupts: Interrupts, taken: Taken
) -> None:
    operation = selection.operation
    processor, limit = prepare(operation, server, offer, selection.batch_size)
    source = FoundBatches(
        server,
        operation.where,
        archived=selection.archived,
        page_limit=offer.page_limit(FIND),
        batch_size=limit,
        at_most=selection.at_most,
        counted=None if operation.name == "compare" else GONE,
        found=progress.found,
    )
    source.start()
    sending = Sending(processor, source, taken.ledger, progress, selection.jobs, interrupts.stop)
    try:
        await sending.send(interrupts.tasks)
    finally:
        taken.found, taken.complete = source.taken, source.complete
        interrupts.tasks.clear()
        await source.close()
