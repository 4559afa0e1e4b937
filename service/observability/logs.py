"""Logging: one JSON object a line, or readable text on a terminal. Lines of libraries have the same form.

Logging never stops, delays or falsifies an answer: log_writer.py writes the lines in a thread, and a line that cannot be
rendered is counted as lost. Each line is rendered once and passed to `Lines` or `Handler`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from service.observability.log_writer import LogWriter, Loss

logger = structlog.wrap_logger(structlog.ReturnLogger())
"""Renders lines and returns them instead of writing them."""


def render_loss(loss: Loss) -> str:
    line: str = logger.error("log lines lost", lines=loss.lines, since=loss.since.isoformat(), error=loss.error)
    return line


WRITER = LogWriter(render_loss)
"""The only writer of the process, so that lines keep their order."""


class Lines:
    """Where structlog sends a rendered line."""

    def msg(self, line: str) -> None:
        WRITER.write(line)

    debug = info = warning = error = exception = critical = msg


class Handler(logging.Handler):
    """Where the standard library sends a record."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            WRITER.write(self.format(record))
        except Exception as error:
            WRITER.lose(1, f"cannot be rendered: {error}")


def configure(level: str) -> None:
    """Send every log line of this process with this level or above to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr is None:
        # Standard error was closed before the start. Its number may belong to a connection now.
        WRITER.descriptor = os.open(os.devnull, os.O_WRONLY)
    else:
        WRITER.descriptor, WRITER.encoding = sys.stderr.fileno(), sys.stderr.encoding
    if sys.stderr is not None and sys.stderr.isatty():
        # Plain tracebacks: the other kind prints variables, and with them keys, passwords and leads.
        last: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Our own lines bypass the standard library. Through it, each would cost as much as reading the request.
    structlog.configure(
        processors=[_safe(shared + last)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: Lines(),
        cache_logger_on_first_use=True,
    )
    handler = Handler()
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *last]))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # It logs every connect and disconnect of the pool, which is of no use to an operator.
    logging.getLogger("databases").setLevel(logging.WARNING)
    _log_what_python_prints()


def _safe(processors: list[structlog.typing.Processor]) -> structlog.typing.Processor:
    """Combine the processors into one that drops a line that they cannot render, and counts it."""

    def render(wrapped: Any, method: str, event: Any) -> Any:
        try:
            for processor in processors:
                event = processor(wrapped, method, event)
        except structlog.DropEvent:
            raise
        except Exception as error:
            WRITER.lose(1, f"cannot be rendered: {error}")
            raise structlog.DropEvent from None
        return event

    return render


def _log_what_python_prints() -> None:
    """Log what Python would print to standard error, where it might block: warnings and unhandled exceptions."""
    python = logging.getLogger("python")
    logging.captureWarnings(True)

    def log(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        python.error("Exception outside of a request", exc_info=(kind, error or kind(), trace))

    def on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        (log if issubclass(kind, Exception) else sys.__excepthook__)(kind, error, trace)

    sys.excepthook = on_exception
    sys.unraisablehook = lambda unraisable: log(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
    threading.excepthook = lambda failed: log(failed.exc_type, failed.exc_value, failed.exc_traceback)
