"""What ends a run, by its exit status."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """The exit status."""

    DONE = 0
    SOME_REMAIN = 1
    WRONG_USAGE = 2
    REFUSED = 3


class UsageError(Exception):
    """The input, the settings or the journal cannot be used. The message says how to mend it."""


class RefusedError(Exception):
    """The server refuses or cannot be reached, and to go on makes no sense. The message says what to do."""


class FailedError(Exception):
    """A batch that the server could not process in all that time, while it processed others. The message says why."""


class StoppedError(Exception):
    """The run is being stopped, and the request was not sent, or not again."""


class UnknownLeadsError(Exception):
    """404 with the ids that are in neither table. Nothing was changed."""

    def __init__(self, lead_ids: set[int]) -> None:
        super().__init__(f"{len(lead_ids)} unknown leads")
        self.lead_ids = lead_ids


def visible(text: str, limit: int = 300) -> str:
    """Return text from outside as one line that a terminal can show: no control characters, no lone surrogates."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"
