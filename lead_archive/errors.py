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
    """The input, the settings or the journal cannot be used. The message says how to mend it; no request was sent."""


class RefusedError(Exception):
    """The server refuses or cannot be reached, and to go on makes no sense. The message says what to do."""
