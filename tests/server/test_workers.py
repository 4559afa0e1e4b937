"""Several workers: how they are replaced, what SIGHUP reloads, and what remains if the first process is killed."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
import trustme
from mariadb import free_port
from structlog.testing import capture_logs
from support.api import Api
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess, clean
from support.tables import Tables

from service.server.reload import Reloads
from service.server.supervisor import LONGEST_DELAY, MOST_EARLY_DEATHS, SERVES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A TMPDIR of the test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def wait_for_workers(service: ServiceProcess, without: set[int], count: int = 2) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(set(service.workers) - without) < count:
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)


def test_a_worker_that_is_replaced_has_the_last_keys_that_were_good(
    tables: Tables, environment: dict[str, str], keys_file: Path
) -> None:
    tables.live(1)
    with ServiceProcess({**environment, "WORKERS": "2"}) as service:
        before = set(service.workers)
        keys_file.write_text("not TOML")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for_workers(service, before)

        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert {line["worker"] for line in service.wait_for_line("worker ended", 2)} == before
        assert "keys not reloaded" in service.log
        assert all(service.log_lines)  # each line is JSON
        assert service.stop() == 0
    assert tables.ids() == ([], [1])


def test_a_key_that_was_revoked_does_not_come_back_with_a_worker(environment: dict[str, str], keys_file: Path) -> None:
    """The key file is malformed when the worker starts."""
    with ServiceProcess({**environment, "WORKERS": "2"}) as service:
        before = set(service.workers)
        other = hashlib.sha256(b"other").hexdigest()
        keys_file.write_text(f'[[keys]]\nname = "other"\nsha256 = "{other}"\n')
        service.wait_for_line("keys reloaded")
        keys_file.write_text("not TOML")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for_workers(service, before)

        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).status_code == 401


def test_the_last_worker_does_not_wait_for_the_delay_of_others(tables: Tables, environment: dict[str, str]) -> None:
    """Each worker is killed after it has served for a second or two, so the delay of the others grows."""
    tables.live(1)
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "WORKERS": "2"}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        began = time.monotonic()
        for kill in range(10):
            time.sleep(max(0, began + 1.3 * (kill + 1) - time.monotonic()))
            os.kill(min(service.workers), signal.SIGKILL)
            killed = time.monotonic()
            wait_for_workers(service, set(), 1)
            while True:
                try:
                    assert client.get("/livez").status_code == 200
                    break
                except httpx2.TransportError:
                    assert time.monotonic() - killed < PATIENCE
            assert time.monotonic() - killed < 1.3, service.log
        ends = service.wait_for_line("worker ended", 10)
        assert max(line["replaced_in"] for line in ends) >= 2  # with another worker that serves, there is a delay
        assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
    assert tables.both() == ({}, before)


LONG_DELAY = """
from service.server import supervisor
from service.__main__ import main

begin = supervisor.Supervisor.__init__

def begin_late(self, *arguments, **options):
    begin(self, *arguments, **options)
    self._delay = supervisor.LONGEST_DELAY

supervisor.Supervisor.__init__ = begin_late
supervisor.USEFUL_LIFE = supervisor.SHORT_LIFE = 1000
main([])
"""
"""A service many of whose workers have ended within a second of their start."""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "standing still"])
def test_a_service_without_a_worker_that_serves_starts_one_within_seconds(
    tables: Tables, environment: dict[str, str], end: signal.Signals
) -> None:
    tables.live(1)
    before, _ = tables.both()
    with ServiceProcess({**environment, "WORKERS": "2"}, ("-c", LONG_DELAY)) as service:
        wait_for_workers(service, set())
        first, second = service.workers
        os.kill(first, end)
        if end == signal.SIGSTOP:
            time.sleep(SERVES + 1)
        os.kill(second, signal.SIGKILL)
        killed = time.monotonic()
        while not set(service.workers) - {first, second}:
            assert time.monotonic() - killed < LONGEST_DELAY / 2, service.log
            time.sleep(0.05)
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        if end == signal.SIGSTOP:
            os.kill(first, signal.SIGCONT)
        assert service.stop() == 0
    assert tables.both() == ({}, before)


WORKERS_THAT_CANNOT_START = """
import os
from service.database import pool as database
from service.__main__ import main

connect, first = database.Database.connect, os.getpid()

async def connect_or_fail(self):
    if os.getpid() != first:
        raise RuntimeError("the defect")
    await connect(self)

database.Database.connect = connect_or_fail
main([])
"""


def test_a_service_whose_workers_cannot_start_ends_and_says_so(environment: dict[str, str]) -> None:
    service = ServiceProcess({**environment, "WORKERS": "3"}, ("-c", WORKERS_THAT_CANNOT_START))

    with pytest.raises(RuntimeError, match="the service did not start") as error, service:
        pass

    said = str(error.value)
    assert '"event": "no worker can start"' in said
    assert said.count('"event": "worker ended"') == 3


def test_a_service_whose_workers_die_while_they_start_ends_and_says_so(environment: dict[str, str]) -> None:
    dies = "import signal; os.kill(os.getpid(), signal.SIGBUS)"
    script = WORKERS_THAT_CANNOT_START.replace('raise RuntimeError("the defect")', dies)
    assert dies in script
    service = ServiceProcess({**environment, "WORKERS": "2"}, ("-c", script))

    with pytest.raises(RuntimeError, match="the service did not start") as error, service:
        pass

    said = str(error.value)
    assert '"event": "no worker can start"' in said
    assert said.count('"event": "worker ended"') >= MOST_EARLY_DEATHS


NO_PROCESS_AT_FIRST = """
import errno, os
from service.server import supervisor
from service.__main__ import main

fails = [False, True, True, False]  # one worker, and then none for a while

def some_fail(made):
    def make(*arguments):
        if fails and fails.pop(0):
            raise OSError(errno.EAGAIN, "the system has none left")
        return made(*arguments)
    return make

WHAT = some_fail(WHAT)
main([])
"""


@pytest.mark.parametrize("what", ["os.fork", "supervisor.Heartbeat"])
def test_a_worker_that_cannot_be_made_is_made_later(tables: Tables, environment: dict[str, str], what: str) -> None:
    tables.live(1)
    with ServiceProcess({**environment, "WORKERS": "2"}, ("-c", NO_PROCESS_AT_FIRST.replace("WHAT", what))) as service:
        lines = service.wait_for_line("worker not started", 2)
        assert [(line["error"], line["tried_again_in"]) for line in lines] == [("the system has none left", n) for n in (1, 2)]
        wait_for_workers(service, set())
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
        assert not service.anything_left()
    assert tables.ids() == ([], [1])


def test_workers_start_without_a_standard_error(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    closed = ("-c", f"exec {shlex.quote(sys.executable)} -m service 2>&-")
    with ServiceProcess({**environment, "WORKERS": "2"}, closed, python="sh") as service:
        wait_for_workers(service, set())
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
        assert not service.anything_left()
    assert tables.ids() == ([], [1])


STOPPED_WHILE_IT_STARTS = """
import os, signal
from service.server import serve as server
from service.__main__ import main

class Folder(server.MetricsFolder):
    def __init__(self):
        super().__init__()
        os.kill(os.getpid(), signal.NUMBER)

server.MetricsFolder = Folder
main([])
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_stop_while_it_starts_leaves_nothing(environment: dict[str, str], folder: Path, number: str) -> None:
    settings = {**environment, "WORKERS": "2", "TMPDIR": str(folder), "PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_IT_STARTS.replace("NUMBER", number)],
        cwd=ROOT,
        env=clean(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (ended.returncode, list(folder.iterdir())) == (0, []), ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_interrupts_nothing(tables: Tables, environment: dict[str, str], workers: str) -> None:
    tables.live(1)
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with (
        ServiceProcess({**environment, "WORKERS": workers}) as service,
        ThreadPoolExecutor(1) as executor,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        dialler.cursor() as cursor,
    ):
        before = service.workers
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        request = executor.submit(Api(client).archive_all, [1])
        tables.wait_until_a_lock_is_in_the_way()
        for _ in range(3):
            service.signal(signal.SIGHUP)
            time.sleep(0.1)
        assert service.get("/livez")[0] == 200
        dialler.rollback()

        assert request.result().json()["delete_count"] == 1
        assert service.workers == before
        assert service.stop() == 0
    dialler.close()
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_was_replaced_is_used_from_sighup_on(
    environment: dict[str, str], tmp_path: Path, workers: str
) -> None:
    """This includes a certificate with a key of another type: the old key is not used with it."""
    files = {"TLS_CERT_FILE": tmp_path / "cert.pem", "TLS_KEY_FILE": tmp_path / "key.pem"}

    def issue(key_type: trustme.KeyType) -> str:
        issued = trustme.CA().issue_cert("127.0.0.1", key_type=key_type)
        issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])
        issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
        return files["TLS_CERT_FILE"].read_text().partition("-----END")[0].strip()

    first = issue(trustme.KeyType.RSA)
    count = max(1, int(workers))
    parents = 0 if workers == "1" else 1
    with ServiceProcess({**environment, "WORKERS": workers, **{name: str(path) for name, path in files.items()}}) as service:
        assert served(service) == {first}
        second = issue(trustme.KeyType.ECDSA)
        service.signal(signal.SIGHUP)
        service.wait_for_line("certificate reloaded", count + parents)
        assert served(service) == {second}

        files["TLS_KEY_FILE"].write_text("no key")
        service.signal(signal.SIGHUP)
        lines = service.wait_for_line("certificate not reloaded", count + parents)
        assert lines[0]["level"] == "error"
        if parents:  # a worker that is replaced has the same certificate as the others
            before = set(service.workers)
            os.kill(max(before), signal.SIGKILL)
            wait_for_workers(service, {max(before)})
        assert served(service) == {second}


SLOW_RELOAD = """
import os, time
from service.access.certificate import Certificate
from service.__main__ import main

load, parent, is_first = Certificate._load, os.getpid(), [True]

def load_slowly(self):
    if os.getpid() == parent and not is_first:
        time.sleep(3)
    is_first.clear()
    return load(self)

Certificate._load = load_slowly
main([])
"""


def test_workers_that_are_started_during_a_reload_get_the_new_certificate(environment: dict[str, str], tmp_path: Path) -> None:
    """The file system is slow: the first process has not read the new certificate yet when it starts them."""
    files = {"TLS_CERT_FILE": tmp_path / "cert.pem", "TLS_KEY_FILE": tmp_path / "key.pem"}

    def issue() -> str:
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])
        issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
        return files["TLS_CERT_FILE"].read_text().partition("-----END")[0].strip()

    first = issue()
    settings = {**environment, "WORKERS": "2", **{name: str(path) for name, path in files.items()}}
    with ServiceProcess(settings, ("-c", SLOW_RELOAD)) as service:
        wait_for_workers(service, set())
        assert served(service) == {first}
        second = issue()
        service.signal(signal.SIGHUP)
        service.wait_for_line("certificate reloaded", 2)  # the workers
        before = set(service.workers)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        wait_for_workers(service, before)
        service.wait_for_line("certificate reloaded", 5)  # the first process, and the new workers
        assert served(service) == {second}
        assert service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["TLS_CERT_FILE", "TLS_KEY_FILE"])
def test_a_fifo_in_place_of_the_certificate_holds_up_nothing(
    environment: dict[str, str], tmp_path: Path, workers: str, name: str
) -> None:
    files = {"TLS_CERT_FILE": tmp_path / "cert.pem", "TLS_KEY_FILE": tmp_path / "key.pem"}
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])
    issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
    with ServiceProcess({**environment, "WORKERS": workers, **{name: str(path) for name, path in files.items()}}) as service:
        before = served(service)
        files[name].unlink()
        os.mkfifo(files[name])
        service.signal(signal.SIGHUP)
        lines = service.wait_for_line("certificate not reloaded", 1 if workers == "1" else 3)
        assert {line["error"] for line in lines} == {f"{files[name]} is not a regular file"}
        assert served(service) == before
        assert service.stop() == 0
        assert not service.anything_left()


def test_however_many_reloads_are_asked_for_one_runs_and_one_waits() -> None:
    begun, may_end = threading.Semaphore(0), threading.Semaphore(0)
    count = 0

    def reload() -> None:
        nonlocal count
        count += 1
        begun.release()
        assert may_end.acquire(timeout=PATIENCE)

    reloads = Reloads(reload)
    for _ in range(2):  # after many signals, it works as before
        reloads.ask()
        assert begun.acquire(timeout=PATIENCE)
        for _ in range(50):
            reloads.ask()
        may_end.release()
        assert begun.acquire(timeout=PATIENCE)
        may_end.release()
        assert not begun.acquire(timeout=0.2)
    assert count == 4


def test_a_reload_that_fails_is_told_of_and_the_next_runs() -> None:
    begun = threading.Semaphore(0)

    def fail() -> None:
        begun.release()
        raise RuntimeError("the defect")

    with capture_logs() as log:
        reloads = Reloads(fail)
        for _ in range(2):
            reloads.ask()
            assert begun.acquire(timeout=PATIENCE)
            assert reloads._last
            wait([reloads._last], PATIENCE)
    assert {line["event"] for line in log} == {"not reloaded"}


def served(service: ServiceProcess) -> set[str]:
    """Return the certificates that all workers serve."""
    found = set()
    for _ in range(12):
        with (
            closing(socket.create_connection((service.host, service.port), PATIENCE)) as plain,
            ssl._create_unverified_context().wrap_socket(plain) as connection,
        ):
            certificate = connection.getpeercert(binary_form=True)
            assert certificate
            found.add(ssl.DER_cert_to_PEM_cert(certificate).partition("-----END")[0].strip())
    return found


SHORT_LIMIT = "from service.server import supervisor; from service.__main__ import main; supervisor.HANG_TIMEOUT = 4; main([])"


def test_a_worker_that_stands_still_is_killed_and_replaced(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    before, _ = tables.both()
    with ServiceProcess({**environment, "WORKERS": "2"}, ("-c", SHORT_LIMIT)) as service:
        wait_for_workers(service, set())
        other, hanging = service.workers
        os.kill(hanging, signal.SIGSTOP)
        assert [line["worker"] for line in service.wait_for_line("worker hangs")] == [hanging]
        wait_for_workers(service, {hanging})
        assert other in service.workers
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
    assert tables.both() == ({}, before)


def test_workers_that_stood_still_together_with_the_first_process_are_not_killed(
    tables: Tables, environment: dict[str, str]
) -> None:
    """As when a container is paused, or a virtual machine is suspended."""
    tables.live(1)
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "WORKERS": "2"}, ("-c", SHORT_LIMIT)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as executor,
    ):
        wait_for_workers(service, set())
        workers = service.workers
        os.killpg(service.pid, signal.SIGSTOP)
        request = executor.submit(Api(client).archive_all, [1])
        time.sleep(8)
        os.killpg(service.pid, signal.SIGCONT)
        assert request.result().json()["delete_count"] == 1
        time.sleep(3)  # a few looks at the workers
        assert service.workers == workers
        assert service.stop() == 0
        assert "worker hangs" not in service.log
    assert tables.both() == ({}, before)


def test_workers_that_stood_still_during_a_stop_have_their_time_to_stop(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    before = tables.both()
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with (
        closing(dialler),
        dialler.cursor() as cursor,
        ServiceProcess({**environment, "WORKERS": "2", "REQUEST_TIMEOUT": "2"}) as service,  # each has 7 seconds to stop
        ThreadPoolExecutor(1) as executor,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        request = executor.submit(Api(client).archive_all, [1])
        tables.wait_until_a_lock_is_in_the_way()
        service.signal(signal.SIGTERM)
        time.sleep(0.5)
        os.killpg(service.pid, signal.SIGSTOP)
        time.sleep(8)
        os.killpg(service.pid, signal.SIGCONT)
        assert request.result().status_code == 503
        assert service.stop() == 0
        assert "worker does not stop" not in service.log
    assert tables.both() == before


def test_nothing_is_left_when_the_first_process_is_killed(environment: dict[str, str], folder: Path) -> None:
    with ServiceProcess({**environment, "WORKERS": "2", "TMPDIR": str(folder)}) as service:
        assert len(list(folder.iterdir())) == 1
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        assert not service.anything_left()
        assert list(folder.iterdir()) == []


def test_what_is_left_when_all_processes_are_killed_is_deleted_at_the_next_start(
    environment: dict[str, str], folder: Path
) -> None:
    settings = {**environment, "WORKERS": "2", "TMPDIR": str(folder)}
    with ServiceProcess(settings) as service:
        os.killpg(service.pid, signal.SIGKILL)
        service.stop()
        assert not service.anything_left()
    (stale,) = folder.iterdir()
    with ServiceProcess(settings), ServiceProcess(settings) as other:
        assert len(list(folder.iterdir())) == 2  # each has its own folder, and neither takes the other's for stale
        assert not stale.exists()
        assert other.stop() == 0
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []
