"""The definitions of the two tables: engines, columns and lead_id."""

from __future__ import annotations

from collections.abc import Iterator

from service.database.statements import identifier
from service.errors import Problem
from service.tables.columns import Column
from service.tables.definitions import ARCHIVE, LARGEST_LEAD_ID, LEADS, Table, TablePair
from service.tables.privileges import Grants
from service.tables.same_data import INTEGERS, is_comparable

ENGINES = frozenset({"InnoDB", "MyISAM", "Aria"})
"""These store rows on disk, in one place. MEMORY loses its rows at a restart; MERGE may show the rows of vicidial_list as a
copy."""

VICIDIAL_COLUMNS = {
    "lead_id": "`lead_id` int(9) unsigned NOT NULL",
    "entry_date": "`entry_date` datetime DEFAULT NULL",
    "modify_date": "`modify_date` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()",
    "list_id": "`list_id` bigint(14) unsigned NOT NULL DEFAULT 0",
    "phone_number": "`phone_number` varchar(18) NOT NULL",
}
"""The columns that the statements name, with their definitions in Vicidial's schema."""


def table_problems(pair: TablePair, grants: Grants) -> Iterator[Problem]:
    """Find what prevents leads from being moved between the two tables, according to their definitions. grants: of the
    account."""
    for table in (pair.source, pair.target):
        yield from _engine_problems(table)
    if any(table.engine is None for table in (pair.source, pair.target)):
        return  # nothing else is known about the table
    hidden = [table for table in (pair.source, pair.target) if table.hidden_columns]
    for table in hidden:
        yield Problem(
            f"the account may not see the column {', '.join(table.hidden_columns)} of {table.name}: grant SELECT on the whole "
            "table",
            grants.statement("SELECT", table.name),
        )
    if hidden:
        return  # nothing is known about the hidden columns
    row_times = [problem for table in (pair.source, pair.target) for problem in _row_time_problems(table)]
    yield from row_times
    if row_times:
        return  # MariaDB adds ROW END to each unique key, and the other table cannot have such columns
    for table in (pair.source, pair.target):
        yield from _column_problems(table, pair.target if table is pair.source else pair.source)
    yield from _lead_id_problems(pair.source, pair.target)
    for column in pair.missing:
        if column.name.lower() not in VICIDIAL_COLUMNS:
            yield _lacking(pair.target, pair.source, column)
    for column, copy in pair.columns:
        if not is_comparable(column, copy):
            yield Problem(*_incomparable(pair, column, copy))


def _lacking(table: Table, other: Table, column: Column) -> Problem:
    """Return the problem that a table lacks a column of the other table, with the statement that adds it in the same place.

    The place matters: Vicidial's own lead_dearchive copies columns by position.
    """
    names = list(other.columns) if other.name == LEADS else _order_after_remedies(other, table)
    # The columns that the table has, or that the remedies of the same answer add before this one.
    numbering = {name for name, each in other.columns.items() if each.auto_increment and not _is_lead_id(each)}
    before = [name for name in names[: names.index(column.name)] if name not in numbering]
    place = f"AFTER {identifier(before[-1])}" if before else "FIRST"
    return Problem(
        f"{table.name} lacks the column {column.name}",
        table.alter(f"ADD COLUMN {column.full_definition} {place}"),
    )


def _order_after_remedies(archive: Table, leads: Table) -> list[str]:
    """Return the names of the archive's columns in their order after it got the columns of vicidial_list that it lacks."""
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
    wrong_engine = table.engine not in ENGINES or table.on_one_node
    if table.is_view:
        yield Problem(f"{table.name} is no table that keeps rows, but a view")
    elif table.engine is None:
        yield Problem(f"{table.name} cannot be opened; CHECK TABLE says why", f"REPAIR TABLE {identifier(table.name)}")
    elif wrong_engine and table.is_versioned:
        # MariaDB refuses to change the engine (error 4120). To drop the versioning would delete the history.
        yield Problem(f"{table.name} is {table.engine} with system versioning, which keeps MariaDB from changing the engine")
    elif table.engine not in ENGINES:
        yield Problem(
            f"{table.name} is {table.engine}: leads are moved between tables of {', '.join(sorted(ENGINES))} only", alter
        )
    elif table.on_one_node:
        yield Problem(f"{table.name} is {table.engine}: its rows are on this node of the cluster only", alter)


def _row_time_problems(table: Table) -> Iterator[Problem]:
    """Find the columns of system versioning, if they are columns of the table. Without them, it keeps the same history."""
    columns = [column.name for column in table.columns.values() if column.expression in {"ROW START", "ROW END"}]
    if columns:
        yield Problem(
            f"{table.name} has columns that tell when its row was written ({', '.join(columns)}), which no copy can have: "
            "system versioning needs no columns of its own",
            table.alter(", ".join(f"DROP COLUMN {identifier(name)}" for name in columns)),
        )


def _column_problems(table: Table, other: Table) -> Iterator[Problem]:
    columns = {column.name.lower(): column for column in other.columns.values()}
    present = {name.lower() for name in table.columns}
    for name, definition in VICIDIAL_COLUMNS.items():
        if name not in present and name in columns:
            yield _lacking(table, other, columns[name])
        elif name not in present:
            yield Problem(f"{table.name} lacks Vicidial's column {name}", table.alter(f"ADD COLUMN {definition}"))
    if "lead_id" in table.names - table.unique_columns.keys() and "lead_id" in table.ignored_unique_columns:
        yield Problem(
            f"the unique key of lead_id in {table.name} is IGNORED: no statement can use it",
            table.alter(f"ALTER INDEX {identifier(table.ignored_unique_columns['lead_id'])} NOT IGNORED"),
        )
    elif "lead_id" in table.names and "lead_id" not in table.unique_columns:
        kind = "UNIQUE KEY" if table.has_primary_key else "PRIMARY KEY"
        message = (
            f"the unique key of lead_id in {table.name} is USING HASH: no statement can look a lead up in it"
            if "lead_id" in table.checking_unique_columns
            else f"lead_id is no unique key of {table.name}: a lead could be in it twice"
        )
        yield Problem(
            message,
            table.alter(f"ADD {kind} (`lead_id`)", converts=True),
        )


def _lead_id_problems(source: Table, target: Table) -> Iterator[Problem]:
    """Find out whether both tables can store the same lead ids. One that does not fit becomes the largest that does: another
    lead's."""
    tables = {table.name: table for table in (source, target)}
    columns = {name: column for name, table in tables.items() for column in table.columns.values() if _is_lead_id(column)}
    if len(columns) < len(tables):
        return  # a missing column is a problem of its own
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
    """Return the largest lead_id that the column can store, up to LARGEST_LEAD_ID."""
    bounds = _range(column)
    return bounds[1] if bounds else LARGEST_LEAD_ID


def _range(column: Column) -> tuple[int, int] | None:
    """Return the smallest and the largest lead_id that the column can store, up to LARGEST_LEAD_ID. None if it is no integer
    column."""
    if column.data_type not in INTEGERS or column.generated:
        return None
    bits = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[column.data_type]
    unsigned = "unsigned" in column.column_type or "zerofill" in column.column_type
    return 0, min(2**bits if unsigned else 2 ** (bits - 1), LARGEST_LEAD_ID + 1) - 1


def _incomparable(pair: TablePair, column: Column, copy: Column) -> tuple[str, str | None]:
    """Return the message about two columns that cannot be compared, and the statement that fixes it, if there is one."""
    live, archived = (column, copy) if pair.source.name == LEADS else (copy, column)
    if live.data_type == archived.data_type and live.charset == archived.charset:
        if live.members != archived.members:
            # ALTER TABLE converts members by their texts: it would make number 0 the empty member, without a warning.
            return f"{live.name} is {live.column_type} in {LEADS} and {archived.column_type} in {ARCHIVE}", None
        return f"{live.name} is {live.data_type.upper()}, a type that this service does not know", None
    # In both directions, it is the archive that is altered.
    types = [f"{each.data_type.upper()}{f' of {each.charset}' if each.charset else ''}" for each in (live, archived)]
    message = f"{live.name} is {types[0]} in {LEADS} and {types[1]} in {ARCHIVE}"
    if not ({live.data_type, archived.data_type} <= {"timestamp", "datetime"} or (live.charset and archived.charset)):
        return message, None  # MariaDB would change the archived values without a warning
    archive = pair.target if pair.source.name == LEADS else pair.source
    return message, archive.alter(f"MODIFY COLUMN {identifier(archived.name)}{live.attributes}", converts=True)
