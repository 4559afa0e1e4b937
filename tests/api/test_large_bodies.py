"""Large bodies are parsed one at a time: what else the service does waits for one of them, not for all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.api import Api
from support.tables import Tables

from service.api.large_bodies import LARGE, LargeBodies

PARSED = 0.002
"""Seconds that it takes to parse a body."""


def test_what_else_goes_on_waits_for_one_body_at_a_time() -> None:
    parsed: list[int] = []
    """How many bodies were parsed when something else went on."""
    bodies = LargeBodies()

    async def parse(body: bytes) -> None:
        async with bodies.turn(body):
            time.sleep(PARSED)  # noqa: ASYNC251  # nothing else goes on
            parsed[-1] += 1

    async def go_on() -> None:
        while True:
            parsed.append(0)
            await asyncio.sleep(0)

    async def run() -> None:
        going_on = asyncio.create_task(go_on())
        await asyncio.sleep(0)
        await asyncio.gather(*(parse(bytes(LARGE)) for _ in range(20)))
        going_on.cancel()

    asyncio.run(run())

    assert sum(parsed) == 20
    assert set(parsed) == {0, 1}


def test_a_rest_is_as_long_as_a_body_took() -> None:
    bodies = LargeBodies()

    async def parse(body: bytes, takes: float) -> float:
        async with bodies.turn(body):
            time.sleep(takes)  # noqa: ASYNC251
            ended = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - ended

    assert asyncio.run(parse(bytes(LARGE), 0.05)) >= 0.05
    assert asyncio.run(parse(bytes(LARGE - 1), 0.05)) < 0.05


def test_the_turn_is_free_again_after_a_body_with_an_error() -> None:
    bodies = LargeBodies()

    async def fail() -> None:
        async with bodies.turn(bytes(LARGE)):
            raise ValueError("a fault")

    async def run() -> None:
        with pytest.raises(ValueError, match="a fault"):
            await fail()
        async with asyncio.timeout(5), bodies.turn(bytes(LARGE)):
            pass

    asyncio.run(run())


@pytest.mark.parametrize("operation", ["archive", "dearchive", "compare", "find"])
def test_every_operation_waits_for_the_turn_of_its_body(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    turns: list[int] = []
    turn = LargeBodies.turn

    @asynccontextmanager
    async def noted(self: LargeBodies, body: bytes) -> AsyncIterator[None]:
        turns.append(len(body))
        async with turn(self, body):
            yield

    monkeypatch.setattr(LargeBodies, "turn", noted)
    tables.live(1)
    before = tables.both()
    body = json.dumps({"lead_ids": list(range(100_000))})

    answer = api.post(body, f"/vicidial/leads/{operation}")

    assert (answer.status_code, turns) == (400, [len(body)])
    assert tables.both() == before
