"""Run the service as a child process, send it requests, and read from the kernel how much CPU time and memory it used."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Self

import service_process

from benchmark.cpu import cpu_seconds
from benchmark.load import Connection, Load, post, send

ARCHIVE = "/vicidial/leads/archive"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def environment(database_url: str, folder: Path, key: str) -> dict[str, str]:
    """Return the settings that have no default. Writes the file of the API key to the folder."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    keys = folder / f"keys-{digest[:8]}.toml"
    keys.write_text(f'[[keys]]\nname = "bench"\nsha256 = "{digest}"\n')
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "API_KEYS_FILE": str(keys),
        "OFFICE_HOURS": "none",
    }


class ServiceProcess(service_process.ServiceProcess):
    """One instance that logs to a file in a folder, and an API key for it."""

    poll_interval = 0.002

    def __init__(self, database_url: str, folder: Path, workers: int = 1, office_hours: str = "none") -> None:
        self.key = secrets.token_urlsafe(24)
        self.workers = workers
        self.started = 0.0
        """When the process was started, by time.perf_counter()."""
        self.start_seconds = 0.0
        """Seconds from the start of the process to its first answer."""
        settings = {"OFFICE_HOURS": office_hours, "OFFICE_HOURS_TIMEZONE": "UTC", "WORKERS": str(workers)}
        super().__init__({**environment(database_url, folder, self.key), **settings}, log_folder=folder)

    def __enter__(self) -> Self:
        self.started = time.perf_counter()
        super().__enter__()
        self.start_seconds = time.perf_counter() - self.started
        return self

    def is_ready(self) -> bool:
        return self._answers() and self._workers_started()

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
        """Return whether all workers are ready: an answer comes from one of them, but each logs a line."""
        return self.workers == 1 or self.log.count("Application startup complete") == self.workers

    def request(self, lead_ids: list[int], key: str | None = None) -> bytes:
        """Return a request to archive these leads. key: an API key other than the valid one."""
        ids = ",".join(map(str, lead_ids))
        body = f'{{"insert_leads":true,"update_leads":true,"delete_leads":true,"lead_ids":[{ids}]}}'
        return post(ARCHIVE, body.encode(), self.key if key is None else key)

    def send(self, requests: list[bytes], clients: int = 1) -> Load:
        return send(self.port, requests, clients)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the only worker so far, in seconds of user and kernel mode."""
        assert self.workers == 1
        return cpu_seconds(self.pid)

    def resident_mib(self) -> float:
        """Return the resident memory of the only worker, in MiB."""
        assert self.workers == 1
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
