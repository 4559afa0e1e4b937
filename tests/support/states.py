"""The states of a lead: which tables have it, and how its archived copy differs."""

from __future__ import annotations

from support.tables import Tables

STATES = ["live", "archived", "equal", "different", "neither"]


def put(tables: Tables, state: str, lead_id: int) -> None:
    """Put a lead into the tables, in one of the STATES."""
    if state in {"live", "equal", "different"}:
        tables.live(lead_id)
    if state in {"archived", "equal"}:
        tables.archived(lead_id)
    if state == "different":
        tables.archived(lead_id, status="NEW", comments="")
