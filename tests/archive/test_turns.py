"""Batches take turns: one at a time where they would queue up in front of the dialler, and fairly among the API keys. Searches
and comparisons take turns of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.tables import Tables
from support.waiting import wait_until

from service.archive.caller import Caller
from service.archive.readers import READERS, Readers
from service.archive.turns import Turns
from service.database.pool import Database
from service.database.transaction import Transaction


async def taken(turns: Turns, *keys: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Have somebody with each key wait for a turn. Return the keys in the order in which they get theirs, and the tasks."""
    order: list[str] = []

    async def take(key: str) -> None:
        await turns.take(key)
        order.append(key)

    tasks = [asyncio.create_task(take(key)) for key in keys]
    await asyncio.sleep(0)
    return order, tasks


async def let_all_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_modest_key_does_not_wait_for_all_batches_of_a_greedy_one() -> None:
    async def scene() -> list[str]:
        turns = Turns(most=8)
        order, _ = await taken(turns, "greedy", "greedy", "greedy", "greedy", "modest", "greedy", "modest")
        for number in range(6):
            await let_all_run()
            turns.release(order[number])
        await let_all_run()
        return order

    assert asyncio.run(scene()) == ["greedy", "modest", "greedy", "modest", "greedy", "greedy", "greedy"]


def test_a_client_that_sends_one_batch_after_the_other_waits_for_one_batch_of_a_greedy_one() -> None:
    """While it reads an answer, nobody of its key waits. Its key does not lose its place by that."""

    async def scene() -> list[str]:
        turns = Turns(most=8)
        order: list[str] = []

        async def batches(key: str, number: int) -> None:
            for _ in range(number):
                await turns.take(key)
                order.append(key)
                await let_all_run()
                turns.release(key)

        await asyncio.gather(*(batches("greedy", 1) for _ in range(5)), batches("modest", 3))
        return order

    assert asyncio.run(scene()) == ["greedy", "modest"] * 3 + ["greedy"] * 2


def test_the_key_with_the_fewest_batches_in_progress_comes_first() -> None:
    async def scene() -> list[str]:
        turns = Turns(most=3)
        turns.at_most(None)
        order, _ = await taken(turns, "greedy", "greedy", "greedy", "greedy", "greedy", "modest")
        await let_all_run()
        assert order == ["greedy"] * 3
        turns.release("greedy")
        await let_all_run()
        return order

    assert asyncio.run(scene()) == ["greedy", "greedy", "greedy", "modest"]


def test_one_at_a_time_until_it_is_known_that_more_do_no_harm() -> None:
    async def scene() -> list[int]:
        turns = Turns(most=2)
        order, _ = await taken(turns, "a", "a", "a")
        numbers = []
        for alone in (True, False, True):
            turns.at_most(1 if alone else None)
            await let_all_run()
            numbers.append(len(order))
        turns.release("a")
        await let_all_run()
        return [*numbers, len(order)]

    assert asyncio.run(scene()) == [1, 2, 2, 2]


def test_who_is_gone_gets_no_turn() -> None:
    async def scene() -> list[str]:
        turns = Turns(most=8)
        order, tasks = await taken(turns, "first", "gone", "gone at that moment", "last")
        await let_all_run()
        tasks[1].cancel()
        await let_all_run()
        turns.release("first")
        tasks[2].cancel()  # it was given the turn, and does not know it yet
        await let_all_run()
        return order

    assert asyncio.run(scene()) == ["first", "last"]


KEYS = ("greedy", "modest")


NewClients = Callable[..., tuple[Api, Api]]


@pytest.fixture
def new_clients(new_api: Callable[..., Api], tmp_path: Path) -> NewClients:
    """new_clients(SETTING="value", ...) -> an API with two keys, as the two of them call it."""
    keys_file = tmp_path / "two_keys.toml"
    keys_file.touch(mode=0o600)
    digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in KEYS}
    keys_file.write_text("".join(f'[[keys]]\nname = "{key}"\nsha256 = "{digest}"\n' for key, digest in digests.items()))

    def new(**settings: str) -> tuple[Api, Api]:
        api = new_api(API_KEYS_FILE=str(keys_file), **settings)
        greedy, modest = (Api(api.client, key) for key in KEYS)
        return greedy, modest

    return new


@pytest.fixture
def clients(new_clients: NewClients, tmp_path: Path) -> tuple[Api, Api]:
    audit_log = tmp_path / "audit.jsonl"
    audit_log.touch()
    return new_clients(AUDIT_LOG=str(audit_log), REQUEST_TIMEOUT="10")


@contextmanager
def locked(tables: Tables) -> Iterator[None]:
    """Nobody else can write to vicidial_list meanwhile."""
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_list READ")
        yield


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_the_batches_of_a_modest_client_go_between_those_of_a_greedy_one(
    tables: Tables, clients: tuple[Api, Api], tmp_path: Path
) -> None:
    greedy, modest = clients
    tables.live(*range(1, 9))
    before, _ = tables.both()
    assert greedy.archive_all([1]).status_code == 200
    with ThreadPoolExecutor(8) as threads:
        with locked(tables):
            answers = [threads.submit(greedy.archive_all, [lead_id]) for lead_id in range(2, 8)]
            wait_until(lambda: waiting(greedy) == 4)
            answers.append(threads.submit(modest.archive_all, [8]))
            wait_until(lambda: waiting(greedy) == 5)
            # Only one batch waits for the table in front of the dialler. The second one waits inside the service.
            wait_until(lambda: in_progress(tables) == 1)
        assert [answer.result().json()["delete_count"] for answer in answers] == [1] * 7

    outcomes = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    order = [line["key"] for line in outcomes if line["event"] == "outcome"]
    assert order.index("modest") <= 5  # 7 if it came after all others; after a second, a batch passes its turn on
    assert tables.both() == ({}, before)


def test_a_batch_that_waits_for_a_lead_lets_others_go_first(tables: Tables, clients: tuple[Api, Api]) -> None:
    """One lock on one lead must not keep all clients from their work as long as it is held."""
    greedy, modest = clients
    tables.live(*range(1, 6))
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_live_agents (lead_id) VALUES (0)")
    assert greedy.archive_all([5]).status_code == 200
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with ThreadPoolExecutor(4) as threads, holder.cursor() as cursor:
        cursor.execute("SELECT lead_id FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        stuck = threads.submit(greedy.archive_all, [1])
        tables.wait_until_a_lock_is_in_the_way()
        others = [threads.submit(modest.archive_all, [2]), threads.submit(modest.archive_all, [3])]
        assert [answer.result().json().get("delete_count") for answer in others] == [1, 1]
        assert not stuck.done()
        # The next batch is the stuck one's. Its answer does not depend on those that went before it.
        holder.rollback()
        assert stuck.result().status_code in {200, 503}
    holder.close()
    assert modest.archive_all([1, 4]).json()["select_count"] >= 1
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("pool_size", ["1", "3"])
def test_who_looks_at_leads_waits_for_no_batch(tables: Tables, new_clients: NewClients, pool_size: str) -> None:
    """Batches whose statements take long hold all connections that they may use."""
    greedy, modest = new_clients(DATABASE_POOL_SIZE=pool_size, PACE="full", REQUEST_TIMEOUT="60")
    tables.live(1, 2, 3, list_id=101)
    assert greedy.archive_all([3]).json()["delete_count"] == 1
    leads = range(11, 19)
    tables.live(*leads)
    before = tables.both()
    with ThreadPoolExecutor(8) as threads, tables.held_by_a_trigger(at_least=int(pool_size)) as are_held:
        held = [threads.submit(greedy.archive_all, [lead_id]) for lead_id in leads]
        wait_until(lambda: are_held() and waiting(greedy) == 8 - int(pool_size))
        for client in (modest, greedy):
            assert client.find(where={"list_ids": [101]}).json()["lead_ids"] == [1, 2]
            assert [lead["in_list"] for lead in client.compare([1, 3]).json()["leads"]] == [True, False]
        assert are_held()
        assert tables.both() == before
    assert {answer.result().json()["delete_count"] for answer in held} == {1}
    assert tables.ids() == ([1, 2], [3, *leads])


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_who_looks_at_leads_keeps_no_batch_waiting(tables: Tables, new_clients: NewClients) -> None:
    greedy, modest = new_clients(DATABASE_POOL_SIZE="1", REQUEST_TIMEOUT="60")
    tables.live(1)
    before, _ = tables.both()
    with ThreadPoolExecutor(8) as threads:
        with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLES vicidial_lists WRITE")
            found = [threads.submit(greedy.find, where={"campaign_ids": ["SPRING"]}) for _ in range(8)]
            wait_until(lambda: metric(greedy, "database_pool_waiting") == 8 - READERS)
            assert modest.archive_all([1]).json()["delete_count"] == 1
            assert not any(answer.done() for answer in found)
        assert {answer.result().status_code for answer in found} == {200}
    assert tables.both() == ({}, before)


def test_the_searches_of_a_greedy_key_leave_turns_to_others() -> None:
    """On a database whose transactions do nothing but wait."""

    class Held(Database):
        def __init__(self) -> None:
            pass

        async def attempt(self, work: Callable[[Any], Any], *_: Any, **__: Any) -> Any:
            await work(None)

    async def scene() -> list[str]:
        readers = Readers(Held())
        order: list[str] = []
        ends: deque[asyncio.Future[None]] = deque()

        async def read(key: str) -> None:
            async def work(_: Transaction) -> None:
                order.append(key)
                ends.append(asyncio.get_running_loop().create_future())
                await ends[-1]

            await readers.read(Caller(key), work, 60, lambda _: None)

        tasks = [asyncio.create_task(read(key)) for key in [*["greedy"] * 5, "modest"]]
        for _ in tasks:
            await let_all_run()
            ends.popleft().set_result(None)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scene()) == [*["greedy"] * READERS, "modest", *["greedy"] * (5 - READERS)]


def waiting(api: Api) -> int:
    """The batches that wait for their turn, as /metrics says."""
    return metric(api, "batches_waiting")


def metric(api: Api, name: str) -> int:
    """The value of a metric. name: with its labels, as /metrics writes it. 0 if it is not there yet."""
    lines = api.get("/metrics").text.splitlines()
    return next((int(float(line.split()[-1])) for line in lines if line.startswith(f"{name} ")), 0)


def in_progress(tables: Tables) -> int:
    """The statements of batches that wait for vicidial_list."""
    rows = tables.execute(
        "SELECT COUNT(*) FROM information_schema.processlist"
        f" WHERE db = '{tables.database}' AND state LIKE 'Waiting for table%'"
    )
    return int(rows[0][0] or b"")


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_batch_that_gets_no_turn_in_time_is_refused_and_changes_nothing(tables: Tables, new_api: Callable[..., Api]) -> None:
    """Each batch waits for a second for the lock, a third of REQUEST_TIMEOUT: three of five get a turn at most."""
    tables.live(*range(1, 6))
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="3")
    with ThreadPoolExecutor(5) as threads, locked(tables):
        answers = [threads.submit(api.archive_all, [lead_id]) for lead_id in range(1, 6)]
        responses = [answer.result() for answer in answers]

    assert [response.status_code for response in responses] == [503] * 5
    assert all(int(response.headers["Retry-After"]) >= 1 for response in responses)
    unchanged = [
        lead_id for lead_id, response in enumerate(responses, start=1) if "nothing was changed" in response.json()["message"]
    ]
    assert len(unchanged) >= 2
    live, archived = tables.both()
    assert archived | live == before
    assert live.keys() - archived.keys() >= set(unchanged)
    assert api.archive_all([1, 2, 3, 4, 5]).status_code == 200
    assert tables.both() == ({}, before)
