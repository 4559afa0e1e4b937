"""Show the progress of a run whose number of leads is not known before: found, done, left behind."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TaskID, TextColumn

from lead_archive.progress import INTERVAL, Progress


class FoundProgress(Progress):
    """Count, and show nothing but messages, for --quiet. The base class of the others."""

    def __init__(self, title: str, did: str) -> None:
        """did: a participle for the leads that are done, such as "archived"."""
        super().__init__(title)
        self._did = did
        self._found = self._done = self._left = 0

    def found(self, leads: int) -> None:
        self._found += leads
        self.show()

    def advance(self, leads: int, left: int = 0) -> None:
        self._done += leads - left
        self._left += left
        self.show()

    def show(self) -> None:
        """Show the counts."""

    def words(self) -> str:
        """Return the counts in words: 12,000 found, 9,990 archived, 10 left."""
        return f"{self._found:,} found, {self._done:,} {self._did}, {self._left:,} left{self._gently}"


class FoundLines(FoundProgress):
    """Print a line at most every INTERVAL seconds, and one at the end, for logs."""

    def __init__(self, title: str, did: str) -> None:
        super().__init__(title, did)
        self._said = time.monotonic()

    def show(self) -> None:
        if time.monotonic() - self._said >= INTERVAL:
            self._said = time.monotonic()
            self.say(self.words())

    def stop(self) -> None:
        if self._found:
            self._gently = ""  # the run has ended
            self.say(self.words())


class FoundBar(FoundProgress):
    """Show the counts on one line of a terminal."""

    def __init__(self, title: str, did: str) -> None:
        super().__init__(title, did)
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
        self._bar = Bar(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None

    def show(self) -> None:
        text = f"{self.title}: {self.words()}"
        if self._task is None:
            self._task = self._bar.add_task(text, total=None)
            self._bar.start()
        self._bar.update(self._task, description=text)

    def say(self, message: str) -> None:
        self._bar.console.print(f"{self.title}: {message}", markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._bar.stop()


def found_progress_for(title: str, did: str, *, terminal: bool, quiet: bool) -> FoundProgress:
    if quiet:
        return FoundProgress(title, did)
    return FoundBar(title, did) if terminal else FoundLines(title, did)
