"""Read every column of every lead of a site without the service, and decide whether two values are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pymysql

from support.sites.columns import ARCHIVE, LIST, quoted

SESSION = (
    "SET SESSION character_set_results = NULL, time_zone = '+00:00', tx_isolation = 'READ-COMMITTED',"
    " sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
)
"""Statements are sent as UTF-8. Results are the stored bytes."""

EXACT = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
FLOATS = frozenset({"float", "double"})
PLAIN_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})


@dataclass(frozen=True)
class Column:
    """The properties of a column that determine which values it can store."""

    name: str
    data_type: str
    column_type: str
    charset: str | None
    nullable: bool
    generated: str | None
    is_counter: bool
    """Whether the column numbers the rows of its table and is not data of the lead."""

    def holds_all_of(self, other: Column) -> bool:
        """Return whether this column can certainly store every value of the other.

        For a generated column, return whether both are computed in the same way.
        """
        mine = (self.data_type, self.column_type, self.charset, self.generated)
        return mine == (other.data_type, other.column_type, other.charset, other.generated) and self.nullable >= other.nullable


@dataclass(frozen=True)
class Value:
    """raw: the stored bytes, or the text of an enum. meaning: text as UTF-8, or the number of an enum."""

    raw: bytes | None
    meaning: bytes | None


Row = dict[str, Value]


@dataclass(frozen=True)
class Snapshot:
    """The rows of both tables by table name, and how often each row of every other table occurs."""

    columns: dict[str, dict[str, Column]]
    rows: dict[str, dict[int, Row]]
    twice: frozenset[tuple[str, int]]
    """Leads with more than one row in a table. `rows` has the last of these rows."""
    others: Counter[tuple[str, tuple[bytes | None, ...]]]


class Reader:
    """Read a database, and the schemas whose names begin with its name, through a separate connection."""

    def __init__(self, connection: pymysql.connections.Connection[pymysql.cursors.Cursor], database: str) -> None:
        self._connection = connection
        self.database = database
        self._same_names: dict[tuple[str, str], bool] = {}

    def execute(self, statement: str) -> list[tuple[bytes | None, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def read(self) -> Snapshot:
        columns: dict[str, dict[str, Column]] = {LIST: {}, ARCHIVE: {}}
        for table, name, data_type, column_type, charset, nullable, generated, extra in self.execute(
            "SELECT table_name, CONVERT(column_name USING utf8mb4), data_type, CONVERT(column_type USING utf8mb4),"
            " character_set_name, is_nullable, CONVERT(generation_expression USING utf8mb4), extra"
            " FROM information_schema.columns"
            f" WHERE table_schema = '{self.database}' AND table_name IN ('{LIST}', '{ARCHIVE}') ORDER BY ordinal_position"
        ):
            column = Column(
                (name or b"").decode(),
                (data_type or b"").decode(),
                (column_type or b"").decode(),
                charset.decode() if charset else None,
                nullable == b"YES",
                generated.decode() if generated else None,
                b"auto_increment" in (extra or b"") and name != b"lead_id",
            )
            columns[(table or b"").decode()][column.name] = column
        read = {table: self._rows(table, columns[table]) for table in columns}
        ids = Counter((table, lead_id) for table in read for lead_id, _ in read[table])
        twice = frozenset(lead for lead, count in ids.items() if count > 1)
        return Snapshot(columns, {table: dict(rows) for table, rows in read.items()}, twice, self._others())

    def _rows(self, table: str, columns: dict[str, Column]) -> list[tuple[int, Row]]:
        if not columns:
            return []
        expressions = [expression for column in columns.values() for expression in _expressions(column)]
        rows = []
        for lead_id, *values in self.execute(f"SELECT lead_id, {', '.join(expressions)} FROM {self.database}.{table}"):
            pairs = zip(columns, values[::2], values[1::2], strict=True)
            rows.append((int(lead_id or b"0"), {name: Value(raw, meaning) for name, raw, meaning in pairs}))
        return rows

    def _others(self) -> Counter[tuple[str, tuple[bytes | None, ...]]]:
        tables = self.execute(
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables"
            f" WHERE table_schema IN ('{self.database}', '{self.database}_crm') AND table_type LIKE '%TABLE'"
            f" AND table_name NOT IN ('{LIST}', '{ARCHIVE}')"
        )
        names = [(name or b"").decode() for (name,) in tables]
        return Counter((name, row) for name in names for row in self.execute(f"SELECT * FROM {name}"))

    def counterpart(self, name: str, others: dict[str, Column]) -> Column | None:
        """Return the column with that name. MariaDB compares the names, without regard to case."""
        if name in others:
            return others[name]
        return next((column for other, column in others.items() if self._same_name(name, other)), None)

    def place(self, name: str, columns: dict[str, Column]) -> str | None:
        """Return the name of the column before this one, in lower case."""
        names = list(columns)
        mine = self.counterpart(name, columns)
        assert mine is not None
        position = names.index(mine.name)
        return names[position - 1].lower() if position else None

    def _same_name(self, one: str, other: str) -> bool:
        if (one + other).isascii():
            return one.lower() == other.lower()
        if (one, other) not in self._same_names:
            # If MariaDB refuses a table with both names, the names are the same to it.
            probe = f"{self.database}.name_probe"
            try:
                self.execute(f"CREATE TEMPORARY TABLE {probe} ({quoted(one)} INT, {quoted(other)} INT)")
                self.execute(f"DROP TEMPORARY TABLE {probe}")
                self._same_names[one, other] = False
            except pymysql.err.OperationalError:
                self._same_names[one, other] = True
        return self._same_names[one, other]


def _expressions(column: Column) -> tuple[str, str]:
    name = quoted(column.name)
    if column.data_type in FLOATS:
        return f"{name} * 1e0", name  # with enough digits to tell values apart, independent of the column's format
    if column.data_type == "bit":
        return f"{name} + 0", name
    if column.data_type in {"enum", "set"}:
        return f"CONVERT({name} USING utf8mb4)", f"{name} + 0"
    if column.charset:
        return name, f"CONVERT({name} USING utf8mb4)" if column.charset not in {"utf8mb3", "utf8mb4", "ascii"} else name
    return name, name


def same(one: Column, other: Column, here: Value, there: Value) -> bool | None:
    """Return whether two values are the same. None: they look the same, but their columns are too different to be certain."""
    if here.raw is None or there.raw is None:
        return here.raw is there.raw
    if (one.data_type, one.column_type, one.charset) == (other.data_type, other.column_type, other.charset):
        return here == there
    kinds = {one.data_type, other.data_type}
    for comparable, what, is_certain in RULES:
        if kinds <= comparable:
            equal = what(here) == what(there)
            return (True if is_certain else None) if equal else False
    if len(kinds) == 1:
        return here.raw == there.raw
    texts = [
        {value.raw, value.meaning} if column.charset and column.data_type in PLAIN_TEXTS else {value.raw}
        for column, value in ((one, here), (other, there))
    ]
    return None if texts[0] & texts[1] else False


def _number(value: Value) -> Decimal:
    return Decimal((value.raw or b"").decode())


def _without_zeros(value: Value) -> bytes:
    text = value.raw or b""
    return text.rstrip(b"0").rstrip(b".") if b"." in text else text


RULES: tuple[tuple[frozenset[str], Callable[[Value], object], bool], ...] = (
    (EXACT, _number, True),
    (frozenset({"bit"}), _number, True),
    (EXACT | FLOATS | {"bit"}, _number, False),
    *((frozenset({kind}), _without_zeros, True) for kind in ("time", "datetime", "timestamp")),
    (PLAIN_TEXTS, lambda value: value.meaning, True),
)
"""Types that can be compared with each other, what to compare, and whether equality is certain."""


def insert_statement(table: str, columns: dict[str, Column], lead_id: int, values: dict[str, str]) -> str:
    """Return the INSERT of a row, with the values for which the table has a column."""
    names = {name.lower(): name for name in columns if columns[name].generated is None}
    given = {names[name.lower()]: value for name, value in values.items() if name.lower() in names}
    names_given, values_given = ", ".join(["lead_id", *map(quoted, given)]), ", ".join([str(lead_id), *given.values()])
    return f"INSERT INTO {table} ({names_given}) VALUES ({values_given})"
