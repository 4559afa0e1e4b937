"""The SQL statements, loaded by name from sql/: one statement a file, named after the file."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from service import resource_path

PLACEHOLDERS = frozenset(
    {
        "source",
        "target",
        "source_key",
        "target_key",
        "staged",
        "table",
        "table_names",
        "source_columns",
        "target_columns",
        "assignments",
        "same_data",
        "differences",
        "reused",
        "not_reused",
        "not_in_use",
        "staged_definition",
        "staged_engine",
        "statement",
        "foreign_key_checks",
        "lead_ids",
        "list_ids",
        "least_packet",
        "lock_wait_timeout",
        "max_statement_time",
    }
)
"""All that the code fills in. A statement that asks for anything else could not be sent; one of these that no statement
uses is a condition that got lost, such as the compare of a DELETE."""


class StatementError(Exception):
    """The files in sql/ are not what the code needs; the message says which file and why."""


class Statements:
    """Statements by name. Comment lines are for readers: they are not sent to the server."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._templates = dict(templates)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Read every .sql file below folder (default: the project's sql/).

        Raises StatementError for an empty file, more than one statement in a file, a name given twice, and a placeholder
        that is unknown or that no statement uses.
        """
        templates: dict[str, str] = {}
        used: set[str] = set()
        for path in sorted((folder or resource_path("sql")).rglob("*.sql")):
            # Names are one space, whatever folder they are in; some file systems fold letter case.
            name = path.stem.lower()
            if name in templates:
                raise StatementError(f"{path}: there is another statement named {name}")
            lines = path.read_text(encoding="utf-8").splitlines()
            text = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("--"))
            if not text:
                raise StatementError(f"{path}: holds no statement")
            if ";" in text:
                raise StatementError(f"{path}: holds a semicolon; one statement a file, without one at its end")
            placeholders = _placeholders(path, text)
            if unknown := placeholders - PLACEHOLDERS:
                raise StatementError(f"{path}: unknown placeholder {', '.join(sorted(unknown))}")
            used |= placeholders
            templates[name] = text
        if unused := PLACEHOLDERS - used:
            raise StatementError(f"no statement uses the placeholder {', '.join(sorted(unused))}")
        return cls(templates)

    @property
    def leads_in_use(self) -> Mapping[str, str]:
        """The statements that find leads in use, each with its table: they are named after the table and the column."""
        return {name: name.split(".")[0] for name in self._templates if "." in name}

    def template(self, name: str) -> str:
        """Return the statement with its placeholders. Raises KeyError for a name that is not there."""
        return self._templates[name]

    def fill(self, name: str, values: Mapping[str, str]) -> str:
        """The statement with its placeholders filled in. Raises KeyError for a name or a value that is not there."""
        return self._templates[name].format_map(values)


def _placeholders(path: Path, text: str) -> set[str]:
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise StatementError(f"{path}: {error}") from None
    if any(spec or conversion for _, _, spec, conversion in fields):
        raise StatementError(f"{path}: a placeholder is a name in braces and nothing else")
    return {field for _, field, _, _ in fields if field is not None}


def identifier(name: str) -> str:
    """A name of a table or column, quoted for SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text as a literal of SQL. It is right under every sql_mode of sql/session.sql, where a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def integers(values: Sequence[int]) -> str:
    """A list of integers for IN (...). Anything else raises TypeError: nothing but digits gets into a statement.

    An empty list, which SQL's grammar does not allow, raises ValueError.
    """
    if not values:
        raise ValueError("IN () needs at least one value")
    if not set(map(type, values)) == {int}:
        raise TypeError("only integers can be rendered into a statement")
    return ", ".join(map(str, values))
