"""What a child process of test_log_writer.py does: log a line, configured anew if nothing was inherited."""

from __future__ import annotations

import structlog

from service.observability import logs


def log() -> None:
    if not structlog.is_configured():
        logs.configure("info")
    structlog.get_logger().info("child")
