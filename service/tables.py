"""What the two tables really look like, whether leads can be copied whole from one to the other, and the column lists that
follow from it.

The archive is altered by nobody when vicidial_list is (no upgrade of Vicidial does it), and sites add columns of their own:
so nothing about columns is assumed, all of it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from service.statements import identifier

LEADS = "vicidial_list"
ARCHIVE = "vicidial_list_archive"

EXACT_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})


@dataclass(frozen=True)
class Column:
    """A column as information_schema tells it, and its line in SHOW CREATE TABLE."""

    name: str
    data_type: str
    charset: str | None
    collation: str | None
    generated: bool
    definition: str


@dataclass(frozen=True)
class Table:
    """A table. columns is keyed by the name in lower case: to MariaDB, the case of a column's name means nothing."""

    name: str
    engine: str | None
    transactional: bool
    columns: Mapping[str, Column]
    unique_columns: Mapping[str, str]
    """Columns that are each a unique key by itself, with the key's name: the primary key's, if it is that."""
    has_primary_key: bool
    on_one_node: bool = False
    """Whether this is a node of a cluster, and other nodes do not have the table's rows."""


@dataclass(frozen=True)
class Problem:
    """Why no lead can be copied whole, and the statement that mends it, if there is one."""

    message: str
    remedy: str | None = None


class TablesDoNotFitError(Exception):
    """No lead can be copied whole from the source to the target."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class TablePair:
    """A source, a target, and how a lead gets from one to the other."""

    source: Table
    target: Table
    not_in_use: tuple[str, ...] = ()
    """Conditions under which nobody uses a lead of the source."""
    skipped_tables: tuple[str, ...] = ()
    """Tables that could tell whether a lead is in use, and that this database does not have."""

    @cached_property
    def values(self) -> Mapping[str, str]:
        """What the statements in sql/ are filled in with, lead_ids apart."""
        columns = [identifier(name) for name, column in self.source.columns.items() if not self.target.columns[name].generated]
        conditions = [same_data(column, self.target.columns[name]) for name, column in self.source.columns.items()]
        return {
            **names(self.source.name, self.target.name),
            "source_key": identifier(self.source.unique_columns["lead_id"]),
            "target_key": identifier(self.target.unique_columns["lead_id"]),
            "columns": ", ".join(columns),
            "assignments": ",\n    ".join(f"target.{column} = source.{column}" for column in columns if column != "`lead_id`"),
            "same_data": "\n    AND ".join(conditions),
            "differences": "CONCAT_WS(',',\n    "
            + ",\n    ".join(f"IF({condition}, NULL, {number})" for number, condition in enumerate(conditions))
            + "\n    )",
            "not_in_use": "\n    AND ".join(self.not_in_use) or "TRUE",
        }

    @property
    def one_transaction(self) -> bool:
        """Whether copy and delete may share a transaction: not if only one of the tables can roll back."""
        return self.source.transactional == self.target.transactional

    @cached_property
    def differences(self) -> list[tuple[Column, Column, str]]:
        """The columns that are made otherwise in the target, so that a value may not fit: as they are in the source and in the
        target, and the statement that makes them alike."""
        return [
            (column, copy, f"ALTER TABLE {identifier(self.target.name)} MODIFY COLUMN {self._definition(column)}")
            for name, column in self.source.columns.items()
            if (copy := self.target.columns.get(name))
            and (self._definition(column), column.collation) != (self._definition(copy), copy.collation)
        ]

    def problems(self) -> list[Problem]:
        """Why no lead can be copied whole; empty if the tables fit."""
        if views := [table.name for table in (self.source, self.target) if table.engine is None]:
            return [Problem(f"{view} is no table that keeps rows, but a view") for view in views]
        found = [
            Problem(
                f"{table.name} is {table.engine}: its rows are on this node of the cluster only",
                f"ALTER TABLE {identifier(table.name)} ENGINE = InnoDB",
            )
            for table in (self.source, self.target)
            if table.on_one_node
        ]
        found += [
            Problem(
                f"lead_id is no unique key of {table.name}: a lead could be in it twice",
                f"ALTER TABLE {identifier(table.name)} ADD "
                + ("UNIQUE KEY" if table.has_primary_key else "PRIMARY KEY")
                + " (`lead_id`)",
            )
            for table in (self.source, self.target)
            if "lead_id" not in table.unique_columns
        ]
        for name, column in self.source.columns.items():
            copy = self.target.columns.get(name)
            if copy is None:
                found.append(
                    Problem(
                        f"{self.target.name} lacks the column {column.name}",
                        f"ALTER TABLE {identifier(self.target.name)} ADD COLUMN {self._definition(column)}",
                    )
                )
            elif (column.data_type == "timestamp") != (copy.data_type == "timestamp"):
                # A TIMESTAMP is an instant, a DATETIME what a clock on a wall shows: a copy would mean another time.
                found.append(
                    Problem(
                        f"{column.name} is {column.data_type.upper()} in {self.source.name} "
                        f"and {copy.data_type.upper()} in {self.target.name}",
                        f"ALTER TABLE {identifier(self.target.name)} MODIFY COLUMN {self._definition(column)}",
                    )
                )
        return found

    @staticmethod
    def _definition(column: Column) -> str:
        """The column's definition, its charset spelled out: left out, it would be the other table's default."""
        definition = column.definition.replace(" AUTO_INCREMENT", "")
        if column.charset is None or re.search(r"\bCOLLATE\b", definition):
            return definition
        charset = f" CHARACTER SET {column.charset} COLLATE {column.collation}"
        bare = re.sub(r"\bCHARACTER SET \w+\s*", "", definition)
        # The type ends at its closing bracket, and an enum's values may hold brackets of their own.
        typed = re.match(r"`(?:[^`]|``)+` \w+(?:\((?:'(?:[^']|'')*'|[^')])*\))?", bare)
        assert typed is not None, definition
        return bare[: typed.end()] + charset + bare[typed.end() :]


def same_data(source: Column, target: Column) -> str:
    """The condition under which a column holds the same data in both tables: byte for byte, NULL equal to NULL only.

    - Text is compared as bytes, since collations call different texts equal ('josé' and 'JOSE', 'a' and 'a '). Where the
      charsets differ, each side must be what the other becomes when it is converted: this way a character that one charset
      lacks, and that became '?', is seen whichever side it was lost on.
    - Other values of one type, and exact numbers of different ones, are compared as they are.
    - Whatever else a site has made of a column must be equal both as values and as text: '12abc' equals 12 as a value, and
      two FLOATs that differ may print the same.
    """
    left, right = f"source.{identifier(source.name)}", f"target.{identifier(target.name)}"
    if source.charset and target.charset:
        if source.charset == target.charset:
            return f"BINARY {left} <=> BINARY {right}"
        return (
            f"(BINARY CONVERT({left} USING {target.charset}) <=> BINARY {right}"
            f" AND BINARY {left} <=> BINARY CONVERT({right} USING {source.charset}))"
        )
    if source.data_type == target.data_type or {source.data_type, target.data_type} <= EXACT_NUMBERS:
        return f"{left} <=> {right}"
    return f"({left} <=> {right} AND BINARY {left} <=> BINARY {right})"


def names(source: str, target: str, *others: str) -> dict[str, str]:
    """The values that are known before the tables are read."""
    return {
        "source": identifier(source),
        "target": identifier(target),
        "staged": identifier(f"{target}_staged"),
        "table_names": ", ".join(f"'{name}'" for name in (source, target, *others)),
    }
