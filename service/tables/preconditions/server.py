"""The server: its version, what it refuses, and session variables that the account cannot set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.errors import DatabaseError, Problem
from service.mariadb_errors import (
    ACCESS_DENIED,
    ENGINE_IS_READ_ONLY,
    HIDDEN_TABLES,
    NO_STATEMENT_CAN_BE_PREPARED,
    NO_SUCH_TABLE,
    PACKET_TOO_LARGE,
    SERVER_IS_READ_ONLY,
    UNUSABLE_SESSION,
    UNUSABLE_TABLE,
)
from service.tables.damage import damage_in
from service.tables.definitions import Table
from service.tables.privileges import Grants

OLDEST_MARIADB = (10, 5)
"""The oldest version on which the tests run."""

LEAST_PACKET = 16 * 1024 * 1024
"""Minimum of max_allowed_packet, in bytes, and MariaDB's default. What is sent together for the largest request that the
contract allows fits into it, whatever LEAD_IDS_LIMIT is: up to ten statements, each with the conditions of the request. These
take up to 800 kB: 300 texts of 100 characters of 4 bytes, each as two hex digits and three times. That leaves 8 MB for lead
ids, columns, and the lists of the key."""

LEAST_BINLOG_CACHE = 64 * 1024 * 1024
"""Minimum of max_binlog_cache_size, in bytes: 10,000 leads of some kilobytes, each deleted and inserted. For tables without
rollback, it is that of max_binlog_stmt_cache_size."""

READ_ONLY_SERVER = {SERVER_IS_READ_ONLY, ENGINE_IS_READ_ONLY}


def version_problem(version: str) -> Problem | None:
    """Return what is wrong with the server's VERSION(), None if nothing is."""
    needed = f"this service needs MariaDB {'.'.join(map(str, OLDEST_MARIADB))} or later"
    # Some proxies and old protocols prefix it with 5.5.5-.
    numbers = version.removeprefix("5.5.5-").split(".")[:2]
    if "MariaDB" not in version:
        return Problem(f"the server is {version}, no MariaDB: {needed}")
    if tuple(int(number) for number in numbers) < OLDEST_MARIADB:
        return Problem(f"the server is {version}: {needed}")
    return None


def server_problem(error: DatabaseError, grants: Grants | None = None) -> Problem | None:  # noqa: PLR0911
    """Return what an administrator must fix after an error of the database, None if it is no such error. grants: of the
    account, if known."""
    if error.code == UNUSABLE_SESSION:
        return Problem(
            "init_connect chooses another database, or makes temporary tables, which may hide those of the site",
            "SET GLOBAL init_connect = ''",
        )
    if error.code == HIDDEN_TABLES:
        return Problem("a trigger or a stored function makes temporary tables, which may hide those of the site")
    if error.code in READ_ONLY_SERVER:
        return Problem(
            "the server is read only: if it is a replica, set DATABASE_URL to the primary", "SET GLOBAL read_only = OFF"
        )
    if found := re.match(r"SHOW VIEW command denied .*[`'](\w+)[`']$", str(error)):
        return Problem(f"{found[1]} is no table that keeps rows, but a view")
    if error.is_of_definer:
        return Problem(f"a trigger or a view runs as an account that lacks a privilege or does not exist: {error}")
    if error.code in ACCESS_DENIED:
        return Problem(
            f"the account lacks a privilege: {error}; `python -m service grants` prints what it needs on Vicidial's tables",
            grants.lacking(str(error)) if grants else None,
        )
    if error.code == PACKET_TOO_LARGE:
        return Problem(
            "max_allowed_packet is too small for a batch: for its lead ids, its conditions, and the lists of its key",
            f"SET GLOBAL max_allowed_packet = {4 * LEAST_PACKET}",
        )
    if error.code == NO_SUCH_TABLE or error.code in UNUSABLE_TABLE:
        return Problem(str(error))  # one of the two tables, one that tells of leads in use, or a table that a trigger uses
    return damage_in(error) or preparation_problem(error)


def preparation_problem(error: DatabaseError) -> Problem | None:
    """Return what is wrong if the server cannot prepare any statement, None if the error is another one."""
    if error.code != NO_STATEMENT_CAN_BE_PREPARED:
        return None
    return Problem(
        "max_prepared_stmt_count is used up: the service cannot ask what the account may do",
        "SET GLOBAL max_prepared_stmt_count = 16382",
    )


@dataclass(frozen=True)
class Session:
    """The row that sql/describe_session.sql returns."""

    version: str
    account: str
    database: str
    on_cluster: int
    largest_packet: int
    logs_statements: int
    is_made_to_log_statements: int
    binlog_cache: int | None
    binlog_stmt_cache: int | None
    innodb_is_read_only: int
    hides_from_replicas: str
    """Variables, with their values, that keep changes from replicas. Empty if there are none."""


def session_problems(session: Session, least_packet: int, tables: Sequence[Table]) -> Iterator[Problem]:
    """Find variables that do not allow a batch and that the account cannot set. least_packet: in bytes."""
    if session.innodb_is_read_only and any(table.engine == "InnoDB" for table in tables):
        yield Problem(
            "innodb_read_only is ON: no table of InnoDB can be changed. Start the server without innodb_read_only and without "
            "innodb_force_recovery"
        )
    if session.largest_packet < least_packet:
        yield Problem(
            f"max_allowed_packet is {session.largest_packet} bytes: a batch needs up to {least_packet}",
            f"SET GLOBAL max_allowed_packet = {LEAST_PACKET}",
        )
    if session.binlog_cache is not None and session.binlog_cache < LEAST_BINLOG_CACHE:
        yield Problem(
            f"max_binlog_cache_size is {session.binlog_cache} bytes: a batch needs up to {LEAST_BINLOG_CACHE}",
            "SET GLOBAL max_binlog_cache_size = 18446744073709547520",
        )
    all_roll_back = all(table.transactional for table in tables)
    if session.binlog_stmt_cache is not None and session.binlog_stmt_cache < LEAST_BINLOG_CACHE and not all_roll_back:
        yield Problem(
            f"max_binlog_stmt_cache_size is {session.binlog_stmt_cache} bytes: a batch needs up to {LEAST_BINLOG_CACHE}",
            "SET GLOBAL max_binlog_stmt_cache_size = 18446744073709547520",
        )
    if session.hides_from_replicas:
        yield Problem(
            f"init_connect sets {session.hides_from_replicas}: replicas may not get what a batch changes",
            "SET GLOBAL init_connect = ''",
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
