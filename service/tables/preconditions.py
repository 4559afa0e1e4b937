"""What the service relies on: all that must be true of the server, the account and the two tables before a lead is moved.

What is known to be safe is listed here, and anything else is refused, with the statement that mends it where there is one.
Requests are answered with 503 then, and /readyz and `check` say why. What no precondition can tell, since it belongs to a
single row, the statements see themselves: such a lead stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.api.contract import LARGEST_LEAD_ID
from service.database.statements import identifier
from service.errors import DatabaseError, Problem
from service.mariadb_errors import ACCESS_DENIED, NO_SUCH_TABLE, UNUSABLE_SESSION
from service.tables.columns import Column
from service.tables.definitions import ARCHIVE, LEADS, Table, TablePair
from service.tables.privileges import Grants
from service.tables.same_data import INTEGERS, is_comparable

OLDEST_MARIADB = (10, 5)
"""The oldest version that the tests run on."""

ENGINES = frozenset({"InnoDB", "MyISAM", "Aria"})
"""Each keeps its rows on disk, and in one place: MEMORY forgets them at a restart, MERGE may show a table's own rows as a
copy."""

LEAST_PACKET = 1024 * 1024
"""Bytes that max_allowed_packet must allow: no text that is converted for a comparison is longer, and no batch of 5,000
leads."""

LEAST_BINLOG_CACHE = 64 * 1024 * 1024
"""Bytes that max_binlog_cache_size must allow: 10,000 leads, each deleted and inserted, of some kilobytes each."""

VICIDIAL_COLUMNS = {
    "lead_id": "`lead_id` int(9) unsigned NOT NULL",
    "entry_date": "`entry_date` datetime DEFAULT NULL",
    "modify_date": "`modify_date` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()",
    "list_id": "`list_id` bigint(14) unsigned NOT NULL DEFAULT 0",
    "phone_number": "`phone_number` varchar(18) NOT NULL",
}
"""The columns that the statements name, as Vicidial's schema defines them."""

READ_ONLY_SERVER = {1290, 1836}
NO_STATEMENT_CAN_BE_PREPARED = 1461


def version_problem(version: str) -> Problem | None:
    """Return what is wrong with a server's VERSION()."""
    needed = f"this service needs MariaDB {'.'.join(map(str, OLDEST_MARIADB))} or later"
    # Some proxies and old protocols put 5.5.5- in front.
    numbers = version.removeprefix("5.5.5-").split(".")[:2]
    if "MariaDB" not in version:
        return Problem(f"the server is {version}, no MariaDB: {needed}")
    if tuple(int(number) for number in numbers) < OLDEST_MARIADB:
        return Problem(f"the server is {version}: {needed}")
    return None


def server_problem(error: DatabaseError, grants: Grants | None = None) -> Problem | None:  # noqa: PLR0911
    """Return what an administrator should mend after an error of the database, None if it is none of that kind.

    grants: of the account, if it is known.
    """
    if error.code == UNUSABLE_SESSION:
        return Problem(
            "init_connect chooses another database, or makes temporary tables, which may hide those of the site",
            "SET GLOBAL init_connect = ''",
        )
    if error.code in READ_ONLY_SERVER:
        return Problem(
            "the server is read only: if it is a replica, set DATABASE_URL to the primary", "SET GLOBAL read_only = OFF"
        )
    if found := re.match(r"SHOW VIEW command denied .*[`'](\w+)[`']$", str(error)):
        return Problem(f"{found[1]} is no table that keeps rows, but a view")
    if error.code in ACCESS_DENIED:
        return Problem(
            f"the account lacks a privilege: {error}; `python -m service grants` prints all that it needs",
            grants.lacking(str(error)) if grants else None,
        )
    if error.code == NO_SUCH_TABLE:
        return Problem(str(error))  # one of the two, or one that a trigger uses
    if error.code == NO_STATEMENT_CAN_BE_PREPARED:
        return Problem(
            "max_prepared_stmt_count is used up: the service cannot ask what the account may do",
            "SET GLOBAL max_prepared_stmt_count = 16382",
        )
    return None


@dataclass(frozen=True)
class Session:
    """What sql/describe_session.sql tells."""

    version: str
    account: str
    database: str
    on_cluster: int
    largest_packet: int
    logs_statements: int
    is_made_to_log_statements: int
    binlog_cache: int | None
    sees_all_tables: int


def least_packet(limit: int) -> int:
    """Return the bytes that max_allowed_packet must allow. limit: lead ids in a request."""
    return LEAST_PACKET if limit <= 5000 else 4 * LEAST_PACKET


def session_problems(session: Session, least_packet: int) -> Iterator[Problem]:
    """Find what is wrong with the variables of a session that the account cannot set. least_packet: in bytes."""
    if session.largest_packet < least_packet:
        yield Problem(
            f"max_allowed_packet is {session.largest_packet} bytes: a batch needs up to {least_packet}",
            "SET GLOBAL max_allowed_packet = 16777216",
        )
    if session.binlog_cache is not None and session.binlog_cache < LEAST_BINLOG_CACHE:
        yield Problem(
            f"max_binlog_cache_size is {session.binlog_cache} bytes: a batch needs up to {LEAST_BINLOG_CACHE}",
            "SET GLOBAL max_binlog_cache_size = 18446744073709547520",
        )
    if session.is_made_to_log_statements:
        yield Problem(
            "wsrep_forced_binlog_format is STATEMENT: what a batch changes must be logged by row",
            "SET GLOBAL wsrep_forced_binlog_format = 'NONE'",
        )
    if session.logs_statements:
        yield Problem(
            "binlog_format is STATEMENT: a replica would evaluate each DELETE on its own tables, and could delete other leads",
            "SET GLOBAL binlog_format = 'MIXED'",
        )


def table_problems(pair: TablePair, grants: Grants) -> Iterator[Problem]:
    """Find why leads cannot be moved from one table to the other, as far as the definitions tell. grants: of the account."""
    for table in (pair.source, pair.target):
        yield from _engine_problems(table)
    if any(table.engine is None for table in (pair.source, pair.target)):
        return  # nothing more is known of it
    hidden = [table for table in (pair.source, pair.target) if table.hidden_columns]
    for table in hidden:
        yield Problem(
            f"the account may not see the column {', '.join(table.hidden_columns)} of {table.name}: grant SELECT on the whole "
            "table",
            grants.statement("SELECT", table.name),
        )
    if hidden:
        return  # what there is of them is not known either
    for table in (pair.source, pair.target):
        yield from _column_problems(table, pair.target if table is pair.source else pair.source)
    yield from _lead_id_problems(pair.source, pair.target)
    for column in pair.missing:
        if column.name.lower() not in VICIDIAL_COLUMNS:
            yield _lacking(pair.target, pair.source, column)
    for column, copy in pair.columns:
        if not is_comparable(column, copy):
            yield Problem(*_incomparable(pair, column, copy))


def foreign_key_problems(pair: TablePair, sees_all_tables: bool, grants: Grants) -> Iterator[Problem]:
    """Find foreign keys by which a batch would change rows that nobody named, or could never end.

    The others keep a lead where it is (RESTRICT), and the statements see that. sees_all_tables: whether the account sees the
    tables of all databases.
    """
    tables = {pair.source.name, pair.target.name}
    for key in pair.foreign_keys:
        mended = f"ALTER TABLE {identifier(key.schema)}.{identifier(key.table)} DROP FOREIGN KEY {identifier(key.name)}"
        if not key.incoming:
            continue
        if acting := key.rules - {"RESTRICT", "NO ACTION"}:
            yield Problem(
                f"the foreign key {key.name} of {key.table} changes rows of its own ({', '.join(sorted(acting))}) when a lead "
                f"leaves {key.referenced_table}",
                mended,
            )
        elif key.table in tables and key.table != key.referenced_table:
            yield Problem(
                f"the foreign key {key.name} of {key.table} keeps every lead in {key.referenced_table} that is in both tables",
                mended,
            )
    if pair.foreign_keys and not sees_all_tables:
        yield Problem(
            "there are foreign keys, and the account cannot see whether tables of other databases have some that change rows",
            f"GRANT REFERENCES ON *.* TO {grants.account}",
        )


def _lacking(table: Table, other: Table, column: Column) -> Problem:
    """Return the problem that a table lacks a column of the other, and the statement that adds it in the same place.

    Vicidial's own lead_dearchive copies columns by their position.
    """
    names = list(other.columns) if other.name == LEADS else _mended_order(other, table)
    # Those that the table has, or gets by the same remedy before this one.
    numbering = {name for name, each in other.columns.items() if each.auto_increment and not _is_lead_id(each)}
    before = [name for name in names[: names.index(column.name)] if name not in numbering]
    place = f"AFTER {identifier(before[-1])}" if before else "FIRST"
    return Problem(
        f"{table.name} lacks the column {column.name}",
        table.alter(f"ADD COLUMN {column.full_definition} {place}"),
    )


def _mended_order(archive: Table, leads: Table) -> list[str]:
    """Return the names of the archive's columns as they will stand when it has got those of vicidial_list that it lacks."""
    names = list(archive.columns)
    place = 0
    for column in leads.columns.values():
        copy = archive.counterpart(column)
        if copy is None and not (column.auto_increment and not _is_lead_id(column)):
            names.insert(place, column.name)
            place += 1
        elif copy is not None:
            place = names.index(copy.name) + 1
    return names


def _engine_problems(table: Table) -> Iterator[Problem]:
    alter = table.alter("ENGINE = InnoDB")
    if table.is_view:
        yield Problem(f"{table.name} is no table that keeps rows, but a view")
    elif table.engine is None:
        yield Problem(f"{table.name} cannot be opened; CHECK TABLE says why", f"REPAIR TABLE {identifier(table.name)}")
    elif table.engine not in ENGINES:
        yield Problem(
            f"{table.name} is {table.engine}: leads are moved between tables of {', '.join(sorted(ENGINES))} only", alter
        )
    elif table.on_one_node:
        yield Problem(f"{table.name} is {table.engine}: its rows are on this node of the cluster only", alter)


def _column_problems(table: Table, other: Table) -> Iterator[Problem]:
    columns = {column.name.lower(): column for column in other.columns.values()}
    present = {name.lower() for name in table.columns}
    for name, definition in VICIDIAL_COLUMNS.items():
        if name not in present and name in columns:
            yield _lacking(table, other, columns[name])
        elif name not in present:
            yield Problem(f"{table.name} lacks Vicidial's column {name}", table.alter(f"ADD COLUMN {definition}"))
    for column in table.columns.values():
        if column.expression in {"ROW START", "ROW END"}:
            yield Problem(
                f"the column {column.name} of {table.name} tells when its row was written, which no copy can have: use system "
                "versioning without columns of its own"
            )
    if "lead_id" in table.names and "lead_id" not in table.unique_columns:
        kind = "UNIQUE KEY" if table.has_primary_key else "PRIMARY KEY"
        yield Problem(
            f"lead_id is no unique key of {table.name}: a lead could be in it twice",
            table.alter(f"ADD {kind} (`lead_id`)", converts=True),
        )


def _lead_id_problems(source: Table, target: Table) -> Iterator[Problem]:
    """A lead_id that does not fit is stored as the largest that does: another person's."""
    tables = {table.name: table for table in (source, target)}
    columns = {name: column for name, table in tables.items() for column in table.columns.values() if _is_lead_id(column)}
    if len(columns) < len(tables):
        return  # one is missing, which is a problem of its own
    ranges = {name: _range(column) for name, column in columns.items()}
    for name, column in columns.items():
        if ranges[name] is None:
            yield Problem(
                f"lead_id of {name} is {column.column_type}, no integer",
                tables[name].alter(f"MODIFY COLUMN {column.with_type('int(10) unsigned')}", converts=True),
            )
    known = {name: bounds for name, bounds in ranges.items() if bounds is not None}
    if len(known) < len(ranges) or len(set(known.values())) == 1:
        return
    narrow, wide = sorted(known, key=lambda name: known[name][1])
    yield Problem(
        f"lead_id is {columns[narrow].column_type} in {narrow} and {columns[wide].column_type} in {wide}: "
        "a lead_id that does not fit would become another",
        tables[narrow].alter(f"MODIFY COLUMN {columns[narrow].with_type(columns[wide].column_type)}", converts=True),
    )


def _is_lead_id(column: Column) -> bool:
    return column.name.lower() == "lead_id"


def largest_lead_id(column: Column) -> int:
    """Return the largest lead_id that a column can hold, of those that can be asked for."""
    bounds = _range(column)
    return bounds[1] if bounds else LARGEST_LEAD_ID


def _range(column: Column) -> tuple[int, int] | None:
    """Return the smallest and the largest lead_id that a column can hold, of those that can be asked for; None if it holds no
    integers only."""
    if column.data_type not in INTEGERS or column.generated:
        return None
    bits = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[column.data_type]
    unsigned = "unsigned" in column.column_type or "zerofill" in column.column_type
    return 0, min(2**bits if unsigned else 2 ** (bits - 1), LARGEST_LEAD_ID + 1) - 1


def _incomparable(pair: TablePair, column: Column, copy: Column) -> tuple[str, str | None]:
    """Return what is wrong with two columns that cannot be compared, and the statement that mends it, if there is one."""
    if column.data_type == copy.data_type and column.charset == copy.charset:
        return f"{column.name} is {column.data_type.upper()}, a type that this service does not know", None
    # Whichever way leads go, it is the archive that should be like the list.
    live, archived = (column, copy) if pair.source.name == LEADS else (copy, column)
    types = [f"{each.data_type.upper()}{f' of {each.charset}' if each.charset else ''}" for each in (live, archived)]
    message = f"{live.name} is {types[0]} in {LEADS} and {types[1]} in {ARCHIVE}"
    if not ({live.data_type, archived.data_type} <= {"timestamp", "datetime"} or (live.charset and archived.charset)):
        return message, None  # MariaDB would change the archived values without a word
    archive = pair.target if pair.source.name == LEADS else pair.source
    return message, archive.alter(f"MODIFY COLUMN {identifier(archived.name)}{live.attributes}", converts=True)
