"""SQL conditions for "both tables hold the same data in this column": byte for byte, and NULL equals only NULL.

Columns are compared only if the comparison is known to be correct. MariaDB's text functions return NULL for a result longer
than max_allowed_packet, and NULL equals NULL: two long texts would be equal whatever they contain. So texts of one charset are
compared by a collation, without any function, and columns that need a conversion must be short; preconditions/tables.py
refuses longer ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from service.database.statements import identifier

INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
EXACT_NUMBERS = INTEGERS | {"decimal"}
NUMBERS = EXACT_NUMBERS | {"float", "double"}
TIMES = frozenset({"date", "datetime", "time", "year"})
SHORT_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "enum", "set"})
LONG_TEXTS = frozenset({"mediumtext", "longtext"})
SHORT_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob"})
LONG_BYTES = frozenset({"mediumblob", "longblob"})
GEOMETRIES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"}
)
# A TIMESTAMP is a point in time, a DATETIME is what a clock shows. A copy of one in the other would mean another time.
ONLY_WITH_THEMSELVES = GEOMETRIES | {"timestamp", "bit", "inet4", "inet6", "uuid", "vector"} | LONG_TEXTS | LONG_BYTES
WITH_EACH_OTHER = NUMBERS | TIMES | SHORT_TEXTS | SHORT_BYTES
TEXTS = SHORT_TEXTS | LONG_TEXTS
BYTES = SHORT_BYTES | LONG_BYTES

PRINTED_TOO = frozenset({"float", "double", "year"})
"""Types with values that are equal and have different texts: 0 and -0, or 1970 in a YEAR(2) and a YEAR(4)."""


class ComparableColumn(Protocol):
    """What a comparison needs to know about a column."""

    @property
    def name(self) -> str: ...
    @property
    def data_type(self) -> str: ...
    @property
    def column_type(self) -> str: ...
    @property
    def charset(self) -> str | None: ...
    @property
    def members(self) -> list[str]: ...


def is_ambiguous(column: ComparableColumn) -> bool:
    """Return whether two values of an ENUM or SET may look alike: number 0 shows as an empty text, which can also be a member,
    and a member can be listed twice."""
    return "''" in column.members or len(set(column.members)) < len(column.members)


def is_comparable(source: ComparableColumn, target: ComparableColumn) -> bool:
    """Return whether same_data() is correct for every value that the two columns can hold."""
    types = {source.data_type, target.data_type}
    if is_ambiguous(source) or is_ambiguous(target):
        return len(types) == 1 and source.members == target.members and source.charset == target.charset
    if types <= TEXTS and source.charset == target.charset:
        return True
    if types <= BYTES or types <= WITH_EACH_OTHER:
        return True
    return len(types) == 1 and types <= ONLY_WITH_THEMSELVES - TEXTS


def same_data(source: ComparableColumn, target: ComparableColumn, target_table: str = "target") -> str:
    """Return the SQL condition that a column of `source` and a column of `target` hold the same data. Both must be
    is_comparable(). target_table: what the statement calls the target, in SQL.

    - Texts of one charset: compared by a collation that compares bytes and pads nothing. The column's own collation treats
      different texts as equal ('josé' and 'JOSE', 'a' and 'a ').
    - Texts of two charsets: each side must equal the other side converted to its charset. So a character that one charset
      lacks, and that became '?', is noticed on whichever side it was lost.
    - Values of one type, and exact numbers of different types: compared as they are.
    - Anything else that a site has made of a column must be equal both as value and as text: '12abc' equals 12 as a value, and
      two different FLOATs may have the same text.
    """
    left, right = f"source.{identifier(source.name)}", f"{target_table}.{identifier(target.name)}"
    types = {source.data_type, target.data_type}
    if source.charset and target.charset:
        same = same_text(source, target, left, right)
        return f"({same} AND {left} + 0 <=> {right} + 0)" if is_ambiguous(source) else same
    if types <= EXACT_NUMBERS or types <= BYTES or (len(types) == 1 and not types <= PRINTED_TOO):
        return f"{left} <=> {right}"
    return f"({left} <=> {right} AND BINARY {left} <=> BINARY {right})"


def same_text(source: ComparableColumn, target: ComparableColumn, left: str, right: str) -> str:
    """As same_data(), for two texts. left, right: the columns in SQL."""
    if source.charset == target.charset == "binary":  # an ENUM or SET of bytes: it has one collation, which compares bytes
        return f"{left} <=> {right}"
    if source.charset == target.charset:
        return f"{left} COLLATE {source.charset}_nopad_bin <=> {right} COLLATE {source.charset}_nopad_bin"
    return (
        f"(BINARY CONVERT({left} USING {target.charset}) <=> BINARY {right}"
        f" AND BINARY {left} <=> BINARY CONVERT({right} USING {source.charset}))"
    )


def fingerprint(table: str, columns: Iterable[ComparableColumn]) -> str:
    """Return an SQL expression that tells whether somebody has written to a row: it is another one if a column has other data.

    table: what the statement calls the table, in SQL. MD5() is correct for values of any length. It shows a FLOAT with few
    digits, so a FLOAT becomes a DOUBLE first.
    """
    names = ((f"{table}.{identifier(column.name)}", column.data_type == "float") for column in columns)
    digests = (f"IFNULL(MD5({name} + 0e0), '')" if is_float else f"IFNULL(MD5({name}), '')" for name, is_float in names)
    return f"SHA2(CONCAT_WS(',', {', '.join(digests)}), 256)"
