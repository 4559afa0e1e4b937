"""Run one command: read the file, send the leads to the server in batches, and print the summary."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from lead_archive.console import interruptible, print_result, say, say_errors
from lead_archive.errors import JournalLostError, RefusedError, Status, UsageError
from lead_archive.file_run import FileRun
from lead_archive.files import OutputFiles, print_anything, shown
from lead_archive.ids import read_ids
from lead_archive.journal import Journal
from lead_archive.operations import Operation
from lead_archive.progress import Progress, progress_for
from lead_archive.report import Summary
from lead_archive.settings import STDIN, opened, settings_from
from lead_archive.spool import Spool


def run_command(operation: Operation, file: str, *, quiet: bool, as_json: bool, **options: Any) -> Status:
    """Process a file, print the summary, and return the exit status."""
    started = time.monotonic()
    print_anything()
    progress = progress_for(operation.title, terminal=sys.stderr.isatty(), quiet=quiet)
    try:
        with interruptible():
            summary, more = process(operation, file, progress, **options)
            left, journal, repeated = more
    except UsageError as error:
        say_errors(error)
        return Status.WRONG_USAGE
    except KeyboardInterrupt:
        progress.stop()
        say("stopped; if batches were sent, the same command with --resume continues, which is safe")
        return Status.SOME_REMAIN

    lines = [summary.table()]
    if left:
        lines.append(f"Those left behind, each with its reason: {shown(left)}")
    if as_json:
        paths = {"left_file": str(left) if left else None, "journal": str(journal)}
        lines = [summary.json(repeated=repeated, seconds=round(time.monotonic() - started, 1), **paths)]
    if summary.trouble:
        say(f"error: {summary.trouble}")
    if 0 < summary.undone < summary.asked and not isinstance(summary.trouble, JournalLostError):
        say("Go on with the same command and --resume.")
    return print_result("\n".join(lines), summary.status, "all results are in the journal, --resume prints them again")


def process(
    operation: Operation,
    file: str,
    progress: Progress,
    *,
    column: str | None,
    journal: Path | None,
    left: Path | None,
    resume: bool,
    start_over: bool,
    jobs: int,
    batch_size: int | None,
    key_file: Path | None,
    **server: Any,
) -> tuple[Summary, tuple[Path | None, Path, int]]:
    """Return the summary, the file of leads left behind if there are any, the journal, and how many ids were repeated.

    Raises UsageError if nothing was done.
    """
    settings = settings_from(key_file=key_file, **server)
    if resume and start_over:
        raise UsageError("--resume and --start-over are opposites: give one of them")
    base = f"{'stdin' if file == STDIN else file}.{operation.title.replace(' -', '')}"
    journal_path, left_path = journal or Path(f"{base}.journal"), left or Path(f"{base}.left.csv")
    files = OutputFiles(None if file == STDIN else Path(file), journal_path, left_path, key_file)
    with Spool() as spool:
        with opened(file) as stream:
            files.check()
            read_ids(stream, "standard input" if file == STDIN else shown(file), column, spool)
        repeated = spool.given - spool.count
        if repeated:
            progress.say(f"{repeated:,} {'id was' if repeated == 1 else 'ids were'} given before, and will be sent once")
        identity = {**operation.flags, "url": settings.url, "digest": spool.digest, "leads": spool.count}
        identity["command"] = operation.title
        with contextlib.closing(Journal(journal_path, identity, settings.key, resume=resume, start_over=start_over)) as kept:
            if kept.other_key:
                progress.say("the key differs from that of the earlier run; unknown leads are sent again")
            files.check()
            run = FileRun(operation, spool, kept, settings, progress, jobs, batch_size)
            trouble: RefusedError | UsageError | None = None
            try:
                asyncio.run(run.take())
            except (RefusedError, UsageError) as error:
                trouble = error
            finally:
                progress.stop()
            counts = kept.counts()
            behind = False
            try:
                with contextlib.closing(kept.left_behind()) as leads:
                    behind = files.write_left(leads)
            except UsageError as error:
                trouble = trouble or error
            summary = Summary(operation, spool.count, counts, trouble)
    return summary, (left_path if behind else None, journal_path, repeated)
