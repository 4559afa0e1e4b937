"""Exit statuses, and the exceptions that end a run."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """The exit status."""

    DONE = 0
    SOME_REMAIN = 1
    WRONG_USAGE = 2
    REFUSED = 3


class UsageError(Exception):
    """The input, the settings or the journal cannot be used. The message says how to fix it."""


class JournalLostError(UsageError):
    """The journal cannot be used any more: --resume is of no use. The message says so."""


class RefusedError(Exception):
    """The server refuses all requests or cannot be reached. The message says what to do."""


class ConditionsRefusedError(RefusedError):
    """The server refuses these conditions, and may take others. The message says what to do."""


class FailedError(Exception):
    """The server did not process this batch within --retry-for, but processed others. The message says why."""


class StoppedError(Exception):
    """The user stops the run: the request was not sent, or not repeated."""


class MalformedError(Exception):
    """The answer is not one of this API's. The message says what is wrong with it."""


class UnknownLeadsError(Exception):
    """404 with the ids that are in neither table. Nothing was changed."""

    def __init__(self, lead_ids: set[int]) -> None:
        super().__init__(f"{len(lead_ids)} unknown leads")
        self.lead_ids = lead_ids


def visible(text: str, limit: int = 300) -> str:
    """Return untrusted text as one printable line, without control characters and lone surrogates."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"
