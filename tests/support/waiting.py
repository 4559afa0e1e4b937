"""Wait for the effects of another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable

from support.process import PATIENCE


def wait_until(
    condition: Callable[[], object], seconds: float = PATIENCE, message: Callable[[], str] = lambda: "it did not happen"
) -> None:
    """Wait until a condition is true. Raise AssertionError with the message if it is still false after these seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {message()}"
        time.sleep(0.02)
