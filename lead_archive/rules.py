"""The rules file: which leads to archive, or to bring back, every night. All of its errors are reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lead_archive.conditions import CONDITIONS, ValueRefusedError, Where, checked, shown
from lead_archive.errors import UsageError, visible
from lead_archive.files import shown as shown_path

KEYS = ("name", "where", "at_most", "operation")
OPERATIONS = ("archive", "dearchive")
LONGEST_NAME = 60
LARGEST_NUMBER = 2**32
"""Leads: the number of all possible ids."""
EXAMPLE = '[[rules]] with name = "…" and, in [rules.where], conditions'


@dataclass(frozen=True)
class Rule:
    name: str
    where: Where
    operation: str = "archive"
    at_most: int | None = None
    """How many leads the rule moves in one run; None for all. Leads that stay do not count."""


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of a file. Raises UsageError, which names each error with its rule and key."""
    name = shown_path(path)
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UsageError(f"{name} is not TOML: {visible(str(error))}") from None
    errors: list[str] = []
    rules = _rules(document, errors)
    if errors:
        raise UsageError("\n".join(f"{name}: {error}" for error in errors))
    return rules


def _rules(document: dict[str, Any], errors: list[str]) -> list[Rule]:
    errors += _unknown(document, ("rules",), "")
    tables = document.get("rules")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        if tables is not None or not errors:
            errors.append(f"there are no rules in it: write each as {EXAMPLE}")
        return []
    if not tables:
        errors.append(f"there are no rules in it: write each as {EXAMPLE}")
    rules = [_rule(number, table, errors) for number, table in enumerate(tables, 1)]
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules, 1):
        if rule.name and rule.name in seen:
            errors.append(
                f"rule {number}, name: rule {seen[rule.name]} is called {shown(rule.name)} too: give each its own name"
            )
        seen.setdefault(rule.name, number)
    return rules


def _rule(number: int, table: dict[str, Any], errors: list[str]) -> Rule:
    """Read a rule. Add its errors to `errors`; the rule is then not used."""
    name = table.get("name")
    named = isinstance(name, str) and bool(name.strip()) and name.isprintable() and len(name) <= LONGEST_NAME
    which = f"rule {number} ({name})" if named else f"rule {number}"
    if name is None:
        errors.append(f"{which}: it has no name")
    elif not named:
        errors.append(f"{which}, name: {shown(name)} is not a text of 1 to {LONGEST_NAME} characters")
    errors += _unknown(table, KEYS, f"{which}: ")
    operation, at_most = table.get("operation", "archive"), table.get("at_most")
    if operation not in OPERATIONS:
        errors.append(f"{which}, operation: {shown(operation)} is none; the operations are {', '.join(OPERATIONS)}")
    if at_most is not None and not _is_number(at_most):
        errors.append(
            f"{which}, at_most: {shown(at_most)} is not an integer from 1 to {LARGEST_NUMBER}; for all, leave it out"
        )
    return Rule(str(name) if named else "", _where(which, table.get("where"), errors), str(operation), at_most or None)


def _where(which: str, conditions: Any, errors: list[str]) -> Where:
    if not isinstance(conditions, dict) or not conditions:
        known = ", ".join(CONDITIONS)
        errors.append(f"{which}: it has no conditions: write at least one into its table [rules.where]. They are {known}")
        return {}
    errors += _unknown(conditions, tuple(CONDITIONS), f"{which}, where: ", "condition")
    where: Where = {}
    for name, value in conditions.items():
        if name in CONDITIONS:
            try:
                where[name] = checked(name, value)
            except ValueRefusedError as error:
                errors.append(f"{which}, where.{name}: {error}")
    return where


def _unknown(table: Iterable[str], known: tuple[str, ...], which: str, kind: str = "key") -> list[str]:
    return [
        f"{which}there is no {kind} {visible(name, 60)}; the {kind}s are {', '.join(known)}"
        for name in table
        if name not in known
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_NUMBER
