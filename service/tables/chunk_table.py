"""The temporary table that takes new leads on their way into the archive, so that vicidial_list is not locked while the
archive's indexes are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from service.database.statements import identifier
from service.tables.columns import Column
from service.tables.same_data import BYTES, INTEGERS, NUMBERS, TEXTS, TIMES, is_ambiguous

NAME = "lead_archive_chunk"

SAFE_TYPES = NUMBERS | TIMES | TEXTS | BYTES | {"timestamp", "bit"}
"""The types whose values a temporary table is known to keep as they are."""


@dataclass(frozen=True)
class ChunkTable:
    """What sql/stage_table.sql, sql/stage_leads.sql and sql/drop_staged.sql are filled with for it."""

    definition: str
    columns: str

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Self | None:
        """Return the table for leads with these columns. None if it may not keep a column as it is."""
        if not all(map(_is_safe, columns)):
            return None
        lead_id = next(column for column in columns if column.name.lower() == "lead_id")
        if lead_id.data_type not in INTEGERS:
            return None
        return cls(
            ",\n    ".join([*map(_definition, columns), f"PRIMARY KEY ({identifier(lead_id.name)})"]),
            ", ".join(identifier(column.name) for column in columns),
        )

    @property
    def values(self) -> Mapping[str, str]:
        """The placeholders of the statements that make, fill and drop it."""
        return {
            "staged": identifier(NAME),
            "staged_definition": self.definition,
            "staged_engine": "MyISAM",
            "source_columns": self.columns,
            "target_columns": self.columns,
        }

    @property
    def as_source(self) -> Mapping[str, str]:
        """The placeholders with which a statement reads the leads from it instead of the source."""
        return {"source": identifier(NAME), "source_key": identifier("PRIMARY")}


def _is_safe(column: Column) -> bool:
    return column.data_type in SAFE_TYPES and not is_ambiguous(column) and "/*" not in column.column_type


def _definition(column: Column) -> str:
    """Return the definition of a column that holds any value of this column: no default, no check, nothing generated."""
    charset = f" CHARACTER SET {column.charset} COLLATE {column.collation}" if column.charset else ""
    null = " NOT NULL" if column.name.lower() == "lead_id" else " NULL"
    return f"{identifier(column.name)} {column.column_type}{charset}{null}"
