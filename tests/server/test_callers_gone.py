"""Callers that are gone, and keys with very many requests: they keep no places, no memory and no turns from others."""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from support.api import KEY, Api
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables
from support.waiting import wait_until
from support.wire import Connection

from service.api.header_checks import LARGEST_BODY
from service.api.in_progress import MOST_OF_A_KEY
from service.archive.caller import Caller
from service.archive.pace import Pace
from service.archive.readers import READERS
from service.archive.turns import Turns
from service.errors import CallerGoneError, DatabaseError

TOO_MANY = (503, f"{MOST_OF_A_KEY} requests of this key are in progress; nothing was changed, repeat the request later")
PROCESSED = (200, "lead_ids batch was successfully processed")
OTHER_KEY = "another key"


@pytest.fixture
def service(environment: dict[str, str], tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service with two keys and an audit log. It moves one batch at a time."""
    keys_file = tmp_path / "two_keys.toml"
    keys_file.touch(mode=0o600)
    keys_file.write_text(
        "".join(
            f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
            for name, key in {"tests": KEY, "other": OTHER_KEY}.items()
        )
    )
    settings = {"API_KEYS_FILE": str(keys_file), "AUDIT_LOG": str(tmp_path / "audit.jsonl"), "PACE": "gentle"}
    with ServiceProcess({**environment, **settings, "REQUEST_TIMEOUT": "60"}) as service:
        yield service
        assert "Traceback" not in service.log


@pytest.fixture
def other(service: ServiceProcess) -> Iterator[Api]:
    with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
        yield Api(client, OTHER_KEY)


def request(lead_id: int, path: str = "archive", size: int = 0) -> bytes:
    """A request for one lead, whose body has `size` bytes."""
    flags = Api.ALL if path == "archive" else {}
    body = json.dumps({**flags, "lead_ids": [lead_id]}).ljust(size)
    lines = [f"POST /vicidial/leads/{path} HTTP/1.1", "Host: x", f"Authorization: Key={KEY}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


@contextmanager
def connected(service: ServiceProcess, count: int, sent: bytes) -> Iterator[list[Connection]]:
    """Open connections, and send the same on each."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):  # one after the other: an idle connection is closed after five seconds
            connections.append(stack.enter_context(closing(Connection(service))))
            connections[-1].socket.sendall(sent)
        yield connections


@contextmanager
def turn_taken(tables: Tables, service: ServiceProcess, lead_id: int) -> Iterator[Connection]:
    """A batch of a lead has its turn, and has begun to change, until the end of the block."""
    tables.execute(
        "CREATE TRIGGER hold BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        f" SET @held = IF(NEW.lead_id = {lead_id}, GET_LOCK('held', 60) + RELEASE_LOCK('held'), 0)"
    )
    with tables.mariadb.connect(tables.database) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('held', 60)")
        with closing(Connection(service)) as first:
            first.socket.sendall(request(lead_id))
            wait_until(lambda: tables.execute("SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'"))
            yield first
            cursor.execute("SELECT RELEASE_LOCK('held')")
            if first.socket.fileno() >= 0:
                assert first.answer() == PROCESSED


def metric(service: ServiceProcess, name: str) -> int:
    lines = service.get("/metrics")[1].decode().splitlines()
    return next((int(float(line.split()[-1])) for line in lines if line.startswith(f"{name} ")), 0)


def descriptors(service: ServiceProcess) -> int:
    return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


def resident(service: ServiceProcess) -> int:
    """Return the memory of the process in bytes."""
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def leads_in_audit(tmp_path: Path) -> list[tuple[str, list[int] | None]]:
    lines = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    return [(line["event"], line.get("leaving_lead_ids", line.get("deleted_lead_ids"))) for line in lines]


def test_a_key_has_a_limit_of_requests_in_progress_and_others_are_served(
    tables: Tables, service: ServiceProcess, other: Api
) -> None:
    """They count while their bodies arrive, too."""
    tables.live(1, 2, 3)
    sent = request(1, "compare")
    with connected(service, MOST_OF_A_KEY, sent[:-1]) as connections, closing(Connection(service)) as refused:
        wait_until(lambda: descriptors(service) > MOST_OF_A_KEY)
        assert other.archive_all([2]).status_code == 200
        refused.socket.sendall(request(3)[:-1])
        assert refused.answer() == TOO_MANY
        assert refused.announced_close
        assert metric(service, "requests_above_limit_total") == 1
        assert tables.ids() == ([1, 3], [2])
        for connection in connections:
            connection.socket.sendall(sent[-1:])
        assert [connection.answer()[0] for connection in connections] == [200] * MOST_OF_A_KEY
        with connected(service, 1, request(3)) as (again,):
            assert again.answer() == PROCESSED
    assert tables.ids() == ([1], [2, 3])


def test_the_refusal_is_that_of_the_contract(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.in_progress.MOST_OF_A_KEY", 0)

    for answer in (api.archive_all([1]), api.dearchive_all([1]), api.compare([1]), api.find(where={})):
        assert (answer.status_code, answer.json()["message"].partition(";")[0]) == (
            503,
            "0 requests of this key are in progress",
        )
        assert int(answer.headers["Retry-After"]) >= 1


def test_clients_that_hang_up_keep_no_more_than_the_requests_of_their_key(
    tables: Tables, service: ServiceProcess, other: Api
) -> None:
    """For the service they have only ended their side, as `nc -N` does: it cannot know that they do not read."""
    tables.live(1, 2, 3)
    tables.archived(4)
    before = descriptors(service)
    with turn_taken(tables, service, 1):
        for _ in range(MOST_OF_A_KEY + 150):
            with connected(service, 1, request(2)) as (gone,):
                gone.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: metric(service, "requests_above_limit_total") == 151)
        assert descriptors(service) - before < MOST_OF_A_KEY + 50
        assert metric(service, "batches_waiting") == MOST_OF_A_KEY - 1
        assert other.compare([4]).status_code == 200
    assert other.archive_all([3]).status_code == 200
    wait_until(lambda: metric(service, "batches_waiting") == 0)
    assert tables.ids() == ([], [1, 2, 3, 4])


@pytest.mark.parametrize(
    "sent",
    [request(2, size=LARGEST_BODY), request(2) + request(2)],
    ids=["with a large body", "with another request after it"],
)
def test_a_request_that_waits_for_its_turn_ends_with_its_connection(
    tables: Tables, service: ServiceProcess, other: Api, tmp_path: Path, sent: bytes
) -> None:
    """Also if the service reads nothing more from the connection while the request waits."""
    tables.live(1, 2, 3)
    with turn_taken(tables, service, 1):
        with connected(service, 20, sent) as waiting:
            wait_until(lambda: metric(service, "batches_waiting") == 20)
            for connection in waiting:
                connection.reset()
            wait_until(lambda: metric(service, "batches_waiting") == 0)
        lines = [line for line in service.wait_for_line("request", 20) if line["path"].endswith("archive")]
        assert [line["status"] for line in lines] == [0] * 20
        assert len(service.wait_for_line("client disconnected")) == 20
        assert tables.ids() == ([1, 2, 3], [])
    assert other.archive_all([3]).status_code == 200
    assert tables.ids() == ([2], [1, 3])
    assert {tuple(leads or ()) for _, leads in leads_in_audit(tmp_path)} == {(1,), (3,)}


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_batch_that_waits_for_the_one_that_writes_ends_with_its_connection(
    tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1, 2)
    settings = {"AUDIT_LOG": str(tmp_path / "audit.jsonl"), "PACE": "full", "REQUEST_TIMEOUT": "60"}
    with ServiceProcess({**environment, **settings}) as service, turn_taken(tables, service, 1):
        with connected(service, 1, request(2)) as (waiting,):
            wait_until(lambda: ("intent", [2]) in leads_in_audit(tmp_path))
            waiting.reset()
            service.wait_for_line("client disconnected")
        assert tables.execute("SELECT lead_id FROM vicidial_list_archive") == []
        assert leads_in_audit(tmp_path)[-1] == ("outcome", None)  # nothing was deleted
    assert tables.ids() == ([2], [1])


def test_a_search_that_waits_for_its_turn_ends_with_its_connection(
    tables: Tables, service: ServiceProcess, other: Api
) -> None:
    tables.archived(1)
    with tables.mariadb.connect(tables.database) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_list WRITE")
        with connected(service, 20, request(1, "compare")) as waiting:
            wait_until(lambda: metric(service, "database_pool_waiting") == 20 - READERS)
            for connection in waiting:
                connection.reset()
            wait_until(lambda: metric(service, "database_pool_waiting") == 0)
        cursor.execute("UNLOCK TABLES")
    assert [lead["in_archive"] for lead in other.compare([1]).json()["leads"]] == [True]
    assert tables.ids() == ([], [1])


def test_a_batch_that_has_begun_ends_without_its_caller(tables: Tables, service: ServiceProcess, tmp_path: Path) -> None:
    tables.live(1)
    with turn_taken(tables, service, 1) as first:
        first.reset()
        time.sleep(0.5)  # until the service has noticed
    wait_until(lambda: tables.ids() == ([], [1]))
    wait_until(lambda: leads_in_audit(tmp_path)[-1] == ("outcome", [1]))


def test_a_request_whose_connection_is_lost_in_its_body_ends(tables: Tables, service: ServiceProcess) -> None:
    tables.live(1)
    with connected(service, 1, request(1)[:-1]) as (half,):
        wait_until(lambda: descriptors(service) > 0)
        half.reset()
    (line,) = service.wait_for_line("client disconnected")
    assert line["key"] == "tests"
    assert tables.ids() == ([1], [])


def test_requests_that_wait_do_not_keep_their_bodies(tables: Tables, service: ServiceProcess) -> None:
    """A body of a megabyte may hold one lead, and blanks."""
    tables.live(1, 2)
    count = 100
    with turn_taken(tables, service, 1):
        before = resident(service)
        with connected(service, count, request(2, size=LARGEST_BODY)) as waiting:
            wait_until(lambda: metric(service, "batches_waiting") == count)
            assert resident(service) - before < count * LARGEST_BODY / 3
            for connection in waiting:
                connection.reset()
    wait_until(lambda: tables.ids() == ([2], [1]))


async def wait_for_turn(pace: Pace, caller: Caller, seconds: float) -> None:
    async with pace.turn(caller, seconds):
        pass


def test_turns_are_right_after_a_caller_has_gone_at_any_moment() -> None:
    async def scene(moment: int) -> None:
        pace = Pace("full", Turns(1))
        gone, late = Caller("gone"), Caller("late")
        late.leave()
        async with pace.turn(Caller("first"), 60):
            task = asyncio.create_task(wait_for_turn(pace, gone, 60))
            await asyncio.sleep(0)
            if moment == 0:
                gone.leave()
                await asyncio.sleep(0)
        if moment > 0:
            for _ in range(moment - 1):
                await asyncio.sleep(0)
            gone.leave()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert result is None or isinstance(result, CallerGoneError)
        with pytest.raises(CallerGoneError):
            await wait_for_turn(pace, late, 60)
        await asyncio.wait_for(wait_for_turn(pace, Caller("next"), 60), PATIENCE)

    for moment in range(6):
        asyncio.run(scene(moment))


def test_a_caller_that_goes_in_the_last_moment_of_its_time_is_gone() -> None:
    async def scene() -> None:
        pace = Pace("full", Turns(1))
        caller = Caller("gone")
        async with pace.turn(Caller("first"), 60):
            asyncio.get_running_loop().call_later(0.05, caller.leave)
            with pytest.raises((CallerGoneError, DatabaseError)):
                await wait_for_turn(pace, caller, 0.05)
        await asyncio.wait_for(wait_for_turn(pace, Caller("next"), 60), PATIENCE)

    asyncio.run(scene())


def test_a_batch_that_waits_for_its_next_turn_ends_with_its_connection(
    tables: Tables, service: ServiceProcess, tmp_path: Path
) -> None:
    """It has waited for a lead in vain, and was rolled back. Its audit record says so."""
    tables.live(1, 2)
    tables.archived(1, status="NEW")
    before = tables.both()
    with tables.mariadb.connect(tables.database, autocommit=False) as dialler, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list_archive WHERE lead_id = 1 FOR UPDATE")
        with connected(service, 1, request(1)) as (lost,):
            tables.wait_until_a_lock_is_in_the_way()
            lost.reset()
        service.wait_for_line("client disconnected")
        assert tables.both() == before
    with connected(service, 1, request(2)) as (next_one,):
        assert next_one.answer() == PROCESSED
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {line["lead_ids"][0] for line in lines if line["event"] == "intent"} == {1, 2}
    assert sorted(line["outcome"] for line in lines if line["event"] == "outcome") == ["committed", "rolled back"]
