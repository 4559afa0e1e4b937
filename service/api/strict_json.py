"""Parse JSON strictly, without losing digits of numbers, in a time that is proportional to its length."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, NoReturn

from service.errors import InvalidJSONError

FAR = 2**53
"""An integer beyond every range of the contract. It stands for all larger ones: arithmetic with them is slow."""

LONGEST_SHOWN = 100
"""The maximum number of characters of a value that an answer repeats."""

MOST_SHOWN = 10_000
"""The maximum number of characters of all arrays and objects together that an answer repeats."""

MOST_BRACKETS = 10_000
"""The maximum number of opening brackets. The schemas need few; a megabyte of nested arrays takes a tenth of a second to
parse."""

MOST_COLONS = 40_000
"""The maximum number of colons, one for each field. The texts of the longest conditions may hold 30,000."""

MOST_NUMBERS = 1_000
"""The maximum number of numbers with a fraction, an exponent or many digits that an answer repeats as numbers."""

MANY_DIGITS = b"0" * 16
"""An integer with fewer digits is less than FAR."""
ALL_ZEROS = bytes.maketrans(b"123456789", b"000000000")

PAIRED = re.compile(
    r"[^\\]*+(?:\\(?:[^u]|u(?!d[89a-f])|ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})[^\\]*+)*+",
    re.IGNORECASE,
)
"""Matches JSON in which surrogates are in pairs. Its quantifiers are possessive, so that it never backtracks."""


def parse(raw: bytes) -> Any:
    """Parse JSON, and nothing that only resembles it.

    A number with a fraction, an exponent or many digits is returned as bytes, as it was sent: a float would lose digits
    (1.0000000000000000001 would be 1), and an int of a million digits takes hours to make. Nothing else is returned as bytes.

    Also refused: a field that is given twice, since it is not clear which one counts; lone surrogates, which UTF-8 cannot
    encode; more than MOST_BRACKETS opening brackets or MOST_COLONS colons; nesting that is too deep for Python. Raises
    InvalidJSONError.
    """
    if raw.count(b"[") + raw.count(b"{") > MOST_BRACKETS:
        raise InvalidJSONError(f"too complex: it has more than {MOST_BRACKETS} brackets")
    if raw.count(b":") > MOST_COLONS:
        raise InvalidJSONError(f"too complex: it has more than {MOST_COLONS} colons")
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_no_field_twice,
            parse_constant=_no_constant,
            parse_float=str.encode,
            # A function that is called for each of 500 ids takes longer than everything else.
            parse_int=str.encode if MANY_DIGITS in raw.translate(ALL_ZEROS) else None,
        )
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 at byte {error.start}"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    else:
        if "\\u" not in text or PAIRED.fullmatch(text):
            return value
        reason = "it holds a lone surrogate"
    raise InvalidJSONError(f"not valid JSON: {reason}")


def integer(value: Any) -> int | None:
    """Return a parsed value as an integer between -FAR and FAR; None if it is no integer. 1.0 and 10e-1 are 1."""
    if type(value) is int:  # bool is a subclass of int
        return value
    if not isinstance(value, bytes):
        return None
    exact = _exact(value.decode())
    if exact != exact.to_integral_value():
        return None
    # Compare before making an int: the int of 1e999999 has a million digits.
    return FAR if exact > FAR else -FAR if exact < -FAR else int(exact)


def bounded(value: Any, depth: int = 3, items: int = 1_001) -> Any:
    """Return what the validator gets in place of a parsed value. It can be validated quickly.

    Numbers are between -FAR and FAR, and every fraction is one half. Strings have at most 1,000 characters, arrays and objects
    a limited number of items, and below `depth` everything is None. A schema with narrower limits accepts the result exactly
    if it accepts the value.
    """
    if isinstance(value, bytes) or type(value) is int:
        whole = integer(value)
        return 0.5 if whole is None else whole
    if isinstance(value, str):
        return value[:1_000]
    if isinstance(value, list):
        return [bounded(item, depth - 1, items) for item in value[: items if depth else 0]]
    if isinstance(value, dict):
        return {name[:1_000]: bounded(item, depth - 1, items) for name, item in islice(value.items(), items if depth else 0)}
    return value


def shown(values: Iterable[Any]) -> list[Any]:
    """Return parsed values as an answer repeats them: as they were sent, if Python's JSON can express it.

    A value longer than LONGEST_SHOWN is cut and ends in "…". Longer arrays and objects, and those beyond MOST_SHOWN, become
    "[…]" and "{…}". A number becomes a string if a double does not hold all of its digits, and after MOST_NUMBERS that take
    long to find that out.
    """
    room, numbers = MOST_SHOWN, 0
    result = []
    for value in values:
        if isinstance(value, bytes) and (numbers := numbers + 1) > MOST_NUMBERS:
            result.append(shortened(value.decode()))
        elif isinstance(value, (list, dict)):
            length = _length(value) if room > 0 and len(value) < LONGEST_SHOWN else MOST_SHOWN
            room -= min(length, LONGEST_SHOWN)
            result.append(_shown(value) if length <= LONGEST_SHOWN else "[…]" if isinstance(value, list) else "{…}")
        else:
            result.append(_shown(value))
    return result


def shortened(text: str, length: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _length(value: Any) -> int:
    """Return the number of characters of a value in JSON."""
    try:
        return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=bytes.decode))
    except RecursionError:
        return MOST_SHOWN


def _shown(value: Any) -> Any:
    """Return a scalar, or a value of at most LONGEST_SHOWN characters, as an answer repeats it."""
    if isinstance(value, bytes):
        return _shown_number(value.decode())
    if isinstance(value, str):
        return shortened(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    return value


def _exact(number: str) -> Decimal:
    """Return the number with all its digits. An exponent with more than 18 digits becomes one that is just as far out of
    range."""
    try:
        return Decimal(number)
    except InvalidOperation:
        mantissa, _, exponent = number.lower().partition("e")
        value = Decimal(mantissa)
        if value.is_zero():
            return value
        return Decimal("0.5" if exponent.startswith("-") else "1e18").copy_sign(value)


def _shown_number(number: str) -> int | float | str:
    """Return the number itself if Python writes it with every digit that was sent, otherwise a string."""
    if len(number) > LONGEST_SHOWN:
        return shortened(number)
    if number.lstrip("-").isdigit():
        return int(number)
    value = float(number)
    return value if math.isfinite(value) and Decimal(repr(value)) == _exact(number) else number


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the field {json.dumps(name[:50])} is given twice")
            seen.add(name)
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")
