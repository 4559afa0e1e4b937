"""Run archive, dearchive or compare with conditions: find the leads, send them to the server, and print the summary."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from lead_archive.console import interruptible, print_result, say, say_errors
from lead_archive.errors import Status, UsageError
from lead_archive.files import OutputFiles, print_anything, shown
from lead_archive.found_progress import FoundProgress, found_progress_for
from lead_archive.interrupts import Interrupts, stopping
from lead_archive.report import Summary
from lead_archive.selection_run import AGAIN, Selection, Taken, take
from lead_archive.server import Server
from lead_archive.settings import Settings, settings_from


def run_selection(
    selection: Selection, *, left: Path | None, key_file: Path | None, quiet: bool, as_json: bool, **server: Any
) -> Status:
    """Process the leads that meet conditions, print the summary, and return the exit status."""
    started = time.monotonic()
    print_anything()
    operation = selection.operation
    left = left or Path(f"found.{operation.title.replace(' -', '')}.left.csv")
    progress = found_progress_for(operation.title, operation.did, terminal=sys.stderr.isatty(), quiet=quiet)
    try:
        settings = settings_from(key_file=key_file, **server)
        files = OutputFiles(None, None, left, key_file)
        files.check()
        with interruptible():
            taken = asyncio.run(_take(selection, settings, progress))
    except UsageError as error:
        say_errors(error)
        return Status.WRONG_USAGE
    except KeyboardInterrupt:
        say("stopped; nothing was sent")
        return Status.SOME_REMAIN
    finally:
        progress.stop()
    behind = False
    try:
        with contextlib.closing(taken.ledger.left_behind()) as leads:
            behind = files.write_left(leads)
    except UsageError as error:
        taken.trouble = taken.trouble or error
    stopped = taken.stopped and not taken.complete
    summary = Summary(operation, taken.found, taken.ledger.counts(), taken.trouble, stopped=stopped)
    lines = [summary.table()] if taken.found or not taken.complete else ["No lead meets the conditions."]
    if behind:
        lines.append(f"Those left behind, each with its reason: {shown(left)}")
    if as_json:
        complete = taken.complete and not summary.undone
        more = {"complete": complete, "where": operation.where, "left_file": shown(left) if behind else None}
        lines = [summary.json(seconds=round(time.monotonic() - started, 1), **more)]
    if summary.trouble:
        say("\n".join(f"error: {line}" for line in str(summary.trouble).splitlines()))
    if words := how_to_go_on(selection, summary, taken):
        say(words)
    return print_result("\n".join(lines), summary.status, "find shows which leads are left")


def how_to_go_on(selection: Selection, summary: Summary, taken: Taken) -> str:
    """Return what the user can do about the remaining leads; empty if none remain."""
    if taken.complete and not summary.undone:
        return ""
    if not (taken.trouble or taken.stopped or summary.undone):
        return "--at-most is reached; other leads may meet the conditions."
    if not selection.operation.moves:
        return "To begin again at the first lead, run the same command again."
    return f"To go on, run the same command again: what was {selection.operation.did} no longer meets the conditions."


async def _take(selection: Selection, settings: Settings, progress: FoundProgress) -> Taken:
    interrupts = Interrupts(progress.say, AGAIN)
    with stopping(interrupts.interrupt):
        async with Server(settings, interrupts.stop, progress.say, resumable=False) as server:
            return await take(selection, server, None, progress, interrupts)
