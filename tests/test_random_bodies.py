"""Random request bodies: none breaks the service, and whatever is refused changes nothing."""

from __future__ import annotations

from typing import Any

import httpx2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from refusals import UNKNOWN, Refusals
from test_body import FLAGS, body

TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)  # surrogates too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
# Few different ids, some of them equal, so that there are duplicates; and leads in every state.
GOOD_IDS = st.lists(st.sampled_from([0, 1, 2, 3, 4711, 1.0, 4294967295, UNKNOWN]), min_size=1, max_size=3)
OTHER_IDS = st.lists(st.sampled_from([1, UNKNOWN]) | st.integers(-2, 2**32 + 2) | SCALARS, max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A body that is good, or wrong in one way."""
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
    """What the contract says of a body, said once more."""
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
    """Either the batch was processed, or nothing was changed."""
    assert response.status_code in {200, 400, 404}
    if response.status_code == 200:
        refusals.before = refusals.tables.both()
    refusals.check()


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
