"""The service as an operator runs it: `python -m service` in a process of its own, whose time and memory the kernel counts."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from mariadb import free_port

from benchmark.cpu import cpu_seconds
from benchmark.data import ROOT
from benchmark.load import Connection, Load, post, send

START_TIMEOUT = 60
ARCHIVE = "/vicidial/leads/archive"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def environment(database_url: str, folder: Path, key: str) -> dict[str, str]:
    """The settings that have no default, and nothing else; the key's file is written to folder."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    keys = folder / f"keys-{digest[:8]}.toml"
    keys.write_text(f'[[keys]]\nname = "bench"\nsha256 = "{digest}"\n')
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "API_KEYS_FILE": str(keys),
        "OFFICE_HOURS": "none",
    }


class ServiceProcess:
    """One instance, from its start until the end of the block."""

    def __init__(self, database_url: str, folder: Path, workers: int = 1, office_hours: str = "none") -> None:
        """folder keeps its log and the API key's hash."""
        self.port = free_port()
        self.key = secrets.token_urlsafe(24)
        self.workers = workers
        self.started = 0.0
        """When, by time.perf_counter()."""
        self.start_seconds = 0.0
        """From the start of the process to its first answer."""
        self._log = folder / f"service-{self.port}.log"
        self._environment = {
            **environment(database_url, folder, self.key),
            "OFFICE_HOURS": office_hours,
            "OFFICE_HOURS_TIMEZONE": "UTC",
            "PORT": str(self.port),
            "WORKERS": str(workers),
        }

    def __enter__(self) -> Self:
        # The kernel ends the service when the benchmark dies, however it dies.
        setpriv = shutil.which("setpriv")
        with self._log.open("wb") as log:
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), sys.executable, "-m", "service"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            while not (self._answers() and self._workers_started()):
                if self._process.poll() is not None or time.perf_counter() > self.started + START_TIMEOUT:
                    raise RuntimeError(f"the service did not start:\n{self._log.read_text()[-2000:]}")
                time.sleep(0.002)
            self.start_seconds = time.perf_counter() - self.started
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            connection = Connection(self.port)
            try:
                return connection.exchange(LIVEZ).status == 200
            finally:
                connection.close()
        except OSError:
            return False

    def _workers_started(self) -> bool:
        """One that answers says nothing of the others: uvicorn logs a line when each is ready."""
        return self.workers == 1 or self._log.read_text().count("Application startup complete") == self.workers

    def request(self, lead_ids: list[int], key: str | None = None) -> bytes:
        """The documented call. key: another one than the right one."""
        ids = ",".join(map(str, lead_ids))
        body = f'{{"insert_leads":true,"update_leads":true,"delete_leads":true,"lead_ids":[{ids}]}}'
        return post(ARCHIVE, body.encode(), self.key if key is None else key)

    def send(self, requests: list[bytes], clients: int = 1) -> Load:
        return send(self.port, requests, clients)

    def cpu_seconds(self) -> float:
        """CPU time, in user mode and in the kernel, of the one worker so far."""
        assert self.workers == 1
        return cpu_seconds(self._process.pid)

    def resident_mib(self) -> float:
        """Resident memory of the one worker."""
        assert self.workers == 1
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
