"""The command line: `python -m service` serves, `python -m service COMMAND` is for administration."""

from __future__ import annotations

if __name__ == "__main__":
    import service.hangup  # noqa: F401  first of all

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
import structlog

from service import __version__
from service.admin.cli import check, grants
from service.admin.keys_command import keys
from service.api.context import AppContext
from service.app import create_app, create_context
from service.archive.readiness import obstacle
from service.archive.script import script
from service.errors import DatabaseError, NotReadyError, Problem, SettingsError, StartError, StatementError
from service.observability import logs
from service.observability.process_end import end_process
from service.server.serve import serve
from service.settings import Settings, read_settings
from service.tables.preconditions.server import READ_ONLY_SERVER, version_problem

START_TIMEOUT = 10
"""Seconds that the database has to answer at start."""

logger = structlog.get_logger()


@click.group(invoke_without_command=True)
@click.version_option(__version__, prog_name="vicidial-lead-archive-api")
@click.pass_context
def main(command: click.Context) -> None:
    """Archive Vicidial leads over HTTP. Without a command: serve. The settings come from the environment."""
    if command.invoked_subcommand is None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as service.hangup, however it was started
        settings, context = _prepare()
        logs.configure(settings.LOG_LEVEL)
        asyncio.run(_look_at_tables(context))
        try:
            app = create_app(settings)
            status = serve(settings, app, app.state.context.keys, app.state.context.forbidden)
        except StartError as error:
            _end(str(error))
        end_process(status)


@main.command()
@click.argument("lead_ids", nargs=-1, type=click.IntRange(0, 4294967295))
def sql(lead_ids: tuple[int, ...]) -> None:
    """Print the statements as they are sent, for a DBA to read or run.

    They are filled in with the columns that the tables have now, and with LEAD_IDS (0 if none are given).
    """
    _, context = _prepare()
    click.echo(asyncio.run(_script(context, list(lead_ids) or [0])), nl=False)


for command in (check, grants, keys):
    main.add_command(command)


def _prepare() -> tuple[Settings, AppContext]:
    try:
        settings = read_settings()
        return settings, create_context(settings)
    except (SettingsError, StatementError) as error:
        _end(str(error))


async def _look_at_tables(context: AppContext) -> None:
    """End the process if the database does not answer or a table is missing.

    Tables that merely do not fit do not prevent the start: they can be fixed while the service runs, and /readyz says
    how.
    """
    try:
        if problem := version_problem(await context.database.server_version(START_TIMEOUT)):
            _end(f"DATABASE_URL: {problem.message}")
        await context.readiness.database.connect()
        _log((await context.readiness.look(START_TIMEOUT)).obstacles)
    except DatabaseError as error:
        if error.code not in READ_ONLY_SERVER:
            _end(f"DATABASE_URL: cannot use the database: {error}")
        _log([obstacle(error)])
    finally:
        await context.readiness.database.disconnect()


def _log(problems: Sequence[Problem]) -> None:
    """Log the problems as a request that they stop does."""
    if problems:
        logger.error("tables do not fit", problems=[{"message": each.message, "remedy": each.remedy} for each in problems])


async def _script(context: AppContext, lead_ids: list[int]) -> str:
    context.archive_reader.believe_at_once()
    await context.database.connect()
    try:
        async with context.database.transaction(START_TIMEOUT) as transaction:
            text = await script(transaction, context.statements, context.archive_reader, lead_ids)
            return f"{context.database.session};\n\n{context.statements.take_time.fill()};\n\n{text}"
    except NotReadyError as error:
        _end("\n".join(f"{problem.message}; to fix it, run: {problem.remedy}" for problem in error.problems))
    except DatabaseError as error:
        _end(f"DATABASE_URL: cannot use the database: {error}")
    finally:
        await context.database.disconnect()


def _end(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main(prog_name="python -m service")
