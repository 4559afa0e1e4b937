"""The SQL condition for "the lead_id was given out again": the two tables hold two different leads with one lead_id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from service.database.statements import identifier
from service.tables.same_data import INTEGERS, ComparableColumn, same_data

DATES = {"date", "datetime", "timestamp"}

Reused = Literal["keep", "strict", "overwrite"]
"""What REUSED_LEAD_IDS says: leads stay if they certainly are two; or if they may be; or they do not."""


def reused(columns: Mapping[str, tuple[ComparableColumn, ComparableColumn]], *, strict: bool = False) -> str:
    """Return the SQL condition that the two rows with one lead_id are different leads: entry_date and phone_number both
    differ. NULL proves nothing.

    columns: the source's columns by name in lower case, each with its counterpart in the target. Vicidial writes entry_date
    once, when it creates a lead. strict: whether they also are if they may be: if entry_date differs, or if one of the two is
    not known, NULL or a zero date, and phone_number differs.
    """
    if not {"entry_date", "phone_number"} <= columns.keys():
        return "FALSE"
    dates, numbers = columns["entry_date"], columns["phone_number"]
    other_date, other_number = f"NOT ({same_data(*dates)})", f"NOT ({same_data(*numbers)})"
    if strict:
        unknown = " OR ".join(
            # MariaDB takes a text that begins with no digit for 0.
            f"{name} IS NULL" + (f" OR {name} = 0" if column.data_type in DATES | INTEGERS else "")
            for name, column in zip(_named(*dates), dates, strict=True)
        )
        # Where only one table has the lead, everything of the other one is NULL, and NULL is another phone_number.
        return f"source.lead_id IS NOT NULL AND target.lead_id IS NOT NULL AND IF({unknown}, {other_number}, {other_date})"
    known = " AND ".join(f"{name} IS NOT NULL" for name in (*_named(*dates), *_named(*numbers)))
    return f"{known} AND {other_date} AND {other_number}"


def _named(source: ComparableColumn, target: ComparableColumn) -> tuple[str, str]:
    return f"source.{identifier(source.name)}", f"target.{identifier(target.name)}"
