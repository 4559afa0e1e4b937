"""The SQL condition for "the lead_id was given out again": the two tables hold two different leads with one lead_id."""

from __future__ import annotations

from collections.abc import Mapping

from service.database.statements import identifier
from service.tables.same_data import ComparableColumn, same_data


def reused(columns: Mapping[str, tuple[ComparableColumn, ComparableColumn]]) -> str:
    """Return the SQL condition that the two rows with one lead_id are different leads: entry_date and phone_number both
    differ.

    columns: the source's columns by name in lower case, each with its counterpart in the target. Vicidial writes entry_date
    once, when it creates a lead. NULL proves nothing.
    """
    differ = []
    for name in ("entry_date", "phone_number"):
        if name not in columns:
            return "FALSE"
        source, target = columns[name]
        left, right = f"source.{identifier(source.name)}", f"target.{identifier(target.name)}"
        differ.append(f"{left} IS NOT NULL AND {right} IS NOT NULL AND NOT ({same_data(source, target)})")
    return " AND ".join(differ)
