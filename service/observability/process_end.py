"""The end of a process that has served."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

import structlog

from service.observability import logs

logger = structlog.get_logger()


def end_process(status: int) -> NoReturn:
    """End this process with its last log lines written, and nothing else waited for.

    The interpreter's own end waits for the threads in which libuv looks up host names, and so for a name server that does not
    answer.
    """
    logs.WRITER.drain()
    flush_standard_error()
    os._exit(status)


def end_for_lack_of_memory() -> NoReturn:
    """End this process because memory was lacking where nothing can be done about it: what was interrupted is in an unknown
    state. systemd, or the first process, starts another one."""
    try:
        logger.critical("no memory left")
        end_process(1)
    finally:
        os._exit(1)  # there is no memory even for the line


def flush_standard_error() -> None:
    """Write what Python has buffered for standard error, if there is one: it may have been closed before the start."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
