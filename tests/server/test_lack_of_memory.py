"""A process that lacks memory keeps no connection that it cannot serve, ends if it can serve nobody, and stops in time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from support.api import Api
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables
from support.waiting import wait_until
from support.wire import Connection

from service.archive import pace, turns
from service.observability import logs
from service.server import connections, memory_watch
from service.server.memory_watch import MOST_FAILURES, MemoryWatch

LACKS_MEMORY = """
import os, pathlib
from service.api import middleware
from service.server import connections, http_protocol, memory_watch, serve
from service.__main__ import main

memory_watch.MEMORY_TIMEOUT = 1
serve.LONGEST_STOP = -28  # 3 seconds after a signal, with REQUEST_TIMEOUT at its default
made = WHERE
flag = pathlib.Path("FLAG")

def lacks_memory(self, *arguments, **named):
    if flag.exists() and flag.read_text() in ("", str(os.getpid())):
        raise MemoryError
    return made(self, *arguments, **named)

WHERE = lacks_memory
main([])
"""


def lacking(where: str, flag: Path) -> tuple[str, ...]:
    """Return the arguments of Python for a service in which a method fails for lack of memory as long as a file exists: in all
    processes, or in the one whose id is in the file."""
    return "-c", LACKS_MEMORY.replace("WHERE", where).replace("FLAG", str(flag))


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "memory is lacking"


def attempt(service: ServiceProcess) -> bool:
    """Connect, and return whether a request is answered."""
    try:
        return service.get("/livez")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "where",
    [
        "connections.Connections.add",
        "connections.Connections.make_room",
        "http_protocol.SlowReader.__init__",
        "http_protocol.Protocol._expect_head",
    ],
)
def test_a_connection_that_cannot_be_served_is_closed(
    tables: Tables, environment: dict[str, str], flag: Path, where: str
) -> None:
    tables.live(1)
    before, _ = tables.both()
    with ServiceProcess(environment, lacking(where, flag)) as service:
        flag.write_text("")
        for _ in range(3):
            with closing(Connection(service)) as connection:
                connection.socket.settimeout(3)  # less than HEAD_TIMEOUT
                assert connection.rest() == b""
        flag.unlink()
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
    assert tables.both() == ({}, before)


def test_an_answer_that_cannot_be_made_is_the_contracts_500(tables: Tables, environment: dict[str, str], flag: Path) -> None:
    tables.live(1)
    before, _ = tables.both()
    with (
        ServiceProcess(environment, lacking("middleware.send_in_parts", flag)) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        flag.write_text("")
        answer = Api(client).archive_all([1])
        flag.unlink()
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/json")
        assert answer.json() == {"message": "internal error; no lead is lost, and the request can be repeated"}
        assert Api(client).archive_all([1]).json()["select_count"] == 0
    assert tables.both() == ({}, before)


def test_a_service_that_can_serve_nobody_ends(environment: dict[str, str], flag: Path) -> None:
    with ServiceProcess(environment, lacking("connections.Connections.make_room", flag)) as service:
        flag.write_text("")
        began = time.monotonic()
        assert service._process
        while service._process.poll() is None:
            assert time.monotonic() - began < 1 + SLACK
            attempt(service)
            time.sleep(0.1)
        assert service._process.returncode == 1
        assert "no memory left" in service.log


UNHANDLED = """
import pathlib, threading
from service.server import serve
from service.__main__ import main

class Finalized:
    def __del__(self):
        raise MemoryError

def fail():
    raise MemoryError

async def on_tick(self, counter):
    if pathlib.Path("FLAG").exists():
        WHAT
    return self.should_exit

serve.Server.on_tick = on_tick
main([])
"""


@pytest.mark.parametrize("what", ["Finalized()", "threading.Thread(target=fail).start()", "fail()"])
def test_a_lack_of_memory_that_nothing_handles_ends_the_process(environment: dict[str, str], flag: Path, what: str) -> None:
    script = UNHANDLED.replace("WHAT", what).replace("FLAG", str(flag))
    with ServiceProcess(environment, ("-c", script)) as service:
        flag.write_text("")
        assert service._process
        assert service._process.wait(PATIENCE) == 1


def test_a_worker_that_can_serve_nobody_is_replaced(tables: Tables, environment: dict[str, str], flag: Path) -> None:
    tables.live(1)
    before, _ = tables.both()
    command = lacking("connections.Connections.make_room", flag)
    with ServiceProcess({**environment, "WORKERS": "2"}, command) as service:
        worker = service.workers[0]
        flag.write_text(str(worker))
        deadline = time.monotonic() + PATIENCE
        while not any(line["event"] == "worker ended" for line in service.log_lines):
            assert time.monotonic() < deadline
            attempt(service)
            time.sleep(0.05)
        (ended,) = service.wait_for_line("worker ended")
        assert (ended["worker"], ended["status"]) == (worker, 1)
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        assert service.stop() == 0
    assert tables.both() == ({}, before)


def test_a_process_that_has_no_memory_to_stop_ends_all_the_same(environment: dict[str, str], flag: Path) -> None:
    with ServiceProcess(environment, lacking("serve.Server.stop", flag)) as service:
        flag.write_text("")
        service.signal(signal.SIGTERM)
        time.sleep(2)
        began = time.monotonic()
        assert service.stop() == -signal.SIGALRM  # the second signal does not make it longer
        assert time.monotonic() - began < 1.5 + SLACK


ONCE = """
import pathlib
from service.archive import turns
from service.observability import metrics
from service.__main__ import main

made = WHERE
flag = pathlib.Path("FLAG")

def lacks_memory(self, *arguments, **named):
    if flag.exists():
        flag.unlink()
        raise MemoryError
    return made(self, *arguments, **named)

WHERE = lacks_memory
main([])
"""


@pytest.mark.parametrize("where", ["turns.Turns.release", "metrics.Gauge.track_inprogress", "turns.Turns._admit"])
def test_a_turn_that_is_lost_for_lack_of_memory_does_not_keep_all_others_waiting(
    tables: Tables, environment: dict[str, str], flag: Path, where: str
) -> None:
    """PACE=gentle: there is one turn. Without memory to give it back, the process ends."""
    tables.live(1, 2, 3)
    before, _ = tables.both()
    script = ONCE.replace("WHERE", where).replace("FLAG", str(flag))
    settings = {**environment, "PACE": "gentle", "REQUEST_TIMEOUT": "5"}
    with ServiceProcess(settings, ("-c", script)) as service:
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client, suppress(httpx2.TransportError):
            flag.write_text("")
            assert Api(client).archive_all([1]).status_code in {200, 500}
        wait_until(lambda: not flag.exists())
        time.sleep(1.5)  # longer than a rest
        assert service._process
        if where == "turns.Turns.release":
            assert service._process.wait(PATIENCE) == 1
            assert "no memory left" in service.log
            return
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert [Api(client).archive_all([lead_id]).status_code for lead_id in (1, 2, 3)] == [200] * 3
        assert service.stop() == 0
    assert tables.both() == ({}, before)


class EndedError(BaseException):
    pass


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """EndedError is raised where the process would end."""

    def end() -> None:
        raise EndedError

    for module in (memory_watch, connections, pace, turns):
        monkeypatch.setattr(module, "end_for_lack_of_memory", end)


@pytest.mark.usefixtures("ends")
def test_a_task_that_is_not_woken_up_for_lack_of_memory_ends_the_process() -> None:
    async def wake_up_names() -> list[str]:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await waiting

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        names = [repr(callback) for callback, *_ in waiting._callbacks]
        waiting.set_result(None)
        await task
        return names

    (name,) = asyncio.run(wake_up_names())
    context = {"message": f"Exception in callback {name}", "exception": MemoryError(), "handle": None}
    with pytest.raises(EndedError):
        MemoryWatch(lambda: 0)._on_exception(SimpleNamespace(default_exception_handler=print), context)  # type: ignore[arg-type]


@pytest.mark.usefixtures("ends")
def test_a_process_ends_that_has_no_memory_to_open_its_door_again() -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    acceptor = connections.Acceptor.__new__(connections.Acceptor)
    acceptor._loop = SimpleNamespace(call_later=fail, add_reader=fail)  # type: ignore[assignment]
    acceptor._listener = SimpleNamespace(fileno=lambda: 1)  # type: ignore[assignment]
    acceptor._is_open = True
    with pytest.raises(EndedError):
        acceptor._pause(OSError())
    with pytest.raises(EndedError):
        acceptor._resume()


@pytest.mark.usefixtures("ends")
def test_a_process_ends_that_does_not_know_who_has_a_turn() -> None:
    class Fails:
        def __next__(self) -> int:
            raise MemoryError

    async def take() -> None:
        waiting = turns.Turns(1)
        waiting._numbers = Fails()  # type: ignore[assignment]
        await waiting.take("tests")

    with pytest.raises(EndedError):
        asyncio.run(take())


def test_memory_that_lacks_now_and_then_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(memory_watch, "MEMORY_TIMEOUT", 0)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logs.WRITER, "drain", lambda: None)
    answers = [0]
    watch = MemoryWatch(lambda: len(answers))
    for _ in range(3):
        for _ in range(MOST_FAILURES):
            watch.note_failure()
        answers.append(0)
    for _ in range(MOST_FAILURES):
        watch.note_failure()
    with pytest.raises(AssertionError):
        watch.note_failure()
