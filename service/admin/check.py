"""`python -m service check`: check settings, database, tables, privileges, keys and certificate before the service starts, and
print how to fix what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from cryptography import x509
from databases import DatabaseURL

from service.access.keys import Keys
from service.access.office_hours import OfficeHours
from service.admin.keys_command import state
from service.app import create_context
from service.archive.refusals import LOCKED
from service.database.statements import Statements, identifier, table_of
from service.database.transaction import READ_ONLY, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT
from service.settings import Settings
from service.tables.definitions import TablePair
from service.tables.preconditions.server import server_problem, version_problem
from service.tables.privileges import DATABASE_PRIVILEGES, needed

TIMEOUT = 10
"""Seconds that the database has to answer."""

SOON = 30
"""Days before the expiry of a key or certificate from which it is reported."""

JOURNALD_KEEPS = 1_000
"""Leads whose records are never longer than journald's LineMax, 48 KiB: each may be in four lists of a line, with 12 bytes."""

LOCAL = {"127.0.0.1", "::1", "localhost"}
"""Names of this machine."""


class State(Enum):
    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    what: str
    found: str
    state: State = State.OK
    remedy: str | None = None
    """The statement or command that fixes it."""


async def find(settings: Settings, now: datetime) -> list[Finding]:
    """Check everything. Database errors become findings."""
    changed = settings.model_fields_set
    found = [Finding("settings", f"{len(changed)} set, {len(type(settings).model_fields) - len(changed)} by default")]
    found += await _database(settings)
    found += _office_hours("archive", settings.office_hours, now)
    found += _office_hours("dearchive", settings.dearchive_office_hours, now)
    found += _keys(settings.API_KEYS_FILE, now)
    found.append(_audit_log(settings))
    found.append(_certificate(settings, now))
    return found


async def _database(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    context = create_context(settings)
    database, loaded = context.database, context.statements
    try:
        if problem := version_problem(await database.server_version(TIMEOUT)):
            return [Finding("database", problem.message, State.PROBLEM)]
        await database.connect()
        async with database.transaction(TIMEOUT, READ_ONLY) as transaction:
            (server,) = await transaction.select(loaded.describe_server.fill())
            found = _server(server, settings)
        async with database.transaction(TIMEOUT) as transaction:
            transaction.set_variables(loaded.wait_briefly.fill())
            context.archive_reader.believe_at_once()
            state = await context.readiness.look_in(transaction)
            pair = context.archive_reader.cached
            assert pair is not None
            found += [
                Finding(", ".join(problem.operations), problem.message, State.PROBLEM, problem.remedy)
                for problem in state.obstacles
            ]
            found += [Finding("tables", note.message, State.NOTE, note.remedy) for note in state.notes]
            found += _tables(pair, settings)
            found.append(await _pace(transaction, loaded, pair, settings))
            found += await _privileges(transaction, loaded, pair, server[-1], settings)
            return found
    except DatabaseError as error:
        if fixable := server_problem(error):
            return [*found, Finding("archive, dearchive", fixable.message, State.PROBLEM, fixable.remedy)]
        if error.code == LOCK_WAIT_TIMEOUT:
            return [*found, Finding("archive, dearchive", LOCKED.message, State.PROBLEM)]
        return [Finding("database", str(error), State.PROBLEM)]
    finally:
        await database.disconnect()


def _server(row: tuple[Any, ...], settings: Settings) -> list[Finding]:
    version, sql_mode, zone, system_zone, flush, cluster, account, encryption, _ = row
    return [
        Finding("database", f"{version}, as {account}"),
        connection_finding(encryption, settings),
        Finding("sql_mode", f"{sql_mode or 'none'} (the service sets its own)"),
        Finding("time zone", f"{system_zone if zone == 'SYSTEM' else zone} (the service sets its own)"),
        Finding(
            "commits",
            "written to disk before they are confirmed" if flush == 1 else "a crash may lose the last second of them",
            State.OK if flush == 1 else State.NOTE,
            None if flush == 1 else "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
        ),
        *([Finding("cluster", "a node of a Galera cluster")] if cluster else []),
    ]


def connection_finding(encryption: str | None, settings: Settings) -> Finding:
    """encryption: the version of TLS and the cipher, or None."""
    url = DatabaseURL(settings.DATABASE_URL.get_secret_value())
    if socket := url.options.get("unix_socket"):
        return Finding("connection", f"on this machine, through {socket}")
    if encryption and settings.DATABASE_TLS == "verify":
        return Finding("connection", f"encrypted ({encryption}), to {url.hostname} as its certificate proves")
    if encryption:
        return Finding("connection", f"encrypted ({encryption}); DATABASE_TLS=verify would also check the certificate")
    if url.hostname in LOCAL:
        return Finding("connection", f"on this machine, to {url.hostname}, not encrypted")
    return Finding(
        "connection",
        f"not encrypted: leads and their changes cross the network to {url.hostname}; set DATABASE_TLS",
        State.NOTE,
    )


def _tables(pair: TablePair, settings: Settings) -> Iterator[Finding]:
    for table in (pair.source, pair.target):
        charsets = sorted({column.charset for column in table.columns.values() if column.charset})
        safe = table.transactional
        yield Finding(
            table.name,
            f"{table.engine}, {len(table.columns)} columns, {', '.join(charsets)}" + ("" if safe else "; no rollback"),
            State.OK if safe else State.NOTE,
        )
    for column, copy in pair.differences:
        remedy = pair.target.alter(f"MODIFY COLUMN {identifier(copy.name)}{column.attributes}", converts=True)
        yield Finding(
            "columns",
            f"{column.definition} in {pair.source.name}, {copy.definition} in {pair.target.name}: leads that do not fit stay",
            State.NOTE,
            remedy,
        )
    if settings.WORKERS > 1 and not pair.one_transaction:
        why = "they take turns only within a process, so the dialler may wait for two batches: set WORKERS=1"
        yield Finding("workers", f"{settings.WORKERS}, and a table has no rollback: {why}", State.NOTE)
    if settings.REUSED_LEAD_IDS == "overwrite":
        yield Finding("reused lead ids", "an archived lead is overwritten by another with its lead_id", State.NOTE)
    kept = settings.LEADS_IN_USE == "keep"
    yield Finding("leads in use", "stay" if kept else "are archived like any others", State.OK if kept else State.NOTE)
    for table_name in pair.skipped_tables:
        yield Finding("leads in use", f"there is no table {table_name}: what it would tell is not seen", State.NOTE)


async def _pace(transaction: Transaction, loaded: Statements, pair: TablePair, settings: Settings) -> Finding:
    if settings.PACE != "auto":
        return Finding("pace", f"{settings.PACE}, as PACE says", State.OK if settings.PACE == "gentle" else State.NOTE)
    if not pair.sees_agents:
        return Finding("pace", "gentle: vicidial_live_agents cannot be read", State.NOTE)
    try:
        ((agents,),) = await transaction.select(loaded.look_at_agents.fill())
    except DatabaseError as error:
        if error.code != LOCK_WAIT_TIMEOUT:
            raise
        return Finding("pace", "gentle now: another session has locked vicidial_live_agents", State.NOTE)
    return Finding("pace", "gentle now: agents are logged in" if agents else "full now: no agent is logged in")


async def _privileges(
    transaction: Transaction, loaded: Statements, pair: TablePair, database: str, settings: Settings
) -> list[Finding]:
    """Find privileges beyond those that are needed. Missing ones are found by the readiness check, which tries them."""
    rows = await transaction.select(loaded.describe_privileges.fill())
    granted: dict[tuple[bool, str], set[str]] = defaultdict(set)
    for schema, table, privilege in rows:
        granted[bool(schema), table].add(privilege)
    tables = needed(map(table_of, loaded.leads_in_use), settings.ADMIN_LOG == "on")
    too_much = {
        "everywhere": granted.pop((False, ""), set()) - {"USAGE", "REFERENCES"},
        f"in {database}": granted.pop((True, ""), set()) - set(DATABASE_PRIVILEGES),
        **{f"on {table}": privileges - set(tables.get(table, ())) for (_, table), privileges in granted.items()},
    }
    found = [
        Finding("privileges", f"more than it needs {where}: {', '.join(sorted(extra))}", State.NOTE)
        for where, extra in too_much.items()
        if extra
    ]
    if pair.problems:
        return found
    return found or [Finding("privileges", "all that it needs, and no more")]


def _office_hours(operation: str, hours: OfficeHours, now: datetime) -> Iterator[Finding]:
    what = f"office hours, {operation}"
    start = hours.next_start(now)
    if start is None:
        yield Finding(what, "none: allowed at any time")
        return
    if end := hours.end(now):
        yield Finding(what, f"{hours}; forbidden now, until {_local(end, hours)}", State.NOTE)
    else:
        yield Finding(what, f"{hours}; allowed now, until {_local(start, hours)}")


def _local(moment: datetime, hours: OfficeHours) -> str:
    return f"{moment.astimezone(hours.timezone):%a %Y-%m-%d %H:%M %Z}"


def _keys(path: Path, now: datetime) -> Iterator[Finding]:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("keys", f"{path} has mode {mode:04o}: others may read or change it", State.NOTE, f"chmod 600 {path}")
    today = now.astimezone(UTC).date()
    for key in Keys.load(path).entries:
        lists = "" if key.list_ids is None else f"; lists {', '.join(map(str, sorted(key.list_ids)))}"
        fresh = key.expires is None or (key.expires - today).days > SOON
        yield Finding("keys", f"{key.name} ({key.short}…): {state(key, today)}{lists}", State.OK if fresh else State.NOTE)


def _audit_log(settings: Settings) -> Finding:
    if settings.AUDIT_LOG:
        return Finding("audit log", str(settings.AUDIT_LOG))
    if settings.LEAD_IDS_LIMIT <= JOURNALD_KEEPS:
        return Finding("audit log", "none: the records of batches go to the log")
    cut = f"journald may cut those of more than {JOURNALD_KEEPS} leads: set AUDIT_LOG"
    return Finding("audit log", f"none: the records of batches go to the log, and {cut}", State.NOTE)


def _certificate(settings: Settings, now: datetime) -> Finding:
    if settings.TLS_CERT_FILE is None:
        state = State.OK if settings.HOST in LOCAL else State.NOTE
        return Finding("certificate", f"none: plain HTTP on {settings.HOST}", state)
    certificate = x509.load_pem_x509_certificates(settings.TLS_CERT_FILE.read_bytes())[0]
    days = (certificate.not_valid_after_utc - now).days
    found = f"{settings.TLS_CERT_FILE}: until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now > certificate.not_valid_after_utc:
        return Finding("certificate", f"{found}, expired", State.PROBLEM)
    return Finding("certificate", f"{found}, {days} days", State.OK if days > SOON else State.NOTE)
