"""Batches take turns: one at a time where they would queue up in front of the dialler, and fairly among the API keys."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.api import Api
from support.tables import Tables
from support.waiting import wait_until

from service.archive.turns import Turns


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

    assert asyncio.run(scene()) == ["greedy", "greedy", "modest", "greedy", "modest", "greedy", "greedy"]


def test_the_key_with_the_fewest_batches_in_progress_comes_first() -> None:
    async def scene() -> list[str]:
        turns = Turns(most=3)
        turns.one_at_a_time(False)
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
            turns.one_at_a_time(alone)
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


@pytest.fixture
def clients(new_api: Callable[..., Api], tmp_path: Path) -> tuple[Api, Api]:
    """An API with two keys, as the two of them call it."""
    keys_file = tmp_path / "two_keys.toml"
    keys_file.touch(mode=0o600)
    digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in KEYS}
    keys_file.write_text("".join(f'[[keys]]\nname = "{key}"\nsha256 = "{digest}"\n' for key, digest in digests.items()))
    audit_log = tmp_path / "audit.jsonl"
    audit_log.touch()
    api = new_api(API_KEYS_FILE=str(keys_file), AUDIT_LOG=str(audit_log), REQUEST_TIMEOUT="10")
    greedy, modest = (Api(api.client, key) for key in KEYS)
    return greedy, modest


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
            wait_until(lambda: waiting(greedy) == 5)
            answers.append(threads.submit(modest.archive_all, [8]))
            wait_until(lambda: waiting(greedy) == 6)
            # Only one batch waits for the table in front of the dialler.
            wait_until(lambda: in_progress(tables) == 1)
        assert [answer.result().json()["delete_count"] for answer in answers] == [1] * 7

    outcomes = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    order = [line["key"] for line in outcomes if line["event"] == "outcome"]
    assert order.index("modest") <= 3
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
        wait_until(lambda: lock_waits(tables) == 1)
        others = [threads.submit(modest.archive_all, [2]), threads.submit(modest.archive_all, [3])]
        wait_until(lambda: waiting(greedy) == 2)
        assert [answer.result().json().get("delete_count") for answer in others] == [1, 1]
        # The next batch is the stuck one's. Its answer does not depend on those that went before it.
        holder.rollback()
        assert stuck.result().status_code in {200, 503}
    holder.close()
    assert modest.archive_all([1, 4]).json()["select_count"] >= 1
    assert tables.both() == ({}, before)


def lock_waits(tables: Tables) -> int:
    """The statements that wait for a row. InnoDB looks again only if nobody has asked for a tenth of a second."""
    time.sleep(0.2)
    ((number,),) = tables.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
    return int(number or b"")


def waiting(api: Api) -> int:
    """The batches that wait for their turn, as /metrics says."""
    text = api.get("/metrics").text
    return int(float(text.split("\nbatches_waiting ")[1].split("\n")[0]))


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
