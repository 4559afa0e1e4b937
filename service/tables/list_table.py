"""What the account may read of vicidial_lists, which says to which campaign a list belongs and whether it is active."""

from __future__ import annotations

from dataclasses import dataclass

from service.database.statements import Statements
from service.database.transaction import Transaction
from service.tables.definitions import names
from service.tables.information_schema import select_all
from service.tables.preconditions.server import Session
from service.tables.privileges import LISTS, Grants


@dataclass(frozen=True)
class ListColumn:
    """A column of vicidial_lists."""

    data_type: str
    charset: str | None
    collation: str | None
    readable: bool
    """Whether the account may read it, and list_id, by which lists are looked up."""
    grant: str
    """The statement that grants it."""


async def read_list_columns(transaction: Transaction, statements: Statements) -> dict[str, ListColumn]:
    """Return the columns of vicidial_lists that the account may see, by name in lower case. None if there is no such table.

    Raises DatabaseError for a lock if the table is being altered.
    """
    (row,) = await transaction.select(statements.describe_session.fill())
    session = Session(*row)
    rows = await select_all(transaction, statements, statements.describe_columns.fill(names(LISTS, LISTS)))
    columns = {
        name.lower(): (data_type, charset, collation, "select" in privileges.split(","))
        for _, name, data_type, _, charset, collation, *_, privileges in rows
    }
    has_key = columns.get("list_id", ("", None, None, False))[-1]
    grant = Grants(session.database, session.account).statement("SELECT", LISTS)
    return {
        name: ListColumn(data_type, charset, collation, readable and has_key, grant)
        for name, (data_type, charset, collation, readable) in columns.items()
    }
