"""SQL that finds leads in use, made from the statements of sql/leads_in_use/.

A table with a key on the lead is asked for the leads of the batch, one by one. Between the first and the last of them it may
have a million rows of old leads, such as those of quality control, and whoever reads these keeps the agents' tables locked.

The other tables, those of the agents and of the calls, are small, and are read as a whole in any case. To name all ids of a
batch for each of them again would cost more than the copy of the leads. So they are asked for all leads in use between the
first and the last id: in most batches there are none, since the leads that are dialled are other leads than those that are
archived.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from textwrap import indent

LOOKED_UP = "FORCE INDEX"
"""How not_in_use() names the key on the lead, if there is one. Left to itself, MariaDB reads a table of a few rows as a whole:
a DELETE would meet the locks of other leads, and keep all rows of the table locked until COMMIT."""

NAMED = "USE INDEX FOR ORDER BY"
"""How other statements name it: they fail if the key is gone, and have nothing to order. So a batch notices that before it
changes anything, and how to find the rows is left to MariaDB: in a large table of callbacks, by the few ones to come."""

MOST_NEARBY = 100
"""The number of leads in use, of each table, up to which all of them are read. If there are more, each lead is looked up."""


def among(statements: Mapping[str, str], lead_ids: str, first: int, last: int) -> str | None:
    """As by_id(). But tables without a key on the lead are asked for all leads from the first to the last id, as nearby()."""
    queries = by_id(with_key(statements), lead_ids), nearby(without_key(statements), first, last)
    return "\nUNION ALL\n".join(filter(None, queries)) or None


def by_id(statements: Mapping[str, str], lead_ids: str) -> str | None:
    """Return the SELECT of the leads in use among some leads, and of what uses each, as `table.column`. None if there is no
    table that shows it. statements: by `table.column`."""
    return (
        "\nUNION ALL\n".join(
            f"SELECT in_use.{_column(name)} + 0, '{name}'\nFROM (\n{_indented(statement, lead_ids)}\n) AS in_use"
            for name, statement in statements.items()
        )
        or None
    )


def nearby(statements: Mapping[str, str], first: int, last: int) -> str | None:
    """As by_id(), of all leads from the first to the last id. At most MOST_NEARBY + 1 of each table."""
    return _nearby(tuple(statements.items())).format(first=first, last=last) or None


def not_listed(statements: Mapping[str, str], lead_ids: str) -> str:
    """Return what follows not_in_use(), for tables without a key on the lead: they do not show the lead of a row in use. Each
    of them is read once, not for each lead. lead_ids: all leads of the statement.

    Ids are compared as texts, so they are cast: a column with ZEROFILL shows 5 as 0000000005, one with decimals as 5.00.
    """
    if not statements:
        return ""
    used = "\nUNION ALL\n".join(
        f"SELECT CAST(in_use.{_column(name)} + 0 AS UNSIGNED) AS lead_id\n"
        f"FROM (\n{_indented(statement, lead_ids)}\n) AS in_use"
        for name, statement in statements.items()
    )
    listed = f"SELECT GROUP_CONCAT(DISTINCT used.lead_id)\nFROM (\n{indent(used, '    ')}\n) AS used"
    return f"\n    AND NOT FIND_IN_SET(CAST(source.lead_id AS UNSIGNED), COALESCE((\n{indent(listed, ' ' * 8)}\n    ), ''))"


def with_key(statements: Mapping[str, str]) -> Mapping[str, str]:
    """Return the statements whose table has a key in which a lead can be looked up."""
    return {name: statement for name, statement in statements.items() if "{named}" in statement}


def without_key(statements: Mapping[str, str]) -> Mapping[str, str]:
    """Return the statements that with_key() does not return."""
    return {name: statement for name, statement in statements.items() if "{named}" not in statement}


def not_in_use(statements: Mapping[str, str]) -> str:
    """Return the condition that the lead of a row is not in use. It is evaluated for each lead."""
    return (
        "\n    AND ".join(
            f"NOT EXISTS (\n{indent(statement.format(lead_ids='source.lead_id', named=LOOKED_UP), ' ' * 8)}\n    )"
            for statement in statements.values()
        )
        or "TRUE"
    )


@lru_cache
def _nearby(statements: tuple[tuple[str, str], ...]) -> str:
    """Return the text of nearby() with placeholders. To make it takes longer than to fill it in, and each batch needs it."""
    return "\nUNION ALL\n".join(
        f"(SELECT in_use.{_column(name)} + 0, '{name}'\n{_between(name, statement)}\nLIMIT {MOST_NEARBY + 1})"
        for name, statement in statements
    )


def _between(name: str, statement: str) -> str:
    # lead_id IN (lead_id) is true for each row that has one: all leads in use, whatever else the statement asks for. MariaDB
    # merges the subquery.
    everything = _indented(statement, _column(name))
    return f"FROM (\n{everything}\n) AS in_use\nWHERE in_use.{_column(name)} BETWEEN {{first:d}} AND {{last:d}}"


def _indented(statement: str, lead_ids: str) -> str:
    return indent(statement.format(lead_ids=lead_ids, named=NAMED), "    ")


def _column(name: str) -> str:
    return name.split(".")[1]
