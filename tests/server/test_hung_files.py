"""Key file and certificate on a file system that hangs while the service runs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import trustme
from support.api import Api
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables

from service.server.serve import STOP_MARGIN

STANDS_STILL = """
import os, time
from service.__main__ import main

def waits_for_ever(function):
    def wait_or_call(path, *arguments, **options):
        while os.fspath(path) in FILES and exists(FLAG):
            time.sleep(0.02)
        return function(path, *arguments, **options)
    return wait_or_call

def exists(path):
    try:
        return bool(stat(path))
    except FileNotFoundError:
        return False

stat = os.stat
os.stat, os.open = waits_for_ever(os.stat), waits_for_ever(os.open)
main([])
"""
"""A program for Python. While a file FLAG exists, `stat` and `open` of FILES block, as on a network file system whose server
is gone."""


class Hung(ServiceProcess):
    """A service whose files hang after stand_still()."""

    def __init__(self, settings: dict[str, str], folder: Path, file: str) -> None:
        self._flag = folder / "stands_still"
        script = STANDS_STILL.replace("FILES", repr([file])).replace("FLAG", repr(str(self._flag)))
        super().__init__({**settings, "REQUEST_TIMEOUT": "1"}, ("-c", script))

    def stand_still(self) -> None:
        self._flag.touch()

    def go_on(self) -> None:
        self._flag.unlink()

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))


@pytest.fixture(params=["API_KEYS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"])
def hung(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Callable[[int], Hung]:
    """Return a function that starts a service with this many workers. The parameter is the setting whose file hangs."""
    settings = environment
    if request.param != "API_KEYS_FILE":
        files = {"TLS_CERT_FILE": tmp_path / "cert.pem", "TLS_KEY_FILE": tmp_path / "key.pem"}
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])
        issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
        settings = {**environment, **{name: str(path) for name, path in files.items()}}
    return lambda workers: Hung({**settings, "WORKERS": str(workers)}, tmp_path, settings[request.param])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_holds_up_neither_answers_nor_the_stop(hung: Callable[[int], Hung], workers: int) -> None:
    with hung(workers) as service:
        service.stand_still()
        for _ in range(3):
            service.signal(signal.SIGHUP)
            time.sleep(0.1)
        time.sleep(1)
        assert service.get("/livez")[0] == 200

        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 2 + STOP_MARGIN + SLACK
        assert not service.anything_left()


def test_a_worker_is_replaced_all_the_same(hung: Callable[[int], Hung]) -> None:
    with hung(2) as service:
        before = set(service.workers)
        service.stand_still()
        service.signal(signal.SIGHUP)
        time.sleep(1)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE / 2
        while len(set(service.workers) - before) < 2:
            assert time.monotonic() < deadline, service.log
            time.sleep(0.05)

        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
        assert "worker does not stop" not in service.log
        assert not service.anything_left()


def test_a_key_file_that_stands_still_leaves_the_old_keys_in_force(
    environment: dict[str, str], tables: Tables, tmp_path: Path
) -> None:
    tables.live(1, 2, 3, 4)
    before, _ = tables.both()
    keys_file = Path(environment["API_KEYS_FILE"])
    with (
        Hung(environment, tmp_path, str(keys_file)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        api = Api(client)
        assert api.archive_all([1]).status_code == 200
        threads = service.threads()
        service.stand_still()

        assert [api.archive_all([lead_id]).status_code for lead_id in (2, 3, 4)] == [200] * 3
        assert tables.both() == ({}, before)
        assert service.threads() <= threads + 1
        (line,) = service.wait_for_line("keys not reloaded")
        assert line["error"] == f"cannot read {keys_file}: the file system did not answer in time"
        ready = json.loads(service.get("/readyz")[1])
        assert (ready["message"], [note["remedy"] for note in ready["notes"]]) == ("ready", [None])
        assert ready["notes"][0]["message"].startswith("API_KEYS_FILE could not be read")
        assert str(keys_file) not in str(ready)

        digest = hashlib.sha256(b"new").hexdigest()
        keys_file.write_text(f'[[keys]]\nname = "tests"\nsha256 = "{digest}"\n')
        service.go_on()
        service.wait_for_line("keys reloaded")
        assert api.archive_all([1]).status_code == 401
        assert Api(client, "new").archive_all([1]).status_code == 200
        assert json.loads(service.get("/readyz")[1])["notes"] == []
        assert len(service.wait_for_line("keys not reloaded")) == 1
    assert tables.both() == ({}, before)
