"""Crashes, lost connections and frozen processes under load: after each, no lead is lost, and the service recovers by itself.

LEAD_ARCHIVE_CHAOS_ROUNDS sets the number of rounds. scripts/chaos runs fifty and prints their results.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pymysql
import pytest
from mariadb import PrivateMariaDB
from support.auditor import Line, answer, ask, read
from support.clients import Batch, Clients
from support.databases import create_database, migrate
from support.dialler import Dialler, assert_no_lead_is_lost
from support.paths import SCRATCH
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables

ROUNDS = int(os.environ.get("LEAD_ARCHIVE_CHAOS_ROUNDS", "6"))
SEED = int(os.environ.get("LEAD_ARCHIVE_CHAOS_SEED", str(random.randrange(10**6))))

REQUEST_TIMEOUT = 3
RETURN_TIMEOUT = 10
"""Seconds within which the service must serve again when everything that it needs is back."""
POOL_SIZE = 4
LEADS = range(1, 1501)
DATABASE = "chaos"
PAIRS = [("InnoDB", "InnoDB"), ("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("Aria", "InnoDB"), ("InnoDB", "MyISAM")]


@dataclass
class World:
    """A database server, a service, and its clients."""

    server: PrivateMariaDB
    service: ServiceProcess
    clients: Clients


def archive(rng: random.Random) -> Batch:
    """Return a batch to archive. Batches overlap, so that they wait for each other and repeat each other's work."""
    first = rng.randrange(LEADS.start, LEADS.stop - 40)
    return rng.choice(["archive_all", "archive_if_active"]), rng.sample(range(first, first + 40), 20)


def archive_or_dearchive(rng: random.Random) -> Batch:
    """Return a batch to archive, or, one time in three, to dearchive."""
    method, lead_ids = archive(rng)
    return rng.choice([method, method, "dearchive_all"]), lead_ids


@contextmanager
def running(
    server: PrivateMariaDB,
    settings: dict[str, str],
    dialler: Dialler,
    draw: Callable[[random.Random], Batch],
    seed: int,
) -> Iterator[World]:
    """Run a service, the dialler, and twice as many clients as the pool has slots."""
    settings = {
        "DATABASE_URL": server.url(DATABASE),
        "OFFICE_HOURS": "none",
        "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        **settings,
    }
    with ServiceProcess(settings) as service, dialler:
        clients = Clients(service, draw, threads=2 * POOL_SIZE, timeout=REQUEST_TIMEOUT + 5 + SLACK, seed=seed)
        with clients:
            yield World(server, service, clients)


def set_up(server: PrivateMariaDB, engines: tuple[str, str]) -> Tables:
    """Empty both tables, set their engines, and add the leads to vicidial_list."""
    tables = Tables(server, DATABASE)
    for table, engine in zip(("vicidial_list", "vicidial_list_archive"), engines, strict=True):
        tables.execute(f"TRUNCATE {table}")
        tables.execute(f"ALTER TABLE {table} ENGINE = {engine}")
    tables.execute("INSERT IGNORE INTO vicidial_lists (list_id, campaign_id, active) VALUES (998, 'SPRING', 'Y')")
    tables.live(*LEADS)
    return tables


def nothing_happens(_: World, rng: random.Random) -> None:
    time.sleep(rng.uniform(0, 1))


def kill_the_service(world: World, _: random.Random) -> None:
    world.clients.may_lose_answers = True
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
    """Kill the first process. The workers shut down by themselves, and free the port."""
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
    """A server of its own, which flushes each commit to disk."""
    options = ("--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M", "--innodb-flush-log-at-trx-commit=1")
    with TemporaryDirectory(dir=SCRATCH) as folder, PrivateMariaDB(Path(folder), options) as server:
        create_database(server, DATABASE)
        migrate(server.url(DATABASE), "head")
        yield server


@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_lead_is_lost_whatever_breaks(
    server: PrivateMariaDB, keys_file: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{SEED} {number}")
    disaster = DISASTERS[number % len(DISASTERS)]
    # The service promises nothing about a server crash with tables that have no transaction log.
    engines = PAIRS[0] if disaster is kill_the_database else PAIRS[number // len(DISASTERS) % len(PAIRS)]
    tables = set_up(server, engines)
    tables.archived(*LEADS[::3], status="NEW")
    dialler = Dialler(server, DATABASE, LEADS, seed=number)
    with running(server, {"API_KEYS_FILE": str(keys_file)}, dialler, archive, number) as world:
        time.sleep(rng.uniform(0.1, 1))
        disaster(world, rng)
        recovered = seconds_until_all_slots_serve(world)

    tables = Tables(server, DATABASE)
    clients = world.clients
    at_least, at_most = assert_no_lead_is_lost(tables, dialler)
    tables.close()
    record(
        record_property,
        clients,
        disaster=disaster.__name__.replace("_", " "),
        engines="-".join(engines),
        recovered=round(recovered, 1),
        deleted=at_most,
    )
    assert clients.problems == []
    # 404: a lead that the dialler itself deleted.
    assert clients.answers.keys() <= {"200", "404", "503", "none"}
    assert clients.slowest < REQUEST_TIMEOUT + 1 + SLACK
    # The leads that a batch moved are not counted if its answer was lost or was 503.
    assert clients.deleted <= at_most
    if clients.answers.keys() <= {"200", "404"}:
        assert clients.deleted >= at_least
    assert clients.answers["200"] > 0


def record(record_property: Callable[[str, object], None], clients: Clients, **properties: object) -> None:
    """Record the actions and results of a round for the table at the end of the run."""
    seen = {"answers": dict(sorted(clients.answers.items())), "slowest": round(clients.slowest, 1)}
    for name, value in {**seen, **properties}.items():
        record_property(name, value)


def seconds_until_all_slots_serve(world: World) -> float:
    """Wait until as many requests as the pool has slots are served at the same time."""
    started = time.monotonic()
    with ThreadPoolExecutor(POOL_SIZE) as executor, world.clients.connect() as client:
        while True:
            try:
                answers = list(executor.map(lambda _: client.get("/readyz").status_code, range(POOL_SIZE)))
            except httpx2.TransportError:
                answers = []
            if answers == [200] * POOL_SIZE:
                return time.monotonic() - started
            assert time.monotonic() - started < RETURN_TIMEOUT + SLACK, "the service did not come back"
            time.sleep(0.05)


AUDITED_DISASTERS = [kill_a_worker, cut_connections, kill_the_parent, kill_a_worker, cut_connections, kill_all_processes]


@pytest.mark.parametrize("number", range(max(1, ROUNDS // 6)))
def test_the_audit_tells_where_every_lead_went_whatever_is_killed(
    server: PrivateMariaDB, keys_file: Path, tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{SEED} audit {number}")
    set_up(server, ("InnoDB", "InnoDB")).close()
    file = tmp_path / "audit.jsonl"
    settings = {"API_KEYS_FILE": str(keys_file), "WORKERS": "2", "AUDIT_LOG": str(file)}
    dialler = Dialler(server, DATABASE, LEADS, seed=number, deletes=False)
    with running(server, settings, dialler, archive_or_dearchive, number) as world:
        world.clients.may_lose_answers = True
        for disaster in AUDITED_DISASTERS:
            time.sleep(rng.uniform(0.5, 1.5))
            disaster(world, rng)
        recovered = seconds_until_all_slots_serve(world)
    assert world.service.stop() == 0  # the exit status

    tables = Tables(server, DATABASE)
    live, archived = (set(ids) & set(LEADS) for ids in tables.ids())
    tables.close()
    lines = read(file)
    answers = {lead_id: answer(lines, lead_id) for lead_id in LEADS}
    moved = Counter(str(line["moved"]) for answer in answers.values() for line in answer)
    record(
        record_property,
        world.clients,
        disaster="kills, audited",
        engines="InnoDB-InnoDB",
        answers={**world.clients.answers, **{f"moved {name}": count for name, count in moved.items()}},
        recovered=round(recovered, 1),
        deleted=world.clients.deleted,
    )
    assert world.clients.problems == []
    for lead_id in LEADS:
        assert (lead_id in live) != (lead_id in archived)
        assert ("archive" if lead_id in archived else "dearchive") in possible(answers[lead_id]), answers[lead_id]
    # Only batches that were in progress at a kill may be unknown.
    assert 0 < moved["None"] < moved["True"]
    assert world.clients.answers.keys() <= {"200", "503", "none"}
    for lead_id in rng.sample(LEADS, 10):
        assert ask(tmp_path, lead_id) == answers[lead_id]


def possible(answers: list[Line]) -> set[str]:
    """Return the operations one of which moved the lead last, according to the audit log. A lead that was always in
    vicidial_list counts as brought back."""
    places = {"dearchive"}
    for line in answers:
        there, away = ("dearchive", "archive") if line["operation"] == "archive" else ("archive", "dearchive")
        assert there in places, f"{line} names a lead that was not there: {answers}"
        places = {True: {away}, False: {there}, None: {there, away}}[line["moved"]]
    return places
