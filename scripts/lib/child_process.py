"""Run a program as a child process: watched until it is ready, its output kept, and ended with the block that started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
"""Seconds, much longer than an idle machine needs, since other work may use its cores."""


class ChildProcess:
    """A program. Entering the block starts it and waits until it is ready.

    Subclasses say in `is_ready` when that is.
    """

    name = "the program"
    """The program's name in error messages."""

    poll_interval = 0.05
    """Seconds between two checks whether the program is ready."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        folder: Path,
        *,
        stderr: int | None = None,
        log_folder: Path | None = None,
        orphan_signal: str = "TERM",
    ) -> None:
        """Prepare a process that runs a command with this environment, in a folder.

        stderr: where it logs to, instead of to `log`. log_folder: where the file behind `log` is made. orphan_signal: the name
        of the signal that ends the process when its owner dies.
        """
        # The kernel ends the process when its owner dies for any reason.
        setpriv = shutil.which("setpriv")
        self._command = [*([setpriv, "--pdeathsig", orphan_signal] if setpriv else []), *command]
        self._environment = environment
        self._folder = folder
        self._stderr = stderr
        self._output = TemporaryFile(dir=log_folder)  # noqa: SIM115  # open as long as the process writes to it
        self._process: subprocess.Popen[bytes] | None = None

    def is_ready(self) -> bool:
        """Return whether the process, which has been started, is ready."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the process has written so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode()

    def __enter__(self) -> Self:
        """Start the process, again if it has ended. Raises RuntimeError with the log if it does not get ready."""
        # A process group of its own keeps Ctrl-C from it, and lets stop() and the tests find the processes that it starts.
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output if self._stderr is None else self._stderr,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._kill()
                log = self.log
                self._output.close()
                raise RuntimeError(f"{self.name} did not start:\n{log}")
            time.sleep(self.poll_interval)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            self._kill()
            self._output.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the process a signal unless it has ended, wait for its end, and return its exit status.

        Raises subprocess.TimeoutExpired if it has not ended after STOP_TIMEOUT seconds.
        """
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(STOP_TIMEOUT)

    def _kill(self) -> None:
        """Kill the process and those that it has started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
