"""What a dialler feels while leads are archived beside it: a process of its own that writes and reads as Vicidial does, at a
fixed pace.

`PYTHONPATH=scripts/lib python -m benchmark.dialler` runs it: settings as JSON on standard input, operations as JSON on
standard output. benchmark/felt.py starts it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pymysql

LIB = Path(__file__).parent.parent

CONNECTIONS = 8
OPERATIONS_A_SECOND = 320


@dataclass(frozen=True)
class Pace:
    """Where the dialler dials, and what."""

    port: int
    user: str
    password: str
    database: str
    leads: int
    """The dialler calls the leads 1 to this. Nobody archives them."""
    seed: int = 1


class Dialler:
    """A dialler in a process of its own. It dials from entry to exit of the block; its operations are known afterwards."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.operations: list[tuple[float, float]] = []
        """When each operation was due, in seconds since the first, and the seconds from then to its answer: an operation that
        could not even be sent in time counts from when it was due."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.dialler"],
            cwd=LIB,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(self._pace)) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "dialling\n":
            raise RuntimeError("the dialler did not start")
        return self

    def __exit__(self, *_: object) -> None:
        answer = self._process.communicate("stop\n")[0]
        self.operations = [(due, seconds) for due, seconds in json.loads(answer)]


def dial(pace: Pace) -> list[tuple[float, float]]:
    """Dial until a line can be read from standard input."""
    stop = threading.Event()
    operations: list[tuple[float, float]] = []
    ready = threading.Barrier(CONNECTIONS + 1)
    threads = [
        threading.Thread(target=_dial, args=(pace, number, ready, stop, operations), daemon=True)
        for number in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    print("dialling", flush=True)
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    return sorted(operations)


def _dial(
    pace: Pace, number: int, ready: threading.Barrier, stop: threading.Event, operations: list[tuple[float, float]]
) -> None:
    rng = random.Random(pace.seed * 1000 + number)
    connection = pymysql.connect(
        host="127.0.0.1",
        port=pace.port,
        user=pace.user,
        password=pace.password,
        database=pace.database,
        autocommit=True,
    )
    interval = CONNECTIONS / OPERATIONS_A_SECOND
    with connection, connection.cursor() as cursor:
        ready.wait()
        beginning = time.perf_counter()
        due = beginning + number * interval / CONNECTIONS
        while not stop.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            _operate(cursor, rng, pace.leads)
            operations.append((due - beginning, time.perf_counter() - due))
            due += interval


def _operate(cursor: Any, rng: random.Random, leads: int) -> None:
    """One operation of the dialler: a disposition, a look-up, now and then the hopper's search."""
    lead_id = rng.randint(1, leads)
    kind = rng.random()
    if kind < 0.55:
        status = rng.choice(("NA", "B", "DROP", "SALE", "NI"))
        cursor.execute(
            "UPDATE vicidial_list SET status = %s, user = '1001', called_count = called_count + 1,"
            " called_since_last_reset = 'Y', last_local_call_time = NOW() WHERE lead_id = %s",
            (status, lead_id),
        )
    elif kind < 0.99:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = %s", (lead_id,))
    else:
        cursor.execute(
            "SELECT lead_id, phone_number, gmt_offset_now FROM vicidial_list"
            " WHERE list_id = 101 AND status = 'NEW' AND called_since_last_reset = 'N' LIMIT 100"
        )
    cursor.fetchall()


if __name__ == "__main__":
    print(json.dumps(dial(Pace(**json.loads(sys.stdin.readline())))))
