"""The time limit of everything that is asked of the database: it holds even if a library loses a cancellation."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest
from support.tables import Tables

from service.database.pool import Database
from service.database.statements import Statements
from service.database.time_limit import AGAIN, time_limit
from service.database.transaction import Transaction
from service.errors import DatabaseError


async def lose_cancellations(times: int) -> None:
    """Wait for ten seconds, and lose some cancellations meanwhile."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
    await asyncio.sleep(10)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_block_that_loses_cancellations_ends(times: int) -> None:
    async def run() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with time_limit(0.1):
                await lose_cancellations(times)
        took = time.monotonic() - began
        await asyncio.sleep(AGAIN + 0.1)  # nothing is cancelled any more
        task = asyncio.current_task()
        assert task
        assert task.cancelling() == 0
        return took

    assert asyncio.run(run()) >= 0.1 + times * AGAIN


def test_what_ends_in_time_is_left_alone() -> None:
    async def run() -> None:
        async with time_limit(0.1):
            pass
        await asyncio.sleep(0.3)
        with pytest.raises(ZeroDivisionError):
            async with time_limit(0.1):
                raise ZeroDivisionError
        await asyncio.sleep(0.3)

    asyncio.run(run())


@pytest.mark.parametrize("limit", [0.1, 10])
def test_a_cancellation_by_others_stays_one(limit: float) -> None:
    """Also if the time is over at the same moment."""

    async def limited() -> None:
        async with time_limit(limit):
            await asyncio.sleep(20)

    async def run() -> None:
        task = asyncio.create_task(limited())
        await asyncio.sleep(0.05)
        time.sleep(0.1)  # noqa: ASYNC251  # both are due in the same round of the event loop
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.mark.parametrize("age", [0, 60])
def test_no_place_in_the_pool_is_lost_if_the_time_is_over_while_a_session_ends(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    monkeypatch.setattr("service.database.session_pool.SESSION_AGE", age)

    async def ask(database: Database, seconds: float) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.select("SELECT 1")

        await database.attempt(work, seconds, lambda _: None, in_new_session=True)

    async def run() -> None:
        database = Database(tables.url, Statements.load(), pool_size=1, timeout=5)
        await database.connect()
        for number in range(200):
            await asyncio.create_task(ask(database, 5))
            with suppress(DatabaseError):
                await asyncio.create_task(ask(database, number % 40 * 0.00002))
        await database.disconnect()

    asyncio.run(run())


def test_no_transaction_waits_longer_for_a_server_that_does_not_greet() -> None:
    """The time of some is over just when their connection is made. The pool opens one connection at a time."""

    async def run(port: int) -> None:
        database = Database(f"mysql+asyncmy://u:p@127.0.0.1:{port}/d", Statements.load(), pool_size=8, timeout=3)
        await database.connect()
        for tenths in range(1, 400):
            began = time.monotonic()
            with pytest.raises(DatabaseError, match="no answer within"):
                async with asyncio.timeout(5), database.transaction(tenths % 40 / 10_000) as transaction:
                    await transaction.select("SELECT 1")
            assert time.monotonic() - began < AGAIN + 2
        await database.disconnect()

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        asyncio.run(run(silent.getsockname()[1]))
