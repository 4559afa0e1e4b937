"""What the benchmark is doing, on standard error."""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()


def progress(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)
