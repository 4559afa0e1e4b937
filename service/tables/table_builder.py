"""Build a Table from the server's descriptions of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.database.statements import identifier
from service.tables.columns import TEXT, Column
from service.tables.definitions import Table

IGNORED = re.compile(r" IGNORED\b")
"""A key that the server keeps up to date, but that no statement can use. information_schema shows this since MariaDB 10.6, and
a statement that names its column fails on 10.5."""

CHECKING = re.compile(r" USING HASH\b")
"""A unique key that only checks: no row can be looked up in it, except in MEMORY. information_schema calls other keys HASH as
well, such as a primary key that was declared so and is none."""

Rows = Sequence[tuple[Any, ...]]


def read_table(name: str, definition: str, tables: Rows, columns: Rows, keys: Rows) -> Table:
    """Build a Table from its definition and the rows of describe_tables, describe_columns and describe_keys."""
    # Only the definition lists all columns: information_schema shows an account only the columns that it may see.
    lines = dict(re.findall(r"^  (`(?:[^`]|``)+`)( .*?),?$", definition, re.MULTILINE))
    kind, engine, *facts = next((row[1:] for row in tables if row[0] == name), ("", None, 0, 0))
    transactional, on_one_node = map(bool, facts)
    key_columns: dict[str, list[str]] = {}
    for _, key, column in (row for row in keys if row[0] == name):
        key_columns.setdefault(key, []).append(column.lower())
    ignored, checking = (
        {key: key_columns.pop(key) for key in keys_with(kind, definition) if key in key_columns}
        for kind in (IGNORED, CHECKING)
    )
    seen = {
        column: Column(
            column,
            data_type,
            column_type,
            charset,
            collation,
            (expression or "") if generated else None,
            bool(counts),
            frozenset(privileges.split(",")),
            identifier(column) + lines.get(identifier(column), f" {column_type}"),
        )
        for table, column, data_type, column_type, charset, collation, generated, expression, counts, privileges in columns
        if table == name
    }
    return Table(
        name=name,
        engine=engine,
        is_view="VIEW" in kind,
        is_versioned="VERSIONED" in kind,
        transactional=transactional,
        columns={name: column for name, column in seen.items() if "select" in column.privileges},
        hidden_columns=tuple(
            name
            for quoted in lines
            if (name := quoted[1:-1].replace("``", "`")) not in seen or "select" not in seen[name].privileges
        ),
        unique_columns=unique_columns(key_columns),
        ignored_unique_columns=unique_columns(ignored),
        checking_unique_columns=unique_columns(checking),
        has_primary_key="PRIMARY" in key_columns,
        on_one_node=on_one_node,
    )


def keys_with(kind: re.Pattern[str], definition: str) -> list[str]:
    """Return the names of the keys of one kind, IGNORED or CHECKING."""
    lines = re.findall(r"^  (?:UNIQUE )?KEY `((?:[^`]|``)+)` (.*)$", definition, re.MULTILINE)
    return [key.replace("``", "`") for key, line in lines if kind.search(TEXT.sub("", line))]


def unique_columns(key_columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the columns that are a unique key by themselves, each with the name of that key. key_columns: the columns of all
    unique keys."""
    keys = sorted(key_columns, key=lambda key: key != "PRIMARY", reverse=True)  # the primary key comes last, and so wins
    return {key_columns[key][0]: key for key in keys if len(key_columns[key]) == 1}
