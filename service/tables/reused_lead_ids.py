"""The SQL condition for "the lead_id was given out again": the two tables hold two different leads with one lead_id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from service.database.statements import identifier
from service.tables.same_data import ComparableColumn, same_data

Reused = Literal["keep", "strict", "overwrite"]
"""What REUSED_LEAD_IDS says: leads stay if they certainly are two; or if they may be; or they do not."""


def reused(columns: Mapping[str, tuple[ComparableColumn, ComparableColumn]], *, if_unknown: bool = False) -> str:
    """Return the SQL condition that the two rows with one lead_id are different leads: entry_date and phone_number both
    differ.

    columns: the source's columns by name in lower case, each with its counterpart in the target. Vicidial writes entry_date
    once, when it creates a lead. NULL and a zero date prove nothing. if_unknown: whether phone_number alone decides then.
    """
    if not {"entry_date", "phone_number"} <= columns.keys():
        return "FALSE"
    dates, numbers = columns["entry_date"], columns["phone_number"]
    if if_unknown:
        unknown = " OR ".join(f"{name} IS NULL OR {name} = 0" for name in _named(*dates))
        other_date = f"({unknown} OR NOT ({same_data(*dates)}))"
    else:
        other_date = f"{_known(*dates)} AND NOT ({same_data(*dates)})"
    return f"{other_date} AND {_known(*numbers)} AND NOT ({same_data(*numbers)})"


def _named(source: ComparableColumn, target: ComparableColumn) -> tuple[str, str]:
    return f"source.{identifier(source.name)}", f"target.{identifier(target.name)}"


def _known(source: ComparableColumn, target: ComparableColumn) -> str:
    return " AND ".join(f"{name} IS NOT NULL" for name in _named(source, target))
