"""Run `python -m service` as a child process, started as an operator starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from child_process import ChildProcess
from mariadb import free_port

ROOT = Path(__file__).parent.parent.parent


class ServiceProcess(ChildProcess):
    """One instance of the service on a free port. Subclasses say in `is_ready` when it is ready."""

    name = "the service"

    def __init__(
        self,
        environment: dict[str, str],
        command: tuple[str, ...] = ("-m", "service"),
        python: str = sys.executable,
        folder: Path = ROOT,
        *,
        stderr: int | None = None,
        log_folder: Path | None = None,
    ) -> None:
        """Prepare a process with this environment and a PORT of its own.

        command: the arguments of Python. The other parameters are those of the base class.
        """
        self.port = free_port()
        environment = {**environment, "PORT": str(self.port)}
        super().__init__([python, *command], environment, folder, stderr=stderr, log_folder=log_folder)
