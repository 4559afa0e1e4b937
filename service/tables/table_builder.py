"""Build a Table from the server's descriptions of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.database.statements import identifier
from service.tables.columns import TEXT, Column
from service.tables.definitions import Table

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
    ignored = {key: key_columns.pop(key) for key in ignored_keys(definition) if key in key_columns}
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
        has_primary_key="PRIMARY" in key_columns,
        on_one_node=on_one_node,
    )


def ignored_keys(definition: str) -> list[str]:
    """Return the names of the keys that are IGNORED: the server keeps them up to date, but no statement can use them.

    information_schema shows this since MariaDB 10.6 only, and a statement that names its column fails on 10.5.
    """
    lines = re.findall(r"^  (?:UNIQUE )?KEY `((?:[^`]|``)+)` (.*)$", definition, re.MULTILINE)
    return [key.replace("``", "`") for key, line in lines if re.search(r" IGNORED\b", TEXT.sub("", line))]


def unique_columns(key_columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the columns that are a unique key by themselves, each with the name of that key. key_columns: the columns of all
    unique keys."""
    keys = sorted(key_columns, key=lambda key: key != "PRIMARY", reverse=True)  # the primary key comes last, and so wins
    return {key_columns[key][0]: key for key in keys if len(key_columns[key]) == 1}
