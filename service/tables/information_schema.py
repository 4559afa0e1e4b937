"""Read information_schema, which leaves out tables at some moments."""

from __future__ import annotations

from typing import Any

from service.database.statements import Statements
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LEFT_OUT, LOCK_WAIT_TIMEOUT


async def select(transaction: Transaction, statements: Statements, query: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of a SELECT from information_schema, and whether they are all.

    MariaDB leaves out a table that is made by CREATE TABLE ... SELECT, altered with LOCK=EXCLUSIVE, dropped or renamed at this
    moment, and only warns: at once if the transaction has read any table, otherwise after it has waited for a lock.
    """
    rows, warnings = await transaction.select_each(query, statements.show_warnings.fill())
    return rows, not any(code in {LEFT_OUT, LOCK_WAIT_TIMEOUT} for _, code, _ in warnings)


async def select_all(transaction: Transaction, statements: Statements, query: str) -> list[tuple[Any, ...]]:
    """As select(). Raises DatabaseError for a lock if the rows are not all."""
    rows, are_all = await select(transaction, statements, query)
    if not are_all:
        raise left_out()
    return rows


def left_out() -> DatabaseError:
    """Return the error for a table that is left out, and may be one that matters."""
    return DatabaseError("information_schema has left out a table that is being made or altered", LOCK_WAIT_TIMEOUT)
