"""Run the client as a child process in a folder of its own, as a user does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from lead_archive.cli import main
from support.api import KEY
from support.process import PATIENCE
from support.waiting import wait_until

IN_USE = "in use: vicidial_hopper.lead_id"

COMMAND = Path(sys.executable).with_name("lead-archive")
NOT_FOR_CLIENTS = ("LEAD_ARCHIVE_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FORCE_COLOR", "TTY_")


def clean() -> dict[str, str]:
    """Return the environment of the tests without the variables that the client reads."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(NOT_FOR_CLIENTS)}


class Finished:
    """A client that has ended: its exit status, and its output."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors
        assert "Traceback" not in errors, errors
        assert KEY not in output + errors

    @property
    def summary(self) -> dict[str, Any]:
        """Return the JSON summary without its duration, which differs in each run."""
        summary: dict[str, Any] = json.loads(self.output)
        assert summary["status"] == self.status
        assert summary.pop("seconds") >= 0
        return summary

    def counts(self) -> dict[str, int]:
        """Return the counts in the summary that are not 0."""
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
        """Run a bash script in the folder, to set limits or close file descriptors before the client starts."""
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
        """Run the client in this process, which is faster than run()."""
        wanted = {**self.environment, **(environment or {})}
        unwanted = dict.fromkeys(os.environ.keys() - wanted.keys())
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, [*map(str, arguments)], env={**unwanted, **wanted})
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return Finished(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: object) -> Running:
        return Running(self, *arguments)


class Running:
    """Start a client. The end of the block kills it if it still runs."""

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
        wait_until(
            lambda: words in self._errors.read_text(), message=lambda: f"{words!r} is not in {self._errors.read_text()!r}"
        )

    def end(self) -> Finished:
        """Wait for the client to end, and return its output."""
        status = self._process.wait(PATIENCE)
        return Finished(status, self._output.read_text(), self._errors.read_text())
