"""The client as a process of its own: started as a user starts it, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from lead_archive.cli import main
from support.api import KEY
from support.process import PATIENCE

IN_USE = "in use: vicidial_hopper.lead_id"

COMMAND = Path(sys.executable).with_name("lead-archive")
NOT_FOR_CLIENTS = ("LEAD_ARCHIVE_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FORCE_COLOR", "TTY_")


def clean() -> dict[str, str]:
    """The environment of the tests without what the client would take from it."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(NOT_FOR_CLIENTS)}


class Finished:
    """A client that has ended: its status, and all that it said."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors
        assert "Traceback" not in errors, errors
        assert KEY not in output + errors

    @property
    def summary(self) -> dict[str, Any]:
        """What --json printed; without what no test can know beforehand."""
        summary: dict[str, Any] = json.loads(self.output)
        assert summary["status"] == self.status
        assert summary.pop("seconds") >= 0
        return summary

    def counts(self) -> dict[str, int]:
        """The numbers in the summary that are not 0."""
        return {
            name: value
            for name, value in self.summary.items()
            if isinstance(value, int) and not isinstance(value, bool) and name != "status" and value
        }


class Client:
    """`lead-archive ARGUMENTS` in a folder, for one server."""

    def __init__(self, folder: Path, url: str, key: str = KEY) -> None:
        self.folder = folder
        self.environment = {**clean(), "LEAD_ARCHIVE_URL": url, "LEAD_ARCHIVE_KEY": key}

    def write(self, name: str, *lines: object) -> str:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    def read(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()

    def run(self, *arguments: object, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Finished:
        result = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return Finished(result.returncode, result.stdout.decode(), result.stderr.decode())

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash in the folder, for what only a shell can do to the command: limits, closed descriptors."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def invoke(self, *arguments: object, environment: dict[str, str] | None = None) -> Finished:
        """The same in this process: for tests that have no need of another, and many runs."""
        wanted = {**self.environment, **(environment or {})}
        unwanted = dict.fromkeys(os.environ.keys() - wanted.keys())
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, [*map(str, arguments)], env={**unwanted, **wanted})
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return Finished(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: object) -> Running:
        return Running(self, *arguments)


class Running:
    """A client that is at work; it is killed at the end of the block if it still is."""

    def __init__(self, client: Client, *arguments: object) -> None:
        self._output = client.folder / "stdout"
        self._errors = client.folder / "stderr"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [COMMAND, *map(str, arguments)],
                cwd=client.folder,
                env=client.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_it_says(self, words: str) -> None:
        until(lambda: words in self._errors.read_text(), lambda: f"not said: {words}: {self._errors.read_text()}")

    def end(self) -> Finished:
        """Wait for its end."""
        status = self._process.wait(PATIENCE)
        return Finished(status, self._output.read_text(), self._errors.read_text())


def until(true: Callable[[], bool], message: Callable[[], str] = lambda: "it did not happen") -> None:
    """Wait until something is true. Fails with the message if it does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, message()
        time.sleep(0.01)
