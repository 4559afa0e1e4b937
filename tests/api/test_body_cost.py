"""What a request body can cost: no body up to the limit of its size holds the event loop for long, however it is made.

CPU time is compared with what json.loads takes for a megabyte of zeros here and now: a busy machine slows both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from benchmark.bodies import BODIES, LIMITS, START, answer, cpu_seconds
from hypothesis import HealthCheck, example, given, settings, target
from hypothesis import strategies as st
from support.api import Api
from support.refusals import Refusals
from support.tables import Tables

from service.api.contract import Contract
from service.api.header_checks import LARGEST_BODY
from service.api.strict_json import bounded, parse

MOST_EXPENSIVE = 15
"""The limit in multiples of the yardstick. The slowest known body takes 4 times as long."""

ZEROS = b"[" + b"0," * (LARGEST_BODY // 2 - 1) + b"0]"

CONTRACTS = {limit: Contract(limit) for limit in LIMITS}


def yardstick() -> float:
    """CPU seconds of this thread, the least of some."""
    seconds = []
    for _ in range(3):
        started = time.thread_time()
        json.loads(ZEROS)
        seconds.append(time.thread_time() - started)
    return min(seconds)


def cost(contract: Contract, body: bytes) -> float:
    """Return the cost of a body in multiples of the yardstick: the lower of two runs, since one may be interrupted."""
    least = yardstick()
    return min(cpu_seconds(contract, body) for _ in range(2)) / least


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", BODIES)
def test_no_body_that_was_ever_slow_is_slow(name: str, limit: int) -> None:
    body = BODIES[name](limit)

    assert len(body) <= LARGEST_BODY
    assert cost(CONTRACTS[limit], body) < MOST_EXPENSIVE


digits = st.sampled_from([b"0", b"1", b"9", b"10", b"99999999", b"4294967296", b"0123456789"])
runs = st.builds(lambda run, times: run * times, digits, st.sampled_from([1, 2, 10, 99, 430, 1_100, 5_000, 100_000]))
numbers = st.builds(
    lambda sign, whole, rest: sign + (b"1" + whole if len(whole) > 1 else whole) + rest,
    st.sampled_from([b"", b"-"]),
    runs,
    st.just(b"") | st.builds(lambda mark, run: mark + run, st.sampled_from([b".", b"e", b"e-", b"E+", b".0e", b".1e-"]), runs),
)
characters = st.sampled_from([b"a", rb"\n", rb"\u00e9", rb"\ud83d\ude00", "😀".encode(), rb"\\", b"[", b"{", b"1", b" "])
lengths = st.sampled_from([0, 1, 9, 95, 101, 1_000, 100_000])
texts = st.builds(lambda one, times: b'"' + one * times + b'"', characters, lengths)
scalars = numbers | texts | st.sampled_from([b"true", b"null", b" 0 "])


def array(items: list[bytes], times: int) -> bytes:
    """The items so many times, or as often as they fit in."""
    times = min(times, LARGEST_BODY // (sum(map(len, items)) + len(items) + 1))
    return b"[" + b",".join(items * times) + b"]"


def object_(name: bytes, value: bytes, times: int) -> bytes:
    """As many fields with different names, or as fit in."""
    times = min(times, LARGEST_BODY // (len(name) + len(value) + 7))
    return b"{" + b",".join(b"%s%d%s:%s" % (name[:-1], number, name[-1:], value) for number in range(times)) + b"}"


few = st.sampled_from([1, 2, 10, 50])
values = st.recursive(
    scalars,
    lambda inner: st.builds(array, st.lists(inner, max_size=3), few) | st.builds(object_, texts, inner, few),
    max_leaves=4,
)
starts = st.sampled_from([START, START, b'{"lead_ids":', b'{"insert_leads":1,"lead_ids":', b"", b'{"a":'])
ends = st.sampled_from([b"}", b"}", b"", b"]", b"\xff"])
counts = st.sampled_from([499, 500, 501, 9_990, 10_000, 10_001, LARGEST_BODY])


def body_of(values: list[bytes], count: int, start: bytes, end: bytes) -> bytes:
    """The values again and again: so many, or as many as fit in."""
    return (start + array(values, max(1, count // len(values))) + end)[:LARGEST_BODY]


bodies = st.builds(body_of, st.lists(values, min_size=1, max_size=3), counts, starts, ends) | st.builds(
    lambda name, value: object_(name, value, LARGEST_BODY)[:LARGEST_BODY], texts, scalars
)


@pytest.mark.parametrize("limit", LIMITS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies)
@example(body=BODIES["integers of 995 digits"](1_100))
@example(body=BODIES["integers of 995 digits"](10_000))
@example(body=body_of([b"9" * 905], 10_000, START, b"}"))
def test_the_slowest_body_that_can_be_found_is_not_slow(limit: int, body: bytes) -> None:
    times = cost(CONTRACTS[limit], body)
    target(times)

    assert times < MOST_EXPENSIVE
    assert len(answer(CONTRACTS[limit], body)) < 1.2 * LARGEST_BODY


def test_what_a_validator_sees_of_a_valid_value_is_the_value_itself_and_of_others_as_little_as_possible() -> None:
    sent = b'{"a": [1, 1.0, 10e-1, 9007199254740992, true, null, "x"], "b": {"c": "%s"}}' % (b"y" * 1_000)
    same = {"a": [1, 1, 1, 2**53, True, None, "x"], "b": {"c": "y" * 1_000}}
    assert repr(bounded(parse(sent))) == repr(same)

    sent = b'{"%s": [%s, -1e999999999, 1.0000000000000000001, [[[1]]], {"a": {"b": 1}}]}' % (b"y" * 2_000, b"9" * 2_000)
    assert repr(bounded(parse(sent))) == repr({"y" * 1_000: [2**53, -(2**53), 0.5, [[]], {"a": {}}]})
    assert len(bounded(list(range(5_000)))) == len(bounded({str(number): 0 for number in range(5_000)})) == 1_001
    assert [bounded(parse(raw), depth=0) for raw in (b"[1]", b'{"a":1}', b'"x"', b"1.5")] == [[], {}, "x", 0.5]


RANGE = "lead_ids must only contain integer values from 0 to 4294967295"


def test_large_integers_are_refused_like_all_that_are_out_of_range(refusals: Refusals) -> None:
    response = refusals.api.post(BODIES["integers of 995 digits"](500))

    assert response.status_code == 400
    assert response.json() == {"message": RANGE, "lead_errors": 500, "lead_ids": ["9" * 99 + "…"] * 500}


def test_so_are_as_many_as_the_largest_limit_allows(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(9)
    before = tables.both()

    response = new_api(LEAD_IDS_LIMIT="10000").post(BODIES["integers of 99 digits"](10_000))

    assert response.status_code == 400
    assert response.json() == {
        "message": RANGE,
        "lead_errors": 10_000,
        "lead_ids": [int("9" * 99)] * 1_000 + ["9" * 99] * 9_000,
    }
    assert tables.both() == before
