"""Foreign keys that refer to the two tables, and those of the two tables."""

from __future__ import annotations

from collections.abc import Iterator

from service.errors import Problem
from service.tables.definitions import TablePair
from service.tables.privileges import Grants


def foreign_key_problems(pair: TablePair, grants: Grants) -> Iterator[Problem]:
    """Find foreign keys that make a batch change rows of other tables or other leads, or that no lead could ever get past.

    Other foreign keys (RESTRICT) only keep single leads where they are, and the statements notice that. What the target's own
    keys do while leads are deleted is noticed before the COMMIT: service/archive/kept_copies.py.
    """
    tables = {pair.source.name, pair.target.name}
    for key in pair.foreign_keys:
        if not key.incoming:
            if key in pair.acting_keys and not pair.source.transactional:
                yield Problem(
                    f"the foreign key {key.name} of {key.table} may change or delete a copy ({', '.join(sorted(key.acting))}) "
                    f"while the lead is deleted from {pair.source.name}, which cannot be rolled back",
                    key.drop,
                )
        elif key.acting:
            yield Problem(
                f"the foreign key {key.name} of {key.table} changes rows of its own ({', '.join(sorted(key.acting))}) when a "
                f"lead leaves {key.referenced_table}",
                key.drop,
            )
        elif key.table in tables and key.table != key.referenced_table:
            yield Problem(
                f"the foreign key {key.name} of {key.table} keeps every lead in {key.referenced_table} that is in both tables",
                key.drop,
            )
    if not all(key.all_are_seen for key in pair.foreign_keys):
        yield Problem(
            "there are foreign keys, and the account cannot see whether tables of other databases have some that change rows",
            f"GRANT REFERENCES ON *.* TO {grants.account}",
        )
