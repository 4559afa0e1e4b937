"""Read the fields of an answer, each with its type. Each function raises MalformedError."""

from __future__ import annotations

from typing import Any

from lead_archive.errors import MalformedError, visible


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def text(value: dict[str, Any], name: str) -> None:
    if not isinstance(value.get(name), str):
        raise MalformedError(f"{name} is not a string")


def count(value: dict[str, Any], name: str, most: int) -> int:
    count = value.get(name)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= most:
        raise MalformedError(f"{name} is not an integer from 0 to {most}")
    return count


def ids(value: dict[str, Any], name: str, asked: set[int]) -> list[int]:
    ids = value.get(name)
    if not isinstance(ids, list) or not all(map(is_integer, ids)):
        raise MalformedError(f"{name} is not an array of integers")
    if len(set(ids)) < len(ids) or not asked.issuperset(ids):
        raise MalformedError(f"{name} names leads twice or that were not asked for")
    return ids


def names(item: dict[str, Any], name: str) -> list[str]:
    names = item.get(name)
    if not isinstance(names, list) or not all(isinstance(text, str) and text for text in names):
        raise MalformedError(f"{name} is not an array of names")
    return [visible(text, 130) for text in names]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is given twice")
    return value


def no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
