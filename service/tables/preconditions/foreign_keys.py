"""Foreign keys that refer to the two tables."""

from __future__ import annotations

from collections.abc import Iterator

from service.database.statements import identifier
from service.errors import Problem
from service.tables.definitions import TablePair
from service.tables.privileges import Grants


def foreign_key_problems(pair: TablePair, grants: Grants) -> Iterator[Problem]:
    """Find foreign keys that make a batch change rows of other tables or other leads, or that no lead could ever get past.

    Other foreign keys (RESTRICT) only keep single leads where they are, and the statements notice that.
    """
    tables = {pair.source.name, pair.target.name}
    for key in pair.foreign_keys:
        remedy = f"ALTER TABLE {identifier(key.schema)}.{identifier(key.table)} DROP FOREIGN KEY {identifier(key.name)}"
        if not key.incoming:
            continue
        if acting := key.rules - {"RESTRICT", "NO ACTION"}:
            yield Problem(
                f"the foreign key {key.name} of {key.table} changes rows of its own ({', '.join(sorted(acting))}) when a lead "
                f"leaves {key.referenced_table}",
                remedy,
            )
        elif key.table in tables and key.table != key.referenced_table:
            yield Problem(
                f"the foreign key {key.name} of {key.table} keeps every lead in {key.referenced_table} that is in both tables",
                remedy,
            )
    if not all(key.all_are_seen for key in pair.foreign_keys):
        yield Problem(
            "there are foreign keys, and the account cannot see whether tables of other databases have some that change rows",
            f"GRANT REFERENCES ON *.* TO {grants.account}",
        )
