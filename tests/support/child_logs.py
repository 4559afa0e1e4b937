"""The program of a child process of test_log_writer.py: log a line. It configures logging if it inherited no configuration."""

from __future__ import annotations

import structlog

from service.observability import logs


def log() -> None:
    if not structlog.is_configured():
        logs.configure("info")
    structlog.get_logger().info("child")
