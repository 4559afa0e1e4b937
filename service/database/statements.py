"""Load the SQL statements of sql/: one statement in a file, named after the file."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from service import resource_path
from service.errors import StatementError

PLACEHOLDERS = frozenset(
    {
        "source",
        "target",
        "source_key",
        "target_key",
        "staged",
        "table",
        "table_names",
        "source_columns",
        "target_columns",
        "nulls",
        "assignments",
        "same_data",
        "differences",
        "reused",
        "not_reused",
        "not_in_use",
        "staged_definition",
        "staged_engine",
        "statement",
        "variables",
        "foreign_key_checks",
        "temporary_tables",
        "database",
        "stored_whole",
        "fingerprint",
        "lead_ids",
        "asked_lead_ids",
        "list_ids",
        "list_rows",
        "least_packet",
        "lock_wait_timeout",
        "max_statement_time",
        "matches",
        "copy_matches",
        "returning",
        "user",
        "ip_address",
        "event_code",
        "event_notes",
        "texts",
        "moment",
        "number",
        "numbers",
        "truth",
        "active",
        "key_hint",
        "first",
        "last",
        "offset",
        "limit",
    }
)
"""All placeholders that the code fills in. A statement with another one could not be sent. A placeholder that no statement
uses is a condition that got lost, such as the comparison in a DELETE."""


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement of sql/ with placeholders. Comment lines are not sent to the server."""

    name: str
    template: str

    def fill(self, values: Mapping[str, str] | None = None) -> str:
        """Return the statement with its placeholders filled in. Raises KeyError for a missing value."""
        return self.template.format_map(values or {})


@dataclass(frozen=True, eq=False)
class Statements:
    """All statements of sql/, each in the file of the same name."""

    check_session: Statement
    check_session_again: Statement
    compare_leads: Statement
    correct_deleted: Statement
    count_opened_tables: Statement
    delete_damaged_copies: Statement
    delete_leads: Statement
    describe_columns: Statement
    describe_foreign_keys: Statement
    describe_keys: Statement
    describe_privileges: Statement
    describe_repairs: Statement
    describe_server: Statement
    describe_session: Statement
    describe_tables: Statement
    drop_staged: Statement
    ending_soon: Statement
    find_end_of_stretch: Statement
    find_in_either_table: Statement
    find_leads: Statement
    find_matching_leads: Statement
    fingerprint_copies: Statement
    forget_damaged_copies: Statement
    note_refused_copy: Statement
    forget_changed: Statement
    keep_damaged_copies: Statement
    restore_damaged_copies: Statement
    highest_lead_id: Statement
    if_unlocked: Statement
    insert_admin_log: Statement
    insert_leads: Statement
    insert_whole_leads: Statement
    is_visible: Statement
    lists_of_leads: Statement
    look_at_agents: Statement
    look_at_copies: Statement
    look_at_session: Statement
    looking_up_each: Statement
    open_tables: Statement
    prepare: Statement
    record_deleted: Statement
    record_inserted: Statement
    record_inserting: Statement
    record_updated: Statement
    restore_leads: Statement
    roll_back_to_savepoint: Statement
    select_different_leads: Statement
    select_equal_leads: Statement
    select_leads: Statement
    select_unmatched_leads: Statement
    select_whole_leads: Statement
    session: Statement
    set_foreign_key_checks: Statement
    set_savepoint: Statement
    show_columns: Statement
    show_create_table: Statement
    show_damaged_copies: Statement
    show_deleted: Statement
    show_inserted: Statement
    show_keys: Statement
    show_updated: Statement
    show_warnings: Statement
    stage_leads: Statement
    stage_table: Statement
    take_time: Statement
    touch_leads: Statement
    try_insert: Statement
    try_insert_whole: Statement
    try_lock: Statement
    try_to_read: Statement
    unmatched_lists: Statement
    update_leads: Statement
    visible_in_stretch: Statement
    visible_leads: Statement
    wait_briefly: Statement
    with_variables: Statement
    leads_in_use: Mapping[str, Statement]
    """The statements of sql/leads_in_use/, by the table and column they are named after: `vicidial_hopper.lead_id`."""
    conditions: Mapping[str, Statement]
    """The statements of sql/conditions/, by the condition that they are named after: `list_ids`."""

    def under(self, statement: str, *variables: Statement) -> str:
        """Return a statement that runs with other variables: see with_variables.sql."""
        if not variables:
            return statement
        return self.with_variables.fill(
            {"variables": ", ".join(variable.fill() for variable in variables), "statement": statement}
        )

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Read all .sql files in a folder and its subfolders (default: the project's sql/).

        Raises StatementError for a file that is missing or that no code uses, an empty file, several statements in a file, and
        a placeholder that is unknown or that no statement uses.
        """
        folder = folder or resource_path("sql")
        paths = sorted(folder.rglob("*.sql"))
        found = {path: _read(path) for path in paths}
        names = [field.name for field in fields(cls) if field.name not in {"leads_in_use", "conditions"}]
        in_use = [path for path in paths if path.parent == folder / "leads_in_use" and re.fullmatch(r"\w+\.\w+", path.stem)]
        conditions = [path for path in paths if path.parent == folder / "conditions"]
        expected = {name: folder / f"{name}.sql" for name in names}
        if missing := [path for path in expected.values() if path not in found]:
            raise StatementError(f"{missing[0]}: is missing")
        if unused := [path for path in paths if path not in {*expected.values(), *in_use, *conditions}]:
            raise StatementError(f"{unused[0]}: no code uses it")
        if lost := PLACEHOLDERS - set().union(*map(_placeholders, found.values())):
            raise StatementError(f"no statement uses the placeholder {', '.join(sorted(lost))}")
        return cls(
            **{name: found[path] for name, path in expected.items()},
            leads_in_use={path.stem: found[path] for path in in_use},
            conditions={path.stem: found[path] for path in conditions},
        )


def table_of(name: str) -> str:
    """Return the table of `table.column`, the name of a statement of sql/leads_in_use/."""
    return name.split(".", maxsplit=1)[0]


def _read(path: Path) -> Statement:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("--"))
    if not text:
        raise StatementError(f"{path}: holds no statement")
    if ";" in text:
        raise StatementError(f"{path}: holds a semicolon; write one statement a file, without a semicolon at its end")
    statement = Statement(path.stem, text)
    try:
        placeholders = _placeholders(statement)
    except ValueError as error:
        raise StatementError(f"{path}: {error}") from None
    if unknown := placeholders - PLACEHOLDERS:
        raise StatementError(f"{path}: unknown placeholder {', '.join(sorted(unknown))}")
    return statement


def _placeholders(statement: Statement) -> set[str]:
    """Return the names in braces. Raises ValueError for anything else in braces."""
    parts = list(string.Formatter().parse(statement.template))
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ValueError("a placeholder is a name in braces and nothing else")
    return {field for _, field, _, _ in parts if field is not None}


def identifier(name: str) -> str:
    """Return the name of a table or column, quoted for SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text as an SQL literal. It is correct with every sql_mode that sql/session.sql sets: a backslash is an escape
    character."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def text(value: str, charset: str | None, collation: str | None) -> str:
    """Return a text as an SQL expression that can be compared with a column. It is correct with every sql_mode and charset.

    charset, collation: those of the column. The collation decides what is equal to the text. If the charset lacks a character
    of the text, the expression is NULL, which is equal to nothing; MariaDB would refuse the statement, or compare a '?'.
    """
    if re.fullmatch(r"[A-Za-z0-9 _-]*", value):  # no character that any charset or sql_mode treats differently
        return f"'{value}'"
    sent = f"_utf8mb4 x'{value.encode().hex()}'"
    if charset is None:
        return sent
    held = f"CONVERT({sent} USING {charset})"
    return f"IF(BINARY CONVERT({held} USING utf8mb4) = BINARY {sent}, {held} COLLATE {collation}, NULL)"


def integers(values: Sequence[int]) -> str:
    """Return a list of integers for IN (...).

    Raises TypeError for anything but integers, so that only digits get into the statement, and ValueError for an empty list,
    which SQL does not allow.
    """
    if not values:
        raise ValueError("IN () needs at least one value")
    if not set(map(type, values)) == {int}:
        raise TypeError("only integers can be rendered into a statement")
    return ", ".join(map(str, values))
