"""Run a rules file: one rule after the other, until all are carried out, the server refuses, or the time is over."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lead_archive.conditions import trap
from lead_archive.console import interruptible, print_result, say, say_errors
from lead_archive.errors import ConditionsRefusedError, RefusedError, Status, StoppedError, UsageError
from lead_archive.files import print_anything
from lead_archive.found_progress import found_progress_for
from lead_archive.interrupts import Interrupts, stopping
from lead_archive.offer import Offer
from lead_archive.operations import Operation
from lead_archive.rules import Rule, read_rules
from lead_archive.rules_report import Report, Result
from lead_archive.selection_run import AGAIN, Selection, take
from lead_archive.server import Server
from lead_archive.settings import Settings, settings_from
from lead_archive.until import next_time, wait_until

FLAGS = {
    "archive": {"insert_leads": True, "update_leads": True, "delete_leads": True},
    "dearchive": {"insert_leads": True, "delete_leads": True},
}


def run_rules(
    *,
    file: str,
    dry_run: bool,
    until: str | None,
    jobs: int,
    batch_size: int | None,
    as_json: bool,
    quiet: bool,
    key_file: Path | None,
    **server: Any,
) -> Status:
    """Carry out the rules, print a table of their results, and return the exit status."""
    started = time.monotonic()
    print_anything()
    try:
        rules = read_rules(Path(file))
        settings = settings_from(key_file=key_file, **server)
        end = next_time(until, datetime.now()) if until else None
        report = Report(dry_run=dry_run, rules=rules)
        runner = _Runner(settings, report, dry_run=dry_run, quiet=quiet, jobs=jobs, batch_size=batch_size)
        with interruptible():
            asyncio.run(runner.run(end))
    except UsageError as error:
        say_errors(error)
        return Status.WRONG_USAGE
    except KeyboardInterrupt:
        say("stopped; nothing was sent")
        return Status.SOME_REMAIN
    text = report.json(seconds=round(time.monotonic() - started, 1)) if as_json else report.table()
    for words in report.errors:
        say(f"error: {words}")
    return print_result(text, report.status, "run the same command again to continue")


class _Runner:
    def __init__(
        self, settings: Settings, report: Report, *, dry_run: bool, quiet: bool, jobs: int, batch_size: int | None
    ) -> None:
        self._settings = settings
        self._report = report
        self._dry_run = dry_run
        self._quiet = quiet
        self._jobs = jobs
        self._batch_size = batch_size

    async def run(self, end: datetime | None) -> None:
        """Carry out the rules until the end, if there is one. Raises UsageError if certificates are set up wrong."""
        interrupts = Interrupts(lambda text: say(f"run: {text}"), AGAIN)
        clock: asyncio.Task[None] | None = None
        if end:
            words = f"it is {end:%H:%M}: finishing what is in flight"
            clock = asyncio.create_task(wait_until(end, lambda: interrupts.end(words)))
        try:
            with stopping(interrupts.interrupt):
                async with Server(self._settings, interrupts.stop, interrupts.say, resumable=False) as server:
                    await self._carry_out(server, interrupts)
        finally:
            if clock:
                clock.cancel()

    async def _carry_out(self, server: Server, interrupts: Interrupts) -> None:
        try:
            offer = await server.offer()
        except RefusedError as error:
            self._report.trouble = error
            return
        except StoppedError:
            self._report.stopped = True
            return
        for rule in self._report.rules:
            if interrupts.stop.is_set():
                self._report.stopped = True
                return
            result = await self._one(rule, server, offer, interrupts)
            self._report.results.append(result)
            if result.taken.trouble and not isinstance(result.taken.trouble, ConditionsRefusedError):
                self._report.trouble = result.taken.trouble
                return
        self._report.stopped = interrupts.stop.is_set()

    async def _one(self, rule: Rule, server: Server, offer: Offer, interrupts: Interrupts) -> Result:
        if rule.operation == "archive" and (words := trap(rule.where)):
            note = words.format(entered="entered_at_least_days_ago", count="called_count_at_least = 1")
            say(f"note: {rule.name}: {note}")
        operation = Operation(rule.operation, FLAGS[rule.operation], dry_run=self._dry_run, where=rule.where)
        progress = found_progress_for(rule.name, operation.did, terminal=sys.stderr.isatty(), quiet=self._quiet)
        interrupts.say = server.say = progress.say
        selection = Selection(
            operation,
            None if self._dry_run else rule.at_most,  # a dry run tells how many leads match
            archived=rule.operation == "dearchive",
            jobs=self._jobs,
            batch_size=self._batch_size,
        )
        try:
            taken = await take(selection, server, offer, progress, interrupts)
        finally:
            progress.stop()
        return Result(rule, operation, taken)
