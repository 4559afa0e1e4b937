"""Standard output, standard error, and the signals that end a wait."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

from lead_archive.errors import Status, UsageError

CLOSED = "standard output is closed"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM too, so that both end a wait in the same way."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """Print to standard error. Ignore that nobody reads it."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def say_errors(error: UsageError) -> None:
    """Print each line of an error."""
    say("\n".join(f"error: {line}" for line in str(error).splitlines()))


def print_result(text: str, status: Status, otherwise: str) -> Status:
    """Print to standard output, and return the exit status. If that is not possible, it is at least WRONG_USAGE.

    otherwise: what to say about the result if it cannot be printed.
    """
    if sys.stdout is None:
        say(f"error: cannot write the summary: {CLOSED}; {otherwise}")
        return max(status, Status.WRONG_USAGE)
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError as error:
        say(f"error: cannot write the summary: {error.strerror}; {otherwise}")
        silence(sys.stdout)
        return max(status, Status.WRONG_USAGE)
    return status


def silence(stream: Any) -> None:
    """Discard what is buffered for a stream that cannot be written: the interpreter would report an error at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
