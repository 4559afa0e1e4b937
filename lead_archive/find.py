"""Run find: print the ids of the leads that meet conditions, one a line."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import click

from lead_archive.conditions import Where
from lead_archive.console import CLOSED, interruptible, say, say_errors, silence
from lead_archive.errors import RefusedError, Status, StoppedError, UsageError
from lead_archive.interrupts import Interrupts, stopping
from lead_archive.progress import INTERVAL
from lead_archive.server import FIND, Server
from lead_archive.settings import Settings, settings_from

INCOMPLETE = "the ids printed so far are not all"


def run_find(
    where: Where, *, archived: bool, at_most: int | None, quiet: bool, key_file: Path | None, **server: Any
) -> Status:
    """Print the ids, and return the exit status."""
    if sys.stdout is None:
        say(f"error: cannot write the ids: {CLOSED}")
        return Status.WRONG_USAGE
    found = _Found(quiet=quiet)
    try:
        settings = settings_from(key_file=key_file, **server)
        with interruptible():
            asyncio.run(_find(where, settings, found, archived=archived, at_most=at_most))
        sys.stdout.flush()
    except UsageError as error:
        say_errors(error)
        return Status.WRONG_USAGE
    except RefusedError as error:
        say(f"error: {error}; {INCOMPLETE}" if found.leads else f"error: {error}")
        return Status.REFUSED
    except (StoppedError, KeyboardInterrupt):
        say(f"stopped; {INCOMPLETE}")
        return Status.SOME_REMAIN
    except OSError as error:
        say(f"error: cannot write the ids: {error.strerror}; {INCOMPLETE}")
        silence(sys.stdout)
        return Status.WRONG_USAGE
    found.end()
    return Status.DONE


class _Found:
    """Counts the leads, and says on standard error how many there are."""

    def __init__(self, *, quiet: bool) -> None:
        self.leads = 0
        self._quiet = quiet
        self._silent = quiet or sys.stdout.isatty()  # the ids themselves are the progress
        self._said = time.monotonic()

    def print(self, lead_ids: list[int]) -> None:
        if lead_ids:
            click.echo("\n".join(map(str, lead_ids)))
            self.leads += len(lead_ids)
        if not self._silent and time.monotonic() - self._said >= INTERVAL:
            self._said = time.monotonic()
            say(f"find: {self.leads:,} leads")

    def end(self) -> None:
        if not self.leads:
            say("find: no lead meets the conditions")
        elif not self._quiet:
            say(f"find: {self.leads:,} {'lead' if self.leads == 1 else 'leads'}")


async def _find(where: Where, settings: Settings, found: _Found, *, archived: bool, at_most: int | None) -> None:
    interrupts = Interrupts(say, "")
    with stopping(interrupts.interrupt):
        async with Server(settings, interrupts.stop, lambda text: say(f"find: {text}"), resumable=False) as server:
            offer = await server.offer()
            if offer and not offer.has(FIND):
                raise RefusedError(f"{server.url} does not offer {FIND}")
            body: dict[str, Any] = {"where": where, **({"in": "archive"} if archived else {})}
            after: int | None = -1
            while after is not None and (at_most is None or found.leads < at_most):
                limit = offer.page_limit(FIND) if at_most is None else min(offer.page_limit(FIND), at_most - found.leads)
                page = await server.find({**body, "limit": limit, **({"after_lead_id": after} if after >= 0 else {})})
                found.print(page.lead_ids)
                after = page.after
