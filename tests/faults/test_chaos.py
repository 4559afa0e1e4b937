"""Crashes, cuts and freezes under load: after each, no lead is lost, and the service serves again by itself.

LEAD_ARCHIVE_CHAOS_ROUNDS sets how many rounds there are; scripts/chaos runs fifty and prints what came of them.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pymysql
import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.auditor import Line, answer, ask, read
from support.databases import create_database, migrate
from support.dialler import Dialler, assert_no_lead_is_lost
from support.paths import SCRATCH
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables

ROUNDS = int(os.environ.get("LEAD_ARCHIVE_CHAOS_ROUNDS", "6"))
SEED = int(os.environ.get("LEAD_ARCHIVE_CHAOS_SEED", str(random.randrange(10**6))))

REQUEST_TIMEOUT = 3
RETURN_TIMEOUT = 10
"""Seconds within which the service serves again once all that it needs is back."""
POOL_SIZE = 4
LEADS = range(1, 1501)
PAIRS = [("InnoDB", "InnoDB"), ("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("Aria", "InnoDB"), ("InnoDB", "MyISAM")]


class World:
    """A database server, a service, and what clients saw of it."""

    def __init__(self, server: PrivateMariaDB, tables: Tables, service: ServiceProcess) -> None:
        self.server = server
        self.tables = tables
        self.service = service
        self.answers: Counter[str] = Counter()
        self.deleted = 0
        self.slowest = 0.0
        self.service_was_killed = False
        self.problems: list[str] = []

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.service.base_url, timeout=REQUEST_TIMEOUT + 5 + SLACK)

    def move_at_random(self, seed: int, stop: threading.Event, *moves: str) -> None:
        """Make moves of the Api by chance. Batches overlap, so that they wait for each other, and repeat what others did."""
        rng = random.Random(seed)
        with self.client() as client:
            api = Api(client)
            while not stop.is_set():
                first = rng.randrange(LEADS.start, LEADS.stop - 40)
                self.call(getattr(api, rng.choice(moves)), rng.sample(range(first, first + 40), 20))

    def call(self, move: Callable[[list[int]], httpx2.Response], lead_ids: list[int]) -> None:
        started = time.monotonic()
        try:
            response = move(lead_ids)
        except httpx2.TransportError as error:
            self.answers["none"] += 1
            if not self.service_was_killed:
                self.problems.append(f"a request got no answer: {error!r}")
            time.sleep(0.05)
            return
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.answers[str(response.status_code)] += 1
        if response.status_code == 200:
            self.deleted += response.json()["delete_count"]


def nothing_happens(_: World, rng: random.Random) -> None:
    time.sleep(rng.uniform(0, 1))


def kill_the_service(world: World, _: random.Random) -> None:
    world.service_was_killed = True
    world.service.stop(signal.SIGKILL)
    world.service.__enter__()


def kill_the_database(world: World, rng: random.Random) -> None:
    world.server.kill()
    time.sleep(rng.uniform(0, 1))
    world.server.start()


def cut_connections(world: World, rng: random.Random) -> None:
    with world.server.connect() as connection, connection.cursor() as cursor:
        for _ in range(20):
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db IS NOT NULL")
            for (number,) in cursor.fetchall():
                if rng.random() < 0.5:
                    with suppress(pymysql.err.MySQLError):  # it has ended by itself
                        cursor.execute(f"KILL {rng.choice(['HARD', 'SOFT'])} CONNECTION {number}")
            time.sleep(0.05)


def freeze_the_database(world: World, rng: random.Random) -> None:
    os.kill(world.server.pid, signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, REQUEST_TIMEOUT + 2))
    os.kill(world.server.pid, signal.SIGCONT)


def kill_a_worker(world: World, rng: random.Random) -> None:
    workers = Path(f"/proc/{world.service.pid}/task/{world.service.pid}/children").read_text().split()
    os.kill(int(rng.choice(workers)), signal.SIGKILL)


def kill_the_parent(world: World, _: random.Random) -> None:
    """The workers end in order then, and free the port."""
    world.service.stop(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while world.service.anything_left():
        assert time.monotonic() < deadline
    world.service.__enter__()


def kill_all_processes(world: World, _: random.Random) -> None:
    os.killpg(world.service.pid, signal.SIGKILL)
    world.service.stop(signal.SIGKILL)
    world.service.__enter__()


DISASTERS = [kill_the_service, kill_the_database, cut_connections, freeze_the_database, nothing_happens]


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateMariaDB]:
    """A server of its own, which writes to disk before it says that it did."""
    options = ("--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M", "--innodb-flush-log-at-trx-commit=1")
    with TemporaryDirectory(dir=SCRATCH) as folder, PrivateMariaDB(Path(folder), options) as server:
        create_database(server, "chaos")
        migrate(server.url("chaos"), "head")
        yield server


@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_lead_is_lost_whatever_breaks(
    server: PrivateMariaDB, keys_file: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{SEED} {number}")
    disaster = DISASTERS[number % len(DISASTERS)]
    # What a crash of the server itself does to tables without a log is not for this service to promise.
    engines = PAIRS[0] if disaster is kill_the_database else PAIRS[number // len(DISASTERS) % len(PAIRS)]
    tables = Tables(server, "chaos")
    for table, engine in zip(("vicidial_list", "vicidial_list_archive"), engines, strict=True):
        tables.execute(f"TRUNCATE {table}")
        tables.execute(f"ALTER TABLE {table} ENGINE = {engine}")
    tables.live(*LEADS)
    tables.archived(*LEADS[::3], status="NEW")
    environment = {
        "DATABASE_URL": server.url("chaos"),
        "API_KEYS_FILE": str(keys_file),
        "OFFICE_HOURS": "none",
        "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
    }
    stop = threading.Event()
    with ServiceProcess(environment) as service:
        world = World(server, tables, service)
        clients = [
            threading.Thread(target=world.move_at_random, args=(rng.random(), stop, "archive_all"), daemon=True)
            for _ in range(2 * POOL_SIZE)
        ]
        with Dialler(server, "chaos", LEADS, seed=number) as dialler:
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.1, 1))
            disaster(world, rng)
            recovered = seconds_until_all_slots_serve(world)
            stop.set()
            for client in clients:
                client.join()

    tables = Tables(server, "chaos")
    at_least, at_most = assert_no_lead_is_lost(tables, dialler)
    tables.close()
    for name, value in {
        "disaster": disaster.__name__.replace("_", " "),
        "engines": "-".join(engines),
        "answers": dict(sorted(world.answers.items())),
        "slowest": round(world.slowest, 1),
        "recovered": round(recovered, 1),
        "deleted": at_most,
    }.items():
        record_property(name, value)
    assert world.problems == []
    # 404: a lead that the dialler itself deleted.
    assert world.answers.keys() <= {"200", "404", "503", "none"}, service.log[-3000:]
    assert world.slowest < REQUEST_TIMEOUT + 1 + SLACK
    # What a batch did whose answer was lost or was 503 is counted nowhere.
    assert world.deleted <= at_most
    if world.answers.keys() <= {"200", "404"}:
        assert world.deleted >= at_least
    assert world.answers["200"] > 0


def seconds_until_all_slots_serve(world: World) -> float:
    """Wait until as many requests as the pool has slots are served at the same time."""
    started = time.monotonic()
    with ThreadPoolExecutor(POOL_SIZE) as executor, world.client() as client:
        while True:
            try:
                answers = list(executor.map(lambda _: client.get("/readyz").status_code, range(POOL_SIZE)))
            except httpx2.TransportError:
                answers = []
            if answers == [200] * POOL_SIZE:
                return time.monotonic() - started
            assert time.monotonic() - started < RETURN_TIMEOUT + SLACK, "the service did not come back"
            time.sleep(0.05)


TO_AND_FRO = ("archive_all", "archive_all", "dearchive_all")

AUDITED_DISASTERS = [kill_a_worker, cut_connections, kill_the_parent, kill_a_worker, cut_connections, kill_all_processes]


@pytest.mark.parametrize("number", range(max(1, ROUNDS // 6)))
def test_the_audit_tells_where_every_lead_went_whatever_is_killed(
    server: PrivateMariaDB, keys_file: Path, tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{SEED} audit {number}")
    tables = Tables(server, "chaos")
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"TRUNCATE {table}")
        tables.execute(f"ALTER TABLE {table} ENGINE = InnoDB")
    tables.live(*LEADS)
    file = tmp_path / "audit.jsonl"
    environment = {
        "DATABASE_URL": server.url("chaos"),
        "API_KEYS_FILE": str(keys_file),
        "OFFICE_HOURS": "none",
        "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "WORKERS": "2",
        "AUDIT_LOG": str(file),
    }
    stop = threading.Event()
    with ServiceProcess(environment) as service, Dialler(server, "chaos", LEADS, seed=number, deletes=False):
        world = World(server, tables, service)
        world.service_was_killed = True
        clients = [
            threading.Thread(target=world.move_at_random, args=(rng.random(), stop, *TO_AND_FRO), daemon=True)
            for _ in range(2 * POOL_SIZE)
        ]
        for client in clients:
            client.start()
        for disaster in AUDITED_DISASTERS:
            time.sleep(rng.uniform(0.5, 1.5))
            disaster(world, rng)
        recovered = seconds_until_all_slots_serve(world)
        stop.set()
        for client in clients:
            client.join()
        assert service.stop() == 0

    tables = Tables(server, "chaos")  # the connection of before was cut, too
    live, archived = (set(ids) & set(LEADS) for ids in tables.ids())
    tables.close()
    lines = read(file)
    answers = {lead_id: answer(lines, lead_id) for lead_id in LEADS}
    moved = Counter(str(line["moved"]) for answer in answers.values() for line in answer)
    for name, value in {
        "disaster": "kills, audited",
        "engines": "InnoDB-InnoDB",
        "answers": {**world.answers, **{f"moved {name}": count for name, count in moved.items()}},
        "slowest": round(world.slowest, 1),
        "recovered": round(recovered, 1),
        "deleted": world.deleted,
    }.items():
        record_property(name, value)
    for lead_id in LEADS:
        assert (lead_id in live) != (lead_id in archived)
        assert ("archive" if lead_id in archived else "dearchive") in possible(answers[lead_id]), answers[lead_id]
    # Not known: only what was under way at a kill.
    assert 0 < moved["None"] < moved["True"]
    assert world.answers.keys() <= {"200", "503", "none"}
    for lead_id in rng.sample(LEADS, 10):
        assert ask(tmp_path, lead_id) == answers[lead_id]


def possible(answers: list[Line]) -> set[str]:
    """The operations of which one must have moved a lead last, by what the audit says of it. A lead that was in vicidial_list
    all the time counts as brought back."""
    places = {"dearchive"}
    for line in answers:
        there, away = ("dearchive", "archive") if line["operation"] == "archive" else ("archive", "dearchive")
        assert there in places, f"{line} names a lead that was not there: {answers}"
        places = {True: {away}, False: {there}, None: {there, away}}[line["moved"]]
    return places
