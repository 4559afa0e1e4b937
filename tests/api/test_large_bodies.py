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
from service.archive.caller import Caller
from service.errors import CallerGoneError, RefusalError

PARSED = 0.002
"""Seconds that it takes to parse a body."""

LONG = 60.0
"""Seconds that nobody waits for in these tests."""


def test_what_else_goes_on_waits_for_one_body_at_a_time() -> None:
    parsed: list[int] = []
    """How many bodies were parsed each time before something else went on."""
    bodies = LargeBodies()

    async def parse() -> None:
        async with bodies.turn(bytes(LARGE), Caller(), LONG):
            time.sleep(PARSED)  # noqa: ASYNC251  # nothing else goes on
            parsed[-1] += 1

    async def go_on() -> None:
        while True:
            parsed.append(0)
            await asyncio.sleep(0)

    async def run() -> None:
        going_on = asyncio.create_task(go_on())
        await asyncio.sleep(0)
        await asyncio.gather(*(parse() for _ in range(20)))
        going_on.cancel()

    asyncio.run(run())

    assert sum(parsed) == 20
    assert set(parsed) == {0, 1}


def test_after_a_body_no_other_is_parsed_for_as_long_as_it_took() -> None:
    bodies = LargeBodies()

    async def run(size: int) -> float:
        async with bodies.turn(bytes(size), Caller(), LONG):
            time.sleep(0.05)  # noqa: ASYNC251
            ended = asyncio.get_running_loop().time()
        async with bodies.turn(bytes(size), Caller(), LONG):
            return asyncio.get_running_loop().time() - ended

    assert asyncio.run(run(LARGE)) >= 0.05
    assert asyncio.run(run(LARGE - 1)) < 0.05


def test_the_turn_is_free_again_after_a_body_with_an_error() -> None:
    bodies = LargeBodies()

    async def run() -> None:
        with pytest.raises(ValueError, match="a fault"):
            async with bodies.turn(bytes(LARGE), Caller(), LONG):
                raise ValueError("a fault")
        async with bodies.turn(bytes(LARGE), Caller(), LONG):
            pass

    asyncio.run(run())


def test_keys_take_turns() -> None:
    """A key with many bodies does not keep the others waiting."""
    bodies = LargeBodies()
    parsed: list[str] = []

    async def parse(key: str) -> None:
        async with bodies.turn(bytes(LARGE), Caller(key), LONG):
            parsed.append(key)

    async def run() -> None:
        await asyncio.gather(*(parse("many") for _ in range(20)), parse("one"))

    asyncio.run(run())

    assert parsed.index("one") < 3


def test_nobody_waits_for_longer_than_the_time_of_the_request() -> None:
    bodies = LargeBodies()

    async def run() -> RefusalError:
        async with bodies.turn(bytes(LARGE), Caller(), LONG):
            with pytest.raises(RefusalError) as refusal:
                async with bodies.turn(bytes(LARGE), Caller(), 0.05):
                    pass
        return refusal.value

    refusal = asyncio.run(run())

    assert refusal.status == 503
    assert refusal.headers == {"Retry-After": "5"}
    assert str(refusal).startswith("too many large request bodies")


def test_the_body_of_a_caller_that_has_gone_is_not_parsed() -> None:
    bodies = LargeBodies()
    caller = Caller()

    async def wait() -> None:
        async with bodies.turn(bytes(LARGE), caller, LONG):
            raise AssertionError

    async def run() -> None:
        async with bodies.turn(bytes(LARGE), Caller(), LONG):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
            caller.leave()
            with pytest.raises(CallerGoneError):
                await waiting

    asyncio.run(run())


@pytest.mark.parametrize("operation", ["archive", "dearchive", "compare", "find"])
def test_every_operation_waits_for_the_turn_of_its_body(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    turns: list[tuple[int, str]] = []
    turn = LargeBodies.turn

    @asynccontextmanager
    async def noted(self: LargeBodies, body: bytes, caller: Caller, seconds: float) -> AsyncIterator[None]:
        turns.append((len(body), caller.key))
        async with turn(self, body, caller, seconds):
            yield

    monkeypatch.setattr(LargeBodies, "turn", noted)
    tables.live(1)
    before = tables.both()
    body = json.dumps({"lead_ids": list(range(100_000))})

    answer = api.post(body, f"/vicidial/leads/{operation}")

    assert (answer.status_code, turns) == (400, [(len(body), "tests")])
    assert tables.both() == before
