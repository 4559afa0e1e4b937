"""Peculiarities that are dangerous together, and that would rarely be drawn together."""

from __future__ import annotations

from typing import Any

from support.sites.columns import ARCHIVE, LIST, Column
from support.sites.surroundings import ALL, STOCK
from support.sites.tables import Peculiarity

HUGE = ("CONCAT(REPEAT('x', 1100000), 'y')", "CONCAT(REPEAT('x', 1100000), 'z')")


def _values(name: str, kind: str, *values: str, more: tuple[str, ...] = (), **others: Any) -> Peculiarity:
    column = Column(("own", "own"), (kind, kind), values)
    return Peculiarity(name, (*column.additions(), *more), columns=(column,), **others)


NARROWER_ARCHIVE = f"ALTER TABLE {ARCHIVE} MODIFY last_name VARCHAR(5)"
NARROWER_LIST = f"ALTER TABLE {LIST} MODIFY last_name VARCHAR(5)"

TOGETHER = [
    _values("huge texts, small packets", "MEDIUMTEXT", *HUGE, variables=(("max_allowed_packet", "1048576"),)),
    _values("huge bytes, small packets", "LONGBLOB", *HUGE, variables=(("max_allowed_packet", "1048576"),)),
    _values(
        "huge texts in two collations",
        "LONGTEXT",
        *HUGE,
        more=(f"ALTER TABLE {ARCHIVE} MODIFY own LONGTEXT COLLATE utf8mb3_bin",),
    ),
    _values("FLOATs that print alike", "FLOAT", "0.1e0", "0.10000001e0"),
    _values("DOUBLEs that almost print alike", "DOUBLE", "0.3e0", "0.30000000000000004e0"),
    _values("an empty value and none", "ENUM('','0','1')", "0", "''", "'0'", "NULL"),
    _values("spaces at the end", "VARCHAR(5)", "'a'", "'a '", "'A'", "NULL"),
    _values("JSON that means the same", "JSON", "'{}'", "'{ }'"),
    _values("JSON as text", "JSON", "'{}'", "'{ }'", more=(f"ALTER TABLE {ARCHIVE} MODIFY own TEXT",)),
    _values(
        "synced with others",
        "TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP",
        "NULL",
        "'0000-00-00 00:00:00'",
        "'2024-10-27 00:30:00'",
    ),
    _values("a tier in two orders", "INT", "1", "2", more=(f"ALTER TABLE {ARCHIVE} MODIFY own INT FIRST",)),
    *(
        Peculiarity(f"{narrower}, {change}, {who}", (narrower, f"ALTER TABLE {LIST} {change}"), grants=grants)
        for narrower in (NARROWER_LIST, NARROWER_ARCHIVE)
        for change in ("PARTITION BY HASH (lead_id)", "ADD FULLTEXT KEY (comments)", "ADD SYSTEM VERSIONING", "ENGINE=MyISAM")
        for who, grants in (("an administrator", ALL), ("an ordinary account", STOCK))
    ),
    *(
        Peculiarity(f"{narrower} and {name} = {value}", (narrower,), variables=((name, value),))
        for narrower in (NARROWER_LIST, NARROWER_ARCHIVE)
        for name, value in (("sql_quote_show_create", "0"), ("sql_select_limit", "15"), ("sql_mode", "'ANSI'"))
    ),
    *(
        Peculiarity(f"{name} = {value} for an ordinary account", variables=((name, value),), grants=STOCK)
        for name, value in (("read_only", "1"), ("init_connect", "'SET sql_select_limit = 1'"), ("tx_read_only", "1"))
    ),
    *(
        Peculiarity(f"{table} has what the other has not: {kind}", (f"ALTER TABLE {table} ADD COLUMN own {kind}",))
        for table in (LIST, ARCHIVE)
        for kind in (
            "INT",
            "VARCHAR(20) NOT NULL AFTER status",
            "TIMESTAMP NOT NULL ON UPDATE CURRENT_TIMESTAMP",
            "INT AS (1)",
        )
    ),
]
