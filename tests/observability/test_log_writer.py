"""A log that cannot be written changes neither answers nor leads, and does not delay the end of the service."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from support.api import Api
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

from service.observability.log_writer import CUT_OFF, NOT_READ, LogWriter

REQUESTS = 2_000
"""Six times as many as filled a pipe of 64 KiB."""

SMALL_QUEUE = """
from service.observability import logs
from service.__main__ import main

logs.WRITER._limit = 100_000
main([])
"""


class Reader:
    """Whoever reads the log, line by line, from the moment that it is started."""

    def __init__(self, descriptor: int) -> None:
        self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115
        self._text = ""
        self.pause = 0.0
        """Seconds after each page that it reads."""
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        content = b""
        while page := self._file.read(4096 if self.pause else None):
            content += page
            time.sleep(self.pause)
        self._text = content.decode()

    def start(self) -> None:
        self._thread.start()

    def lines(self) -> list[Any]:
        """Return all lines. The writing ends of the pipe must be closed."""
        self._thread.join(PATIENCE)
        self._file.close()
        return [json.loads(line) for line in self._text.splitlines()]


@contextlib.contextmanager
def log_pipe() -> Iterator[tuple[Reader, int]]:
    """A pipe whose reader does not read yet, and its other end."""
    read_end, write_end = os.pipe()
    reader = Reader(read_end)
    try:
        yield reader, write_end
    finally:
        with contextlib.suppress(OSError):
            os.close(write_end)
        if not reader._file.closed:
            reader._file.close()


def figure(api: Api, name: str) -> float:
    families = parse(api.get("/metrics").text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def use(service: ServiceProcess, tables: Tables) -> float:
    """Archive leads between thousands of requests, check the answers and the rows, and return how many lines were lost."""
    leads = list(range(1, REQUESTS // 100 + 1))
    tables.live(*leads)
    before, _ = tables.both()
    with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
        api = Api(client)
        for lead in leads:
            for _ in range(REQUESTS // len(leads)):
                assert api.get("/livez").status_code == 200
            answer = api.archive_all([lead])
            assert (answer.status_code, answer.json()["delete_count"]) == (200, 1)
            assert len(answer.headers["X-Request-ID"]) == 32
        assert tables.both() == ({}, before)
        assert figure(api, "http_requests_total") >= REQUESTS + len(leads)
        assert figure(api, "leads_deleted_total") == len(leads)
        return figure(api, "log_lines_lost_total")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reader_that_stops_delays_no_answer_and_no_end(tables: Tables, environment: dict[str, str], workers: str) -> None:
    with log_pipe() as (reader, write_end):
        with ServiceProcess({**environment, "WORKERS": workers}, stderr=write_end) as service:
            assert use(service, tables) == 0
            assert service.stop() == 0
            assert not service.anything_left()
        os.close(write_end)
        reader.start()
        lines = reader.lines()

    assert 0 < len(lines) < REQUESTS
    assert {line["level"] for line in lines} == {"info"}


def test_a_reader_that_goes_on_finds_all_lines_that_fitted_in_order_and_how_many_did_not(
    tables: Tables, environment: dict[str, str]
) -> None:
    with log_pipe() as (reader, write_end):
        with ServiceProcess(environment, ("-c", SMALL_QUEUE), stderr=write_end) as service:
            lost = use(service, tables)
            assert lost > 0
            reader.start()
            assert service.stop() == 0
        os.close(write_end)
        lines = reader.lines()

    (told,) = [number for number, line in enumerate(lines) if line["event"] == "log lines lost"]
    assert (lines[told]["level"], lines[told]["error"]) == ("error", NOT_READ)
    assert lines[told]["lines"] >= lost
    assert lines[told - 1]["timestamp"] <= lines[told]["since"].replace("+00:00", "Z") <= lines[told]["timestamp"]
    assert lines[-1]["event"].startswith("Finished server process")
    timestamps = [line["timestamp"] for line in lines]
    assert timestamps == sorted(timestamps)
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/metrics"]
    archived = [line for line in lines if line["event"] in {"archive intended", "leads archived"}]
    written = len(requests) + len(archived)
    made = REQUESTS + 3 * REQUESTS // 100
    polled = 1 + sum(line["path"] == "/livez" for line in requests) - len(requests)  # at least once, by ServiceProcess
    assert made + polled <= written + lines[told]["lines"] <= made + 10


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("log", ["pipe without a reader", "/dev/full"])
def test_a_log_that_cannot_be_written_changes_no_answer(
    tables: Tables, environment: dict[str, str], log: str, workers: str
) -> None:
    with contextlib.ExitStack() as stack:
        if log == "/dev/full":
            descriptor = stack.enter_context(open(log, "wb")).fileno()
        else:
            reader, descriptor = stack.enter_context(log_pipe())
            reader._file.close()
        with ServiceProcess({**environment, "WORKERS": workers}, stderr=descriptor) as service:
            assert use(service, tables) >= REQUESTS
            assert service.stop() == 0
            assert not service.anything_left()


def test_workers_tear_no_line_of_each_other_and_hide_no_loss(tables: Tables, environment: dict[str, str]) -> None:
    """Their lines about batches of 500 leads are longer than what a pipe takes in one piece."""
    leads = range(1, 2_001)
    tables.live(*leads)
    before, _ = tables.both()
    with log_pipe() as (reader, write_end):
        reader.pause = 0.05
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 2 * select.PIPE_BUF)  # it is full most of the time
        with ServiceProcess({**environment, "WORKERS": "2"}, stderr=write_end) as service:
            reader.start()

            def move(first: int) -> list[httpx2.Response]:
                ids = list(range(first, first + 500))
                with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
                    api = Api(client)
                    return [answer for _ in range(6) for answer in (api.archive_all(ids), api.dearchive_all(ids))]

            with ThreadPoolExecutor(4) as executor:
                answers = [answer for answers in executor.map(move, leads[::500]) for answer in answers]
            reader.pause = 0  # the end of a process waits for two seconds only
            assert service.stop() == 0
        os.close(write_end)
        lines = reader.lines()

    assert [(answer.status_code, answer.json()["delete_count"]) for answer in answers] == [(200, 500)] * 48
    assert tables.both() == (before, {})
    lost = sum(line["lines"] for line in lines if line["event"] == "log lines lost")
    audited = [line for line in lines if "batch_id" in line]
    assert {line["request_id"] for line in audited} <= {answer.headers["X-Request-ID"] for answer in answers}
    assert len(audited) + lost >= 2 * 48
    assert lost == 0


def run(script: str, stderr: int | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a script to its end, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stderr is None else stderr,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def events(output: bytes) -> list[Any]:
    return [json.loads(line)["event"] for line in output.splitlines()]


LOG = """
import logging, multiprocessing, os, resource, sys, threading, time, warnings
import structlog
from service.observability import logs

logger = structlog.get_logger()
logs.configure("info")
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "raise SystemExit(0)"])
def test_the_last_lines_of_a_process_are_written_in_order(end: str) -> None:
    logged = "for number in range(5_000): (logger.info if number % 2 else logging.getLogger('x').info)(str(number))\n"

    result = run(LOG + logged + end)

    assert result.returncode == 0
    assert events(result.stderr) == [str(number) for number in range(5_000)]


@pytest.mark.parametrize("how", ["fork", "spawn", "os.fork"])
def test_each_process_writes_its_own_lines(how: str) -> None:
    # The parent's thread waits for a pipe that is full when the child starts.
    script = LOG + (
        """
logger.info("parent, before")
pid = os.fork()
logger.info("child" if pid == 0 else "parent, after")
if pid:
    os.waitpid(pid, 0)
"""
        if how == "os.fork"
        else f"""
logger.info("parent, before")
child = multiprocessing.get_context({how!r}).Process(target=child_logs.log)
child.start()
child.join()
logger.info("parent, after")
"""
    )
    script = "import sys\nsys.path.insert(0, 'tests')\nfrom support import child_logs\n" + script

    result = run(script)

    assert sorted(events(result.stderr)) == ["child", "parent, after", "parent, before"]


def test_what_cannot_be_written_for_a_while_is_told_of_and_no_line_stays_torn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    # A limit on the size of files stands for a disk that is full: the write that reaches it is cut, those after it fail.
    script = LOG + (
        """
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

limit(2_000)
for number in range(100):
    logger.info(f"line {number}")
    logs.WRITER.drain()
limit(resource.RLIM_INFINITY)
logger.info("afterwards")
"""
    )
    with path.open("wb") as file:
        assert run(script, file.fileno()).returncode == 0

    *before, torn, told, after = path.read_text().splitlines()
    assert events("\n".join(before).encode()) == [f"line {number}" for number in range(len(before))]
    assert 0 < len(before) < 100
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(torn)
    loss = json.loads(told)
    assert (loss["event"], loss["lines"], loss["error"]) == ("log lines lost", 100 - len(before), "File too large")
    assert events(after.encode()) == ["afterwards"]


def test_a_process_whose_standard_error_is_closed_goes_on() -> None:
    script = LOG + "logger.info('x')\nlogging.getLogger().error('y')\nlogs.WRITER.drain()\nprint('done')"

    result = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )

    assert (result.returncode, result.stdout) == (0, b"done\n")


def test_a_line_that_cannot_be_rendered_is_lost_and_raises_nothing() -> None:
    script = LOG + (
        """
class Unprintable:
    def __repr__(self):
        raise RuntimeError("the defect")

logger.info("ours", value=Unprintable())
logging.getLogger("x").info("%s", Unprintable())
logging.getLogger("x").info("%d", "no number")
logger.info("\\ud800")
"""
    )

    result = run(script)

    assert result.returncode == 0
    told, last = map(json.loads, result.stderr.splitlines())
    assert (told["event"], told["lines"]) == ("log lines lost", 3)
    assert told["error"].startswith("cannot be rendered: ")
    assert last["event"] == "\ud800"


def test_what_python_prints_itself_is_a_line_of_the_log() -> None:
    script = LOG + (
        """
class Failing:
    def __del__(self):
        raise RuntimeError("one")

def fail():
    raise RuntimeError("two")

Failing()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
warnings.warn("three")
raise RuntimeError("four")
"""
    )

    result = run(script)

    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["error", "error", "warning", "error"]
    for line, number in zip(lines, ("one", "two", "three", "four"), strict=True):
        assert number in line.get("exception", "") + line["event"]


@pytest.mark.parametrize("blocking", [True, False])
def test_the_end_waits_only_so_long_and_a_reader_that_comes_late_finds_each_line(blocking: bool) -> None:
    with log_pipe() as (reader, write_end):
        os.set_blocking(write_end, blocking)
        writer = LogWriter(str)
        writer.descriptor = write_end
        for number in range(100):
            writer.write(json.dumps([number, "x" * 4_000]))
        writer.drain(0.1)  # or it would not return

        reader.start()
        writer.drain(PATIENCE)
        os.close(write_end)

        assert [line[0] for line in reader.lines()] == list(range(100))


WRITERS = """
import fcntl, json, os, struct, sys, time
from service.observability.log_writer import LogWriter

writer = LogWriter(lambda loss: json.dumps(["lost", loss.lines, loss.error]))
go = os.pipe()
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        os.close(go[1])
        os.read(go[0], 1)
        for number in range(20):
            writer.write(json.dumps([child, number, "x" * 10_000]))
        writer.drain(60)
        os._exit(0)
    children.append(pid)
os.close(go[1])
flock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
writing = 0
while not writing and len(sys.argv) > 1:
    *_, writing = struct.unpack("hhqqi", fcntl.fcntl(writer._shared._file, fcntl.F_GETLK, flock))
if writing:
    time.sleep(0.5)  # until the pipe is full
    *_, writing = struct.unpack("hhqqi", fcntl.fcntl(writer._shared._file, fcntl.F_GETLK, flock))
    os.kill(writing, int(sys.argv[1]))
print(writing, *children, flush=True)
for pid in children:
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_long_lines_of_several_processes_stay_whole_and_none_waits_for_one_that_was_killed(
    number: signal.Signals | None,
) -> None:
    with log_pipe() as (reader, write_end):
        arguments = [str(int(number))] if number else []
        process = subprocess.Popen(
            [sys.executable, "-c", WRITERS, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=write_end
        )
        os.close(write_end)
        assert process.stdout
        writing, *children = [int(pid) for pid in process.stdout.readline().split()]
        reader.pause = 0.001
        reader.start()
        assert process.wait(PATIENCE) == 0
        process.stdout.close()
        reader._thread.join(PATIENCE)
        texts = reader._text.splitlines()

    lines, torn = [], 0
    for text in texts:
        try:
            lines.append(json.loads(text))
        except ValueError:
            torn += 1
    lost = sum(line[1] for line in lines if line[0] == "lost")
    assert torn == lost <= (number is not None)
    assert {line[2] for line in lines if line[0] == "lost"} <= {CUT_OFF}
    written = [(line[0], line[1]) for line in lines if line[0] != "lost"]
    whole = [child for child, pid in enumerate(children) if number != signal.SIGKILL or pid != writing]
    for child in whole:
        assert [line[1] for line in written if line[0] == child] == list(range(20))
