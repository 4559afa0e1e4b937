"""The definitions of the two tables, and the lists of columns and conditions that the statements of sql/ are filled with.

Vicidial upgrades alter vicidial_list, but not the archive, and sites add columns of their own. So nothing is assumed about
columns: both definitions are read (table_reader.py), and refused if leads could be damaged (preconditions/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from service.database.statements import identifier, table_of
from service.errors import Problem
from service.tables.chunk_table import ChunkTable
from service.tables.columns import Column, outside_texts
from service.tables.in_use import not_in_use, with_key
from service.tables.reused_lead_ids import Reused, reused
from service.tables.same_data import fingerprint, same_data

LEADS = "vicidial_list"
ARCHIVE = "vicidial_list_archive"

SEQUENCE = re.compile(r"\b(?:nextval|lastval|setval)\((?:`[^`]+`\.)?`([^`]+)`")
"""A sequence in the default of a column, as SHOW CREATE TABLE shows it."""

LARGEST_LEAD_ID = 4294967295
"""The largest lead_id that a caller can name: the largest value of INT UNSIGNED, lead_id's type in Vicidial's schema."""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key that refers to one of the two tables, or that one of the two tables has."""

    schema: str
    table: str
    name: str
    referenced_table: str
    incoming: bool
    """Whether it refers to one of the two tables."""
    all_are_seen: bool
    """Whether the account sees the foreign keys of all databases."""
    rules: frozenset[str]
    """Its actions on delete and on update: RESTRICT, NO ACTION, CASCADE, SET NULL, SET DEFAULT."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What no other foreign key of the server has."""
        return self.schema, self.table, self.name

    @property
    def acting(self) -> frozenset[str]:
        """Its actions that change rows."""
        return self.rules - {"RESTRICT", "NO ACTION"}

    @property
    def drop(self) -> str:
        """The statement that removes it."""
        return f"ALTER TABLE {identifier(self.schema)}.{identifier(self.table)} DROP FOREIGN KEY {identifier(self.name)}"


@dataclass(frozen=True)
class Table:
    """A table, with its columns by name, in the order of the table."""

    name: str
    engine: str | None
    is_view: bool
    transactional: bool
    columns: Mapping[str, Column]
    hidden_columns: tuple[str, ...]
    """Columns that the account may not see."""
    unique_columns: Mapping[str, str]
    """The columns that are a unique key by themselves, each with the name of that key; if there are several, the primary key.
    """
    has_primary_key: bool
    ignored_unique_columns: Mapping[str, str] = field(default_factory=dict)
    """As unique_columns, of the keys that the server is told to ignore."""
    checking_unique_columns: Mapping[str, str] = field(default_factory=dict)
    """As unique_columns, of the keys in which no row can be looked up."""
    is_versioned: bool = False
    """Whether the table has system versioning: it keeps the history of its rows."""
    on_one_node: bool = False
    """Whether the server is a node of a cluster and the other nodes do not have the rows of this table."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all columns, in lower case."""
        return frozenset(name.lower() for name in (*self.columns, *self.hidden_columns))

    def alter(self, change: str, *, converts: bool = False) -> str:
        """Return an ALTER TABLE statement. converts: whether it converts values. Then a value that does not fit makes it fail
        and stays."""
        variables = ["sql_mode = 'STRICT_ALL_TABLES'"] if converts else []
        # MariaDB refuses to alter a table with system versioning unless it is told to keep the history.
        variables += ["system_versioning_alter_history = KEEP"] if self.is_versioned else []
        safely = f"SET STATEMENT {', '.join(variables)} FOR " if variables else ""
        return f"{safely}ALTER TABLE {identifier(self.name)} {change}"

    def counterpart(self, column: Column) -> Column | None:
        """Return this table's column that corresponds to a column of the other table. In MariaDB, column names are not
        case-sensitive."""
        if column.name in self.columns:
            return self.columns[column.name]
        alike = [own for name, own in self.columns.items() if folded(name) == folded(column.name)]
        return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True)
class TablePair:
    """A source, a target, and what the statements that move leads between them are filled with."""

    source: Table
    target: Table
    leads_in_use: Mapping[str, str]
    """The statements that find leads of the source in use, by the table and column that show it: `vicidial_hopper.lead_id`."""
    skipped_tables: tuple[str, ...] = ()
    """Tables or columns that would show whether a lead is in use and that the database does not have."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    """The foreign keys that the account can see."""
    sees_agents: bool = False
    """Whether the account can read which agents are logged in."""
    matches: str = "TRUE"
    """The conditions of a request on the row in the source."""
    reused: Reused = "keep"
    """Whether a lead stays if its lead_id belongs to another lead in the target."""
    problems_to_read: tuple[Problem, ...] = ()
    """Why leads cannot even be compared."""
    problems: tuple[Problem, ...] = ()
    """Why leads cannot be moved, including problems_to_read. Empty if they can."""

    def matching(self, matches: str) -> Self:
        """Return the pair for a request with these conditions. It keeps what this pair has worked out already."""
        if matches == self.matches:
            return self
        pair = copy(self)
        vars(pair).update(matches=matches, values={**self.values, "matches": matches})
        return pair

    @property
    def table_names(self) -> tuple[str, ...]:
        """All tables that the statements name, and the sequences from which a column gets its default."""
        sequences = (name for column in self.target.columns.values() for name in SEQUENCE.findall(column.definition))
        return (self.source.name, self.target.name, *map(table_of, self.leads_in_use), *sequences)

    @cached_property
    def columns(self) -> tuple[tuple[Column, Column], ...]:
        """The columns of the source, each with its counterpart in the target."""
        pairs = ((column, self.target.counterpart(column)) for column in self.source.columns.values())
        return tuple((column, copy) for column, copy in pairs if copy)

    @cached_property
    def chunk_table(self) -> ChunkTable | None:
        """The temporary table that takes new leads on their way into the archive. None if it is of no use, or if it may not
        keep them as they are."""
        if self.target.name == LEADS or self.source.transactional:
            return None
        return ChunkTable.of([column for column, _ in self.columns])

    @cached_property
    def missing(self) -> tuple[Column, ...]:
        """The columns that the source has and the target lacks."""
        matched = {column.name for column, _ in self.columns}
        # An AUTO_INCREMENT column of the table's own numbers its rows. It is not data of the lead.
        return tuple(
            column for name, column in self.source.columns.items() if name not in matched and not column.auto_increment
        )

    @cached_property
    def differences(self) -> tuple[tuple[Column, Column], ...]:
        """The columns with another definition in the target, so that a value may not fit."""
        return tuple(
            (column, copy)
            for column, copy in self.columns
            if (column.attributes, column.collation) != (copy.attributes, copy.collation)
        )

    @cached_property
    def acting_keys(self) -> tuple[ForeignKey, ...]:
        """The foreign keys by which the target refers to other tables, and that change rows of the target."""
        return tuple(key for key in self.foreign_keys if not key.incoming and key.table == self.target.name and key.acting)

    @property
    def one_transaction(self) -> bool:
        """Whether a batch is one transaction, which locks its rows and rolls back as a whole."""
        return self.source.transactional and self.target.transactional

    @property
    def same_rollback(self) -> bool:
        """Whether copy and delete may share a transaction. They may not if only one of the tables can roll back."""
        return self.source.transactional == self.target.transactional

    @property
    def locks_leads(self) -> bool:
        """Whether a statement on both tables locks vicidial_list as a whole while it runs."""
        return not all(table.transactional for table in (self.source, self.target) if table.name == LEADS)

    @cached_property
    def values(self) -> Mapping[str, str]:
        """The values of all placeholders of sql/ except lead_ids."""
        copied = [(identifier(column.name), identifier(copy.name)) for column, copy in self.columns if not copy.generated]
        conditions = [same_data(column, copy) for column, copy in self.columns]
        by_name = {column.name.lower(): (column, copy) for column, copy in self.columns}
        reused_condition = reused(by_name, strict=self.reused == "strict")
        return {
            **names(self.source.name, self.target.name),
            "source_key": identifier(self.source.unique_columns["lead_id"]),
            "target_key": identifier(self.target.unique_columns["lead_id"]),
            "source_columns": ", ".join(column for column, _ in copied),
            "target_columns": ", ".join(copy for _, copy in copied),
            "nulls": ", ".join("NULL" for _ in copied),
            "assignments": ",\n    ".join(
                f"target.{copy} = source.{column}" for column, copy in copied if column.lower() != "`lead_id`"
            ),
            "same_data": "\n    AND ".join(conditions),
            "stored_whole": "\n            AND ".join(
                same_data(column, copy, identifier(self.target.name)) for column, copy in self.columns
            ),
            "fingerprint": fingerprint(
                identifier(self.target.name), (column for column in self.target.columns.values() if not column.generated)
            ),
            "differences": "CONCAT_WS(',',\n    "
            + ",\n    ".join(f"IF({condition}, NULL, {number})" for number, condition in enumerate(conditions))
            + "\n    )",
            "reused": reused_condition,
            "not_reused": f"({reused_condition}) IS NOT TRUE" if self.reused != "overwrite" else "TRUE",
            "not_in_use": not_in_use(with_key(self.leads_in_use)),
            "staged_definition": self._staged_definition,
            "staged_engine": self.target.engine or "",
            "matches": self.matches,
            "returning": "",
            "foreign_key_checks": str(int(bool(self.foreign_keys))),
        }

    @property
    def _staged_definition(self) -> str:
        """The columns of a temporary table that shows how the target would store a lead.

        CREATE TABLE ... LIKE would copy too much: MariaDB has no temporary tables with partitions, FULLTEXT indexes or system
        versioning.
        """
        definitions = [column.full_definition for column in self.target.columns.values()]
        columns = [
            outside_texts(definition, lambda part: re.sub(r" WITH(OUT)? SYSTEM VERSIONING\b", "", part))
            for definition in definitions
        ]
        return ",\n    ".join([*columns, "PRIMARY KEY (`lead_id`)"])


def folded(name: str) -> str:
    """Return a name in lower case as MariaDB folds it: each character becomes exactly one character."""
    return "".join(character.lower()[0] for character in name)


def names(source: str, target: str, *others: str) -> dict[str, str]:
    """Return the values of the placeholders that are known before the tables are read."""
    return {
        "source": identifier(source),
        "target": identifier(target),
        "staged": identifier(f"{target}_staged"),
        "table_names": ", ".join(f"'{name}'" for name in (source, target, *others)),
    }
