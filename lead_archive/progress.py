"""Show the progress of a run on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import BarColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lead_archive.answers import GENTLE

GENTLY = " (the service is gentle: agents are logged in, or PACE says so)"

INTERVAL = 10.0
"""Seconds between two plain lines."""


class Progress:
    """Show messages only, for --quiet. The base class of the others."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._gently = ""
        """What a line adds while the service is gentle."""

    def start(self, total: int, done: int) -> None:
        """Set the number of leads, and the number that an earlier run has done."""

    def found(self, leads: int) -> None:
        """Count leads that were found, where their number is not known before."""

    def advance(self, leads: int, left: int = 0) -> None:
        """Count more leads as done. left: how many of them were left behind."""

    def pace(self, pace: str) -> None:
        """Take note of the pace of the service: gentle or full."""
        self._gently = GENTLY if pace == GENTLE else ""

    def say(self, message: str) -> None:
        with contextlib.suppress(OSError):  # standard error was closed; the run continues
            click.echo(f"{self.title}: {message}", err=True)

    def stop(self) -> None:
        """Restore the terminal."""


class LineProgress(Progress):
    """Print a line at most every INTERVAL seconds, for logs."""

    def start(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._started = self._said = time.monotonic()
        self._before = done
        self.say(f"{total:,} leads" + (f", {done:,} of them done before" if done else ""))

    def advance(self, leads: int, left: int = 0) -> None:  # noqa: ARG002  # it is in the summary
        self._done += leads
        now = time.monotonic()
        if now - self._said >= INTERVAL or self._done == self._total:
            self._said = now
            rate = (self._done - self._before) / max(now - self._started, 0.001)
            remaining = timedelta(seconds=round((self._total - self._done) / rate))
            share = 100 * self._done // self._total
            done = f"{self._done:,} of {self._total:,} leads ({share} %), {rate:,.0f} a second"
            self.say(f"{done}{self._gently}, {remaining} left")


class BarProgress(Progress):
    """Show a progress bar with the rate and the time left."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            CountColumn("{task.completed}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def start(self, total: int, done: int) -> None:
        self._task = self._bar.add_task(self.title, total=total, completed=done, gently="")
        self._bar.start()

    def advance(self, leads: int, left: int = 0) -> None:  # noqa: ARG002
        assert self._task is not None
        self._bar.update(self._task, advance=leads, gently=self._gently)

    def say(self, message: str) -> None:
        self._bar.console.print(f"{self.title}: {message}", markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._bar.stop()


class CountColumn(TextColumn):
    """12,000 of 20,000 leads (60 %), 1,234 a second"""

    def render(self, task: Task) -> Text:
        total = int(task.total or 0)
        share = 100 * int(task.completed) // total if total else 100
        rate = task.finished_speed or task.speed
        speed = f", {rate:,.0f} a second" if rate else ""
        return Text(f"{int(task.completed):,} of {total:,} leads ({share} %){speed}{task.fields['gently']}")


def progress_for(title: str, *, terminal: bool, quiet: bool) -> Progress:
    if quiet:
        return Progress(title)
    return BarProgress(title) if terminal else LineProgress(title)
