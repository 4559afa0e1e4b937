"""Run the service as a child process, and read its state over HTTP, from its log and from /proc."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import service_process

from service.settings import Settings
from support.paths import ROOT

PATIENCE = 60
"""Seconds that a test waits for any event, much longer than an idle machine needs, since other work may use its cores."""

SLACK = float(os.environ.get("LEAD_ARCHIVE_SLACK", "15"))
"""Seconds that a busy machine may add to a promised time. Without the limit that a test checks, it would take longer than
this, or never end."""


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of the tests with only these settings of the service."""
    return {**{name: value for name, value in os.environ.items() if name not in Settings.model_fields}, **environment}


def run_service(environment: dict[str, str], *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python -m service ARGUMENTS` in a folder, and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=folder,
        env=clean(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def with_descriptors(number: int) -> tuple[str, ...]:
    """Return the arguments of Python that start the service with a limit of this many file descriptors."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number}))"
    return "-c", f"import resource; {limit}; from service.__main__ import main; main([])"


def _runs(pid: str) -> bool:
    """Return whether a process runs: it may have ended, and been waited for, at any moment."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ServiceProcess(service_process.ServiceProcess):
    """`python -m service` on a free port, ready to answer."""

    def __init__(
        self,
        environment: dict[str, str],
        command: tuple[str, ...] = ("-m", "service"),
        host: str = "127.0.0.1",
        python: str = sys.executable,
        folder: Path = ROOT,
        stderr: int | None = None,
    ) -> None:
        """Prepare a process with these settings of the service. The other parameters are those of the base class."""
        super().__init__(clean({**environment, "HOST": host}), command, python, folder, stderr=stderr)
        self.host = host
        self._tls = "TLS_CERT_FILE" in environment

    def is_ready(self) -> bool:
        try:
            return self.get("/livez")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that run; empty if the service runs in one process."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in pids if _runs(pid)]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait_for_line(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has `count` lines of an event, and return them."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := [line for line in self.log_lines if line["event"] == event]) < count:
            assert time.monotonic() < deadline, f"{len(lines)} lines {event!r}, not {count}:\n{self.log}"
            time.sleep(0.05)
        return lines

    def anything_left(self) -> bool:
        """Wait up to 5 seconds for the end of the process and those that it started. Return whether one still runs."""
        deadline = time.monotonic() + 5
        while self._group_exists():
            if time.monotonic() > deadline:
                return True
            time.sleep(0.05)
        return False

    def _group_exists(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET for a path over a new connection, and return status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        if self._tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
