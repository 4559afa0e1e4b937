"""Read information_schema, which leaves out tables at some moments."""

from __future__ import annotations

from typing import Any

from service.database.statements import Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LEFT_OUT, LOCK_WAIT_TIMEOUT


async def select_all(transaction: Transaction, statements: Statements, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT from information_schema.

    Raises DatabaseError for a lock if MariaDB has left out a table, which may be one that matters: it does so with one that
    is altered with LOCK=EXCLUSIVE, dropped or renamed at this moment if the transaction has read any table, and only warns.
    """
    rows, warnings = await transaction.select_each(query, statements.show_warnings.fill())
    if any(code == LEFT_OUT for _, code, _ in warnings):
        raise DatabaseError("information_schema has left out a table that is being altered", LOCK_WAIT_TIMEOUT)
    return rows
