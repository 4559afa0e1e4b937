"""Tables without rollback that a full disk or a crash has damaged: no lead is moved until they are repaired.

MariaDB goes on with such a table: the statements that do not meet the damaged place work, and no definition shows it. So an
error that tells of it is remembered. CHECK TABLE is not asked: it would keep the dialler from the table meanwhile, and when it
finds damage, MariaDB opens the table again, tries to repair it, and lets nobody read it if that fails. No message advises it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from service.database.statements import Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError, Problem
from service.mariadb_errors import DAMAGED_TABLE
from service.tables.definitions import ARCHIVE, LEADS, Table, names
from service.tables.information_schema import select

NAMED = re.compile(r"'(?:[^']*/)?([^'/]+?)(?:\.M[AY]I)?'")
"""The table in an error about damage, or its file: './asterisk/vicidial_list.MYI', 'vicidial_list'."""


class Damage:
    """Which tables are damaged, as far as this process knows."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._since: dict[str, float] = {}
        """When an error told of each table last, by the monotonic clock."""

    def note(self, error: DatabaseError) -> None:
        """Remember an error if it tells of damage of one of the two tables."""
        found = NAMED.search(str(error)) if error.code in DAMAGED_TABLE else None
        if found and found[1] in {LEADS, ARCHIVE}:
            self._since[found[1]] = time.monotonic()

    @property
    def is_known(self) -> bool:
        """Whether an error has told of damage, and no repair was seen since."""
        return bool(self._since)

    async def problems(self, transaction: Transaction, tables: Sequence[Table]) -> list[Problem]:
        """Return a problem for each of these tables that is damaged: was it repaired since, or got another engine?"""
        if not self._since:
            return []
        query = self._statements.describe_repairs.fill(names(*(table.name for table in tables)))
        rows, _ = await select(transaction, self._statements, query)
        ages = {name: age / 1e6 for name, age in rows if age is not None}
        now = time.monotonic()
        damaged = []
        for table in tables:
            if table.transactional or ages.get(table.name, math.inf) < now - self._since.get(table.name, now):
                self._since.pop(table.name, None)
            elif table.name in self._since:
                damaged.append(damage_problem(table.name))
        return damaged


def damage_problem(table: str) -> Problem:
    """Return what an administrator must know about a damaged table without rollback."""
    return Problem(f"{table} is damaged, such as by a full disk", f"REPAIR TABLE {identifier(table)}")


def damage_in(error: DatabaseError) -> Problem | None:
    """Return what an administrator must know about an error, None if it is not about a damaged table."""
    if error.code not in DAMAGED_TABLE:
        return None
    found = NAMED.search(str(error))
    return damage_problem(found[1]) if found else Problem("a table is damaged, such as by a full disk; the log says which")
