"""A time limit that does not depend on a single cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AGAIN = 0.5
"""Seconds after which a block that was cancelled is cancelled again. To clean up takes less."""


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError if the block takes longer, as asyncio.timeout() does, but cancel it until it has ended.

    A library may lose a cancellation: asyncio.wait_for(), with which the driver connects, does so before Python 3.12 if the
    connection is made at that moment. The driver would then wait for the server without any limit, and the pool with it.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    cancelled_by_others = task.cancelling()
    cancellations = 0
    timer: asyncio.TimerHandle

    def cancel() -> None:
        nonlocal cancellations, timer
        cancellations += 1
        task.cancel()
        timer = loop.call_later(AGAIN, cancel)

    timer = loop.call_later(max(0.0, seconds), cancel)
    try:
        yield
    except asyncio.CancelledError as error:
        if not cancellations or task.cancelling() - cancellations > cancelled_by_others:
            raise
        raise TimeoutError from error
    finally:
        timer.cancel()
        for _ in range(cancellations):
            task.uncancel()
