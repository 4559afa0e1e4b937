"""How many requests of one API key are in progress at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.api.error_responses import RETRY_AFTER
from service.errors import RefusalError
from service.observability.metrics import TOO_MANY

MOST_OF_A_KEY = 200
"""Requests of one key that a process has in progress at a time. A caller that hangs up behind a proxy looks like one that only
ends its side: until its turn, its request keeps a file descriptor and, while its body arrives, up to a megabyte. By default,
Linux gives a process 1,024 descriptors: so several such keys leave room for others. Nobody gains by more requests: those of
one key have their turns one after the other."""


class InProgress:
    """Counts the requests from the moment when their key is known until their answer."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    @contextmanager
    def one_of(self, key: str) -> Iterator[None]:
        """Count one request while the block runs. key: the name of the API key. Raises RefusalError (503)."""
        if self._requests[key] >= MOST_OF_A_KEY:
            TOO_MANY.inc()
            raise RefusalError(
                503,
                f"{MOST_OF_A_KEY} requests of this key are in progress; nothing was changed, repeat the request later",
                {"Retry-After": str(RETRY_AFTER)},
            )
        self._requests[key] += 1
        try:
            yield
        finally:
            self._requests[key] -= 1
            if not self._requests[key]:
                del self._requests[key]
