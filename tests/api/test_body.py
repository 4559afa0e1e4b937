"""Request bodies that are not as they must be: each message to the letter, the values that are the reason as they were sent,
and both tables as they were before."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import httpx2
import pytest
from support.api import Api
from support.bodies import FLAGS, body
from support.refusals import Refusals

BOOLEAN = "{} must be a boolean value"
ARRAY = "lead_ids must be an array of integer values"
AT_LEAST = "lead_ids must contain atleast 1 value"
EXCEED = "lead_ids cannot exceed 500 values"
INTEGERS = "lead_ids must only contain integer values"
RANGE = "lead_ids must only contain integer values from 0 to 4294967295"
DUPLICATES = "lead_ids cannot contain duplicate values"
UNKNOWN_FIELD = "unknown field {}; the fields are insert_leads, update_leads, delete_leads, lead_ids, where"
NO_OBJECT = "request body must be a JSON object"
NO_JSON = "request body is not valid JSON: "
TOO_COMPLEX = "request body is too complex: it has more than 10000 brackets"

NEARLY_INTEGERS = ["1.0000000000000000001", "1E-400", "0.99999999999999999999"]
"""Lead 1 to a double, 0 and 1."""


def assert_refused(response: httpx2.Response, message: str, lead_ids: list[Any] | None = None) -> None:
    lead_ids = lead_ids or []
    answer = response.json()
    assert response.status_code == 400
    assert answer == {"message": message, "lead_errors": len(lead_ids), "lead_ids": lead_ids}
    assert repr(answer["lead_ids"]) == repr(lead_ids)  # 1 and 1.0 and True are different things to have sent


@pytest.mark.parametrize("value", ["", "null", "0", "1", '"true"', "[]", "[true]", "{}", "1.0"])
@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_that_is_no_boolean_or_is_absent(refusals: Refusals, flag: str, value: str) -> None:
    assert_refused(refusals.api.post(body(**{flag: value})), BOOLEAN.format(flag))


@pytest.mark.parametrize(
    ("lead_ids", "message", "reasons"),
    [
        ("", AT_LEAST, []),
        ("[]", AT_LEAST, []),
        *((value, ARRAY, []) for value in ("null", "4711", '"4711"', "true", "{}", '{"0": 4711}', '"[4711]"')),
        (str(list(range(10_000, 10_501))), EXCEED, []),
        ('["0"]', INTEGERS, ["0"]),
        ("[1.5]", INTEGERS, [1.5]),
        ("[4711, 0.1, 2, 1e-5]", INTEGERS, [0.1, 1e-5]),
        ("[true, false]", INTEGERS, [True, False]),
        ("[null]", INTEGERS, [None]),
        ("[[4711]]", INTEGERS, [[4711]]),
        ("[[[1], []], {}]", INTEGERS, [[[1], []], {}]),
        ('[{"lead_ids": [4711]}]', INTEGERS, [{"lead_ids": [4711]}]),
        ('["", " 1", "é", "\\u0000", "\\ud83d\\ude00"]', INTEGERS, ["", " 1", "é", "\0", "😀"]),
        ('[1, "1", 1.5, "1", null]', INTEGERS, ["1", 1.5, "1", None]),
        ("[-1]", RANGE, [-1]),
        ("[4294967296]", RANGE, [4294967296]),
        ("[0, -1, 4294967295, 4294967296, 1]", RANGE, [-1, 4294967296]),
        ("[-1.0, 4294967296.0, 1e300]", RANGE, [-1.0, 4294967296.0, 1e300]),
        ("[18446744073709551616, 9223372036854775808]", RANGE, [18446744073709551616, 9223372036854775808]),
        (f"[{'1' * 100}]", RANGE, [int("1" * 100)]),
        (f"[{'1' * 101}, -{'9' * 1_000_000}]", RANGE, ["1" * 99 + "…", "-" + "9" * 98 + "…"]),
        ("[1e400, -1e400, 5]", RANGE, ["1e400", "-1e400"]),
        (f"[1e{'9' * 30}, -0.1e+{'9' * 500_000}]", RANGE, [f"1e{'9' * 30}", f"-0.1e+{'9' * 93}…"]),
        ("[4294967295.0000000001]", INTEGERS, ["4294967295.0000000001"]),
        ("[1.0000000000000000001, 1E-400, 0.99999999999999999999]", INTEGERS, NEARLY_INTEGERS),
        ("[1, 1.0000000000000000001]", INTEGERS, ["1.0000000000000000001"]),
        (f"[1e-{'9' * 30}, -1e-{'9' * 30}]", INTEGERS, [f"1e-{'9' * 30}", f"-1e-{'9' * 30}"]),
        (f"[1.{'0' * 1_000_000}1]", INTEGERS, [f"1.{'0' * 97}…"]),
        ("[0.10, -0.5e0, 5e-324, 4e-324]", INTEGERS, [0.1, -0.5, 5e-324, "4e-324"]),
        ("[0.1000000000000000055511151231257827]", INTEGERS, ["0.1000000000000000055511151231257827"]),
        (f'["{"é" * 100}", "{"é" * 101}"]', INTEGERS, ["é" * 100, "é" * 99 + "…"]),
        (f"[[{'1,' * 48}1], [{'1,' * 49}1], [[{'[],' * 100}[]]]]", INTEGERS, [[1] * 49, "[…]", "[…]"]),
        (f'[{{"a": "{"b" * 92}"}}, {{"a": "{"b" * 93}"}}]', INTEGERS, [{"a": "b" * 92}, "{…}"]),
        ('[[1.5, 1e400, {"a": 1.0000000000000000001}]]', INTEGERS, [[1.5, "1e400", {"a": "1.0000000000000000001"}]]),
        (f"[{','.join([f'[{9:095}]'.replace('0', '9')] * 200)}]", INTEGERS, [[int("9" * 95)]] * 102 + ["[…]"] * 98),
        ("[0, 0]", DUPLICATES, [0]),
        ("[0, -0]", DUPLICATES, [0]),
        ("[0, -0.0]", DUPLICATES, [0]),
        ("[1.0, 1]", DUPLICATES, [1.0]),
        ("[1, 1.0]", DUPLICATES, [1]),
        ("[10, 1e1, 10.0]", DUPLICATES, [10]),
        ("[4294967295, 4294967295.0]", DUPLICATES, [4294967295]),
        ("[1, 2, 42949672950e-1, 4294967295, 10e-1]", DUPLICATES, [1, 4294967295.0]),
        (f"[1.{'0' * 1000}, 1]", DUPLICATES, [f"1.{'0' * 97}…"]),
        ("[1, 2, 3, 2, 1, 2]", DUPLICATES, [1, 2]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_wrong_lead_ids_are_refused(refusals: Refusals, lead_ids: str, message: str, reasons: list[Any]) -> None:
    assert_refused(refusals.api.post(body(lead_ids)), message, reasons)


def test_the_largest_and_the_smallest_lead_id_are_right_and_so_is_the_largest_batch(refusals: Refusals) -> None:
    look = dict.fromkeys(FLAGS, "false")

    response = refusals.api.post(body("[0, 4294967295, 4294967294, 1.0, 2e0]", **look))
    assert (response.status_code, response.json()["lead_ids"]) == (404, [4294967294])

    assert refusals.api.post(body("[-0, 4294967295.0, 1.0]", **look)).json()["select_count"] == 3
    assert refusals.api.post(body(str(list(range(10_000, 10_500))))).status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("delete_lead", '"delete_lead"'),
        ("Insert_leads", '"Insert_leads"'),
        ("lead_ids ", '"lead_ids "'),
        ("", '""'),
        ("é\\u0000", '"\\u00e9\\u0000"'),
        ('\\"', '"\\""'),
        ("x" * 1000, f'"{"x" * 50}"'),
        ('a": 1, "b', '"a", "b"'),
    ],
)
def test_an_unknown_field_is_named(refusals: Refusals, name: str, shown: str) -> None:
    assert_refused(refusals.api.post(body(**{name: "true"})), UNKNOWN_FIELD.format(shown))


@pytest.mark.parametrize("value", ["null", "true", "0", '""', "[]", f"[{body()}]", '"{}"'])
def test_a_body_that_is_json_but_no_object(refusals: Refusals, value: str) -> None:
    assert_refused(refusals.api.post(value), NO_OBJECT)


FIRST_TO_LAST = [
    (UNKNOWN_FIELD.format('"x"'), {"x": "1"}),
    *((BOOLEAN.format(flag), {flag: "1"}) for flag in FLAGS),
    *((message, {"lead_ids": value}) for message, value in ((AT_LEAST, ""), (ARRAY, "1"), (EXCEED, str([1] * 501)))),
    *((message, {"lead_ids": value}) for message, value in ((INTEGERS, "[1.5]"), (RANGE, "[-1]"), (DUPLICATES, "[1, 1]"))),
]
PAIRS = [pair for pair in combinations(FIRST_TO_LAST, 2) if pair[0][1].keys() != pair[1][1].keys()]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda pair: pair[0][:40])
def test_of_two_things_that_are_wrong_the_first_in_order_is_told(
    refusals: Refusals, first: tuple[str, dict[str, str]], second: tuple[str, dict[str, str]]
) -> None:
    response = refusals.api.post(body(**{**second[1], **first[1]}))

    assert (response.status_code, response.json()["message"]) == (400, first[0])


@pytest.mark.parametrize(
    ("lead_ids", "message", "reasons"),
    [
        (["a"] * 501, EXCEED, []),
        ([-1] * 501, EXCEED, []),
        ([1] * 501, EXCEED, []),
        ([-1, "a", 1, 1], INTEGERS, ["a"]),
        (["a", "a"], INTEGERS, ["a", "a"]),
        ([1, 1, -1, -1], RANGE, [-1, -1]),
        ([1] * 500, DUPLICATES, [1]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_of_ids_that_are_wrong_in_several_ways_the_first_is_told(
    refusals: Refusals, lead_ids: list[Any], message: str, reasons: list[Any]
) -> None:
    assert_refused(refusals.api.archive({**Api.ALL, "lead_ids": lead_ids}), message, reasons)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "Expecting value"),
        (b" \n", "Expecting value"),
        (b"insert_leads=true", "Expecting value"),
        (b"{", "Expecting property name"),
        (body()[:-1].encode(), "Expecting"),
        (body().encode() + b"x", "Extra data"),
        (body().encode() * 2, "Extra data"),
        (body().encode() + b"\0", "Extra data"),
        (body().replace('"', "'").encode(), "Expecting property name"),
        (body("[4711,]").encode(), "Expecting value"),
        (body("[04711]").encode(), "Expecting"),
        (body("[+1]").encode(), "Expecting"),
        (body("[0x1]").encode(), "Expecting"),
        (body("[1.]").encode(), "Expecting"),
        (body("[4711] // all").encode(), "Expecting"),
        (body('["\n"]').encode(), "Invalid control character"),
        (body('["\\x"]').encode(), "Invalid \\escape"),
        (body("[NaN]").encode(), "it holds NaN"),
        (body("[Infinity]").encode(), "it holds Infinity"),
        (body(insert_leads="-Infinity").encode(), "it holds -Infinity"),
        (body('["\\ud800"]').encode(), "it holds a lone surrogate"),
        (body('["\\udc00\\ud800"]').encode(), "it holds a lone surrogate"),
        (body(**{"\\udfff": "1"}).encode(), "it holds a lone surrogate"),
        (body('["\\uD83D\\ud83d\\uDE00"]').encode(), "it holds a lone surrogate"),
        (body('["\\\\\\ud800"]').encode(), "it holds a lone surrogate"),
        (b'"\\ud800"', "it holds a lone surrogate"),
        (body('["\xff"]').encode("latin-1"), "it is not UTF-8 at byte 81"),
        (body('["\ud800"]').encode(errors="surrogatepass"), "it is not UTF-8 at byte 81"),
        (body('["').encode() + b'\xc0\xaf"]}', "it is not UTF-8"),
        (body().encode("utf-8-sig"), "Unexpected UTF-8 BOM"),
        (body().encode("utf-16"), "it is not UTF-8 at byte 0"),
        (body().encode("utf-16-le"), "Expecting"),
        (body().encode("utf-32-be"), "Expecting"),
        (b'{"lead_ids": [1], "lead_ids": [2]}', 'the field "lead_ids" is given twice'),
        (body(**{"lead\\u005fids": "[4711]"}).encode(), 'the field "lead_ids" is given twice'),
        (body()[:-1].encode() + b', "delete_leads": true}', 'the field "delete_leads" is given twice'),
        (body('[{"a": 1, "a": 1}]').encode(), 'the field "a" is given twice'),
        (b'[{"x": {"": 1, "": 2}}]', 'the field "" is given twice'),
        (b'{"\\ud800": 1, "\\ud800": 1}', 'the field "\\ud800" is given twice'),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_body_that_only_resembles_json(refusals: Refusals, raw: bytes, reason: str) -> None:
    response = refusals.api.post(raw)

    assert response.json()["message"].startswith(NO_JSON + reason)
    assert_refused(response, response.json()["message"])


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("value", ["1e400", "9" * 5_000, '"\\\\ud800"'])
def test_a_flag_that_is_a_number_or_a_text_out_of_the_ordinary(refusals: Refusals, flag: str, value: str) -> None:
    assert_refused(refusals.api.post(body(**{flag: value})), BOOLEAN.format(flag))


@pytest.mark.parametrize("path", ["archive", "dearchive", "compare"])
def test_a_number_that_is_nearly_a_lead_id_is_none_for_every_operation(refusals: Refusals, path: str) -> None:
    fields = {"archive": {}, "dearchive": {"update_leads": ""}, "compare": dict.fromkeys(FLAGS, "")}[path]
    for number in [*NEARLY_INTEGERS, "4294967295.0000000001", "2.9999999999999999999"]:
        response = refusals.api.post(body(f"[{number}]", **fields), f"/vicidial/leads/{path}")

        assert_refused(response, INTEGERS, [number])


@pytest.mark.parametrize(
    ("number", "lead_id"),
    [
        *(("1.0", 1), ("1e0", 1), ("10E-1", 1), ("0.1e+1", 1), ("1." + "0" * 5_000, 1), ("1e" + "0" * 5_000, 1)),
        *((f"1{'0' * 5_000}e-5000", 1), (f"0.{'0' * 5_000}1e5001", 1)),
        *(("-0", 0), ("-0.0", 0), ("0e5", 0), ("0E" + "9" * 5_000, 0), ("-0.0e-" + "9" * 5_000, 0)),
        *(("42949672950e-1", 4294967295), ("4294967295.0", 4294967295), ("4.294967295e9", 4294967295)),
        *(("4.711e3", 4711), ("47110000000000000000e-16", 4711)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_integer_may_be_written_in_any_way_that_json_has(refusals: Refusals, number: str, lead_id: int) -> None:
    look = body(f"[{number}]", **dict.fromkeys(FLAGS, ""))
    answer = refusals.api.post(look, "/vicidial/leads/compare").json()
    assert [lead["lead_id"] for lead in answer["leads"]] == [lead_id]

    untouched = dict.fromkeys(FLAGS, "false")
    assert refusals.api.post(body(f"[{number}]", **untouched)).json()["select_count"] == 1


@pytest.mark.parametrize(
    "form", [body("{}"), body(insert_leads="{}"), body(x="{}"), "{}"], ids=["ids", "flag", "field", "top"]
)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused_whatever_its_depth(refusals: Refusals, form: str, opening: str, closing: str) -> None:
    for depth in (2, 48, 49, 50, 51, 90, 100, 101, 253, 254, 255, 256, 257, 400, 900, 980, 990, 995, 1000, 5000, 9_998):
        response = refusals.api.post(form.replace("{}", opening * depth + "1" + closing * depth, 1))

        assert response.status_code == 400, depth
        message = response.json()["message"]
        if message.startswith(NO_JSON):
            # How deep Python can parse differs between its versions.
            assert depth > 900
            assert message == NO_JSON + "it is nested too deeply"


@pytest.mark.parametrize("item", ["0", '"a"', "1.5", "-1", "9" * 20])
def test_far_too_many_ids_are_refused_for_their_number(refusals: Refusals, item: str) -> None:
    lead_ids = "[" + ",".join([item] * (1_000_000 // (len(item) + 1))) + "]"

    assert_refused(refusals.api.post(body(lead_ids)), EXCEED)


@pytest.mark.parametrize(
    "raw", [body("[" * 10_000), body(f"[{'{},' * 9_999}0]"), body(f'["{"[{" * 5_000}"]'), "[" * 1_000_000]
)
def test_more_brackets_than_any_body_needs_are_refused_unparsed(refusals: Refusals, raw: str) -> None:
    assert_refused(refusals.api.post(raw), TOO_COMPLEX)


def test_more_colons_than_any_body_needs_are_refused_unparsed(refusals: Refusals) -> None:
    fields = ",".join(f'"{number}":0' for number in range(40_001))

    assert_refused(refusals.api.post("{" + fields + "}"), "request body is too complex: it has more than 40000 colons")
    assert_refused(
        refusals.api.post(body('["' + ":" * 39_996 + '"]')), "lead_ids must only contain integer values", [":" * 99 + "…"]
    )


def test_as_many_brackets_as_are_allowed_are_parsed(refusals: Refusals) -> None:
    assert_refused(refusals.api.post(body(f"[{'{},' * 9_998}0]")), EXCEED)
