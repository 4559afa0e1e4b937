"""The commands `python -m service check` and `python -m service grants`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click
from databases import DatabaseURL
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from service.admin.check import Finding, State, find
from service.database.statements import Statements, table_of
from service.errors import SettingsError, StatementError
from service.settings import read_settings
from service.tables.privileges import statements

UNBOUNDED = 1_000_000
"""Characters: more than any finding has."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for monitoring.")
def check(as_json: bool) -> None:
    """Check settings, database, tables, privileges, office hours, keys and certificate. Status 1 if something is wrong."""
    try:
        found = asyncio.run(find(read_settings(), datetime.now(UTC)))
    except SettingsError as error:
        found = [Finding("settings", problem, State.PROBLEM) for problem in error.problems]
    except StatementError as error:
        found = [Finding("statements", str(error), State.PROBLEM)]
    wrong = any(finding.state is State.PROBLEM for finding in found)
    if as_json:
        findings = [{**asdict(finding), "state": finding.state.value.lower()} for finding in found]
        click.echo(json.dumps({"ok": not wrong, "findings": findings}, ensure_ascii=False))
    else:
        _print(found)
    sys.exit(int(wrong))


def _print(found: list[Finding]) -> None:
    # Words that are longer than their column are wrapped. By default, they would be cut off.
    table = Table(*(Column(title, overflow="fold") for title in ("", "What", "Found")), box=box.SIMPLE_HEAD)
    styles = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "bold red"}
    for finding in found:
        table.add_row(Text(finding.state.value, styles[finding.state]), finding.what, Text(finding.found))
    # A file or a pipe has no width to fold lines at: each finding is one line, which can be searched.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else UNBOUNDED)
    console.print(table)
    if remedies := dict.fromkeys(finding.remedy for finding in found if finding.remedy):
        click.echo("To fix it:")
        for remedy in remedies:
            click.echo(remedy if remedy.startswith("chmod ") else f"{remedy};")


@click.command()
@click.argument("account", metavar="'USER'@'HOST'")
def grants(account: str) -> None:
    """Print the minimum of privileges for a database account, for a database administrator to run."""
    if not re.fullmatch(r"'[^'\\]+'@'[^'\\]+'", account):
        raise click.UsageError("write the account as SQL does: \"'archive'@'127.0.0.1'\"")
    try:
        settings = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    click.echo("note: leave out tables that your version of Vicidial does not have, as mariadb --force does", err=True)
    for statement in statements(
        DatabaseURL(settings.DATABASE_URL.get_secret_value()).database,
        account,
        dict.fromkeys(map(table_of, Statements.load().leads_in_use)),
        settings.ADMIN_LOG == "on",
    ):
        click.echo(f"{statement};")
