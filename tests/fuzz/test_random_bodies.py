"""Random request bodies: none breaks the service, and a refused one changes nothing."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import httpx2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.bodies import FLAGS, body
from support.refusals import UNKNOWN, Refusals

TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)  # including surrogates
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
# Few different ids, some of them equal, so that there are duplicates; and leads in every state.
GOOD_IDS = st.lists(st.sampled_from([0, 1, 2, 3, 4711, 1.0, 4294967295, UNKNOWN]), min_size=1, max_size=3)
OTHER_IDS = st.lists(st.sampled_from([1, UNKNOWN]) | st.integers(-2, 2**32 + 2) | SCALARS, max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a body that is valid, or invalid in one way."""
    body = {**{flag: draw(st.booleans()) for flag in FLAGS}, "lead_ids": draw(GOOD_IDS)}
    match draw(st.sampled_from(["good", "lacking", "flag", "ids", "ids", "extra"])):
        case "lacking":
            del body[draw(st.sampled_from([*body]))]
        case "flag":
            body[draw(st.sampled_from(FLAGS))] = draw(VALUES)
        case "ids":
            body["lead_ids"] = draw(OTHER_IDS)
        case "extra":
            body[draw(TEXTS)] = draw(VALUES)
    return body


def is_valid(value: Any) -> bool:
    """Return whether a body is valid, by a second implementation of the contract."""
    if not isinstance(value, dict) or value.keys() != {*FLAGS, "lead_ids"}:
        return False
    lead_ids = value["lead_ids"]
    return (
        all(isinstance(value[flag], bool) for flag in FLAGS)
        and isinstance(lead_ids, list)
        and all(type(each) in {int, float} and each == each // 1 and 0 <= each < 2**32 for each in lead_ids)
        and 1 <= len(lead_ids) == len(set(lead_ids)) <= 500
    )


def assert_safe(refusals: Refusals, response: httpx2.Response) -> None:
    """Assert that either the batch was processed, or nothing was changed."""
    assert response.status_code in {200, 400, 404}
    if response.status_code == 200:
        refusals.before = refusals.tables.both()
    refusals.check()


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Draw a JSON number: an id or nearly one, with any number of zeros, a point anywhere and an exponent."""
    digits = str(draw(st.sampled_from([0, 1, 4711, UNKNOWN, 4294967295, 4294967296]) | st.integers(0, 10**25)))
    digits += "0" * draw(st.integers(0, 25)) + draw(st.sampled_from(["", "", "", "1", "9"]))
    point = draw(st.integers(1, len(digits)))
    exponent = draw(st.just(len(digits) - point) | st.integers(-30, 30) | st.integers(-(10**20), 10**20))
    if point > 1 and digits.startswith("0"):
        point = 1
    number = draw(st.sampled_from(["", "", "-"])) + digits[:point] + ("." + digits[point:] if digits[point:] else "")
    return number + (f"{draw(st.sampled_from(['e', 'E', 'e+']))}{exponent}".replace("+-", "-") if exponent else "")


def exactly(number: str) -> Fraction | None:
    """Return the value of the number. None: it is too far from any id to compute."""
    mantissa, _, exponent = number.lower().partition("e")
    if abs(int(exponent or 0)) > 1_000 and Fraction(mantissa):
        return None
    return Fraction(mantissa) * Fraction(10) ** (int(exponent or 0) if Fraction(mantissa) else 0)


thorough = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@thorough
@given(st.one_of(VALUES, bodies(), bodies()))
def test_any_json_is_processed_if_it_is_valid_and_refused_if_not(refusals: Refusals, value: Any) -> None:
    response = refusals.api.archive(value)

    assert_safe(refusals, response)
    assert (response.status_code == 400) is not is_valid(value)


@thorough
@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.integers(0, 3),
            st.binary(max_size=3)
            | st.sampled_from(
                [
                    b'"',
                    b"\\",
                    b"\\ud800",
                    b"[",
                    b"]",
                    b"{",
                    b"}",
                    b",",
                    b":",
                    b"-",
                    b"e9",
                    b"1e400",
                    b".0",
                    b"null",
                    b"NaN",
                    b"\xff",
                    b"/*",
                ]
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([(0, 0, b"")])
def test_any_damage_to_a_good_body_is_refused_or_does_no_harm(
    refusals: Refusals, damage: list[tuple[int, int, bytes]]
) -> None:
    raw = body(f"[{UNKNOWN}, 4711]").encode()
    for start, length, instead in damage:
        raw = raw[:start] + instead + raw[start + length :]

    assert_safe(refusals, refusals.api.post(raw))


@thorough
@given(st.lists(numbers(), min_size=1, max_size=3))
@example(["1.0000000000000000001"])
@example(["4294967295.0000000001"])
@example(["1E-400"])
@example(["42949672950e-1"])
@example(["-0.0e5"])
@example(["0e99999999999999999999"])
def test_a_number_is_a_lead_id_if_it_is_exactly_one_however_it_is_written(refusals: Refusals, sent: list[str]) -> None:
    response = refusals.api.post(body(f"[{', '.join(sent)}]", **dict.fromkeys(FLAGS, "false")))

    values = [exactly(number) for number in sent]
    is_id = [value is not None and value.denominator == 1 and 0 <= value < 2**32 for value in values]
    assert (response.status_code == 400) is not (all(is_id) and len(set(values)) == len(values))
    if response.status_code == 400:
        # The answer contains each wrong value, number or string, with all digits of the request.
        repeated = [str(value) for value in json.loads(response.content, parse_float=str, parse_int=str)["lead_ids"]]
        for number in repeated:
            assert number in sent or exactly(number) in values
        assert all(is_id) or not any(is_id[sent.index(number)] for number in repeated if number in sent)
