"""The service as a process of its own: started as an operator starts it, and gone at the end of the block."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

from mariadb import free_port

from service.settings import Settings
from support.paths import ROOT

PATIENCE = 60
"""Seconds for whatever takes a moment: far more than on an idle machine, since the tests may have to share theirs."""

SLACK = float(os.environ.get("LEAD_ARCHIVE_SLACK", "15"))
"""Seconds that a busy machine may add to a time that is promised. Without the bounds that the tests protect it would be more,
or for ever."""


def clean(environment: dict[str, str]) -> dict[str, str]:
    """The environment of the tests without any setting of the service, and with those given."""
    return {**{name: value for name, value in os.environ.items() if name not in Settings.model_fields}, **environment}


def run_service(environment: dict[str, str], *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python -m service ARGUMENTS` in a folder, to its end."""
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
    """What Python is to run so that the service has so many file descriptors and no more."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number}))"
    return "-c", f"import resource; {limit}; from service.__main__ import main; main([])"


class ServiceProcess:
    """`python -m service` on a free port, answering."""

    def __init__(
        self,
        environment: dict[str, str],
        command: tuple[str, ...] = ("-m", "service"),
        host: str = "127.0.0.1",
        python: str = sys.executable,
        folder: Path = ROOT,
        stderr: int | None = None,
    ) -> None:
        """command: what Python is to run instead. folder: where. stderr: where it logs to, instead of to `log`."""
        self.host = host
        self.port = free_port()
        self._environment = {**environment, "HOST": host, "PORT": str(self.port)}
        self._command = (python, *command)
        self._folder = folder
        self._stderr = stderr
        self._tls = "TLS_CERT_FILE" in environment
        self._output = TemporaryFile()  # noqa: SIM115  # open as long as the process writes to it
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the process has said so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode()

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]

    def __enter__(self) -> Self:
        # The kernel ends the process when the tests die, however they die. A process group of its own shows who is left.
        setpriv = shutil.which("setpriv")
        self._process = subprocess.Popen(
            [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *self._command],
            cwd=self._folder,
            env=clean(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output if self._stderr is None else self._stderr,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._kill()
                log = self.log
                self._output.close()
                raise RuntimeError(f"the service did not start:\n{log}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            self._kill()
            self._output.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the process a signal, wait for its end, and return its status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, if there are several; those that have ended left out."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in pids if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]

    def wait_for_line(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The log's lines with an event, as soon as there are so many."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := [line for line in self.log_lines if line["event"] == event]) < count:
            assert time.monotonic() < deadline, f"{len(lines)} lines {event!r}, not {count}:\n{self.log}"
            time.sleep(0.05)
        return lines

    def anything_left(self) -> bool:
        """Whether a process that this one started still runs, a moment after its end."""
        deadline = time.monotonic() + 5
        while self._group_exists():
            if time.monotonic() > deadline:
                return True
            time.sleep(0.05)
        return False

    def _group_exists(self) -> bool:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a path on a connection of its own: status and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        if self._tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def _answers(self) -> bool:
        try:
            return self.get("/livez")[0] == 200
        except (OSError, http.client.HTTPException):
            return False
