"""The slowest known request bodies: the CPU time to parse and refuse or accept them."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.responses import JSONResponse

from benchmark.progress import progress
from benchmark.spread import Spread
from service.api.contract import Contract
from service.api.error_responses import refusal_for
from service.api.header_checks import LARGEST_BODY
from service.errors import InvalidBodyError

LIMITS = (500, 10_000)
"""The default LEAD_IDS_LIMIT and the largest."""

START = b'{"insert_leads":true,"update_leads":true,"delete_leads":true,"lead_ids":'


def ids(value: bytes, count: int = LARGEST_BODY) -> bytes:
    """Return a body with lead_ids of one value: this many, or as many as fit."""
    count = min(count, (LARGEST_BODY - len(START) - len(b"[]}") + 1) // (len(value) + 1))
    return START + b"[" + b",".join([value] * count) + b"]}"


def long(start: bytes, digit: bytes, end: bytes = b"") -> bytes:
    """Return a body with one lead id that is as long as the limit allows."""
    return ids(start + digit * (LARGEST_BODY - len(ids(start + end))) + end)


def fields(*_: int) -> bytes:
    """Return an object with as many distinct unknown fields as fit."""
    count = LARGEST_BODY // 10
    return b"{" + b",".join(b'"%05x":0' % number for number in range(count)) + b"}"


BODIES: dict[str, Callable[[int], bytes]] = {
    "integers of 995 digits": lambda limit: ids(b"9" * 995, limit),
    "integers of 102 digits": lambda limit: ids(b"9" * 102, limit),
    "integers of 99 digits": lambda limit: ids(b"9" * 99, limit),
    "integers of 20 digits": lambda limit: ids(b"9" * 20, limit),
    "an integer of a megabyte": lambda _: long(b"", b"9"),
    "an exponent of a megabyte": lambda _: long(b"1e", b"9"),
    "a fraction of a megabyte": lambda _: long(b"1.", b"0", b"1"),
    "integers and one of 20 digits": lambda _: START + b"[" + b"9" * 20 + b",0" * (LARGEST_BODY // 2 - 50) + b"]}",
    "integers": lambda _: ids(b"0"),
    "numbers with an exponent": lambda _: ids(b"0e0"),
    "the largest double": lambda limit: ids(b"1.7976931348623157e308", limit),
    "the smallest double": lambda limit: ids(b"5e-324", limit),
    "1 with a hundred zeros": lambda limit: ids(b"1." + b"0" * 100, limit),
    "too small": lambda limit: ids(b"-1", limit),
    "strings of 101 characters": lambda limit: ids(b'"' + b"a" * 101 + b'"', limit),
    "escapes": lambda _: ids(b'"' + rb"\n" * 8 + b'"'),
    "surrogates": lambda _: ids(rb'"\ud83d\ude00"'),
    "a string of a megabyte": lambda _: long(b'"', b"a", b'"'),
    "arrays": lambda _: ids(b"[]", 9_998),
    "objects": lambda _: ids(b'{"a":0,"b":0}', 9_998),
    "arrays that are shown": lambda limit: ids(b"[" + b"0," * 48 + b"0]", limit),
    "unknown fields": fields,
}


def answer(contract: Contract, body: bytes) -> bytes:
    """Return the body of the answer that refuses this request body; empty if it is valid."""
    try:
        contract.archive_request.parse(body)
    except InvalidBodyError as error:
        refusal = refusal_for(error)
        return bytes(JSONResponse(refusal.body, refusal.status).body)
    return b""


def cpu_seconds(contract: Contract, body: bytes) -> float:
    """Return the CPU seconds of this thread from the body to the answer."""
    started = time.thread_time()
    answer(contract, body)
    return time.thread_time() - started


def measure_bodies(rounds: int) -> dict[int, tuple[str, Spread]]:
    """Return the slowest body for each limit, and its CPU seconds."""
    progress("request bodies")
    slowest = {}
    for limit in LIMITS:
        contract = Contract(limit)
        spreads = {}
        for name, make in BODIES.items():
            body = make(limit)
            spreads[name] = Spread.of([cpu_seconds(contract, body) for _ in range(rounds)])
        slowest[limit] = max(spreads.items(), key=lambda item: item[1].median)
    return slowest
