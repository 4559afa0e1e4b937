"""What every alembic command that talks to a database does first: look whether it may.

The migrations make copies of Vicidial's tables for tests. A database whose Vicidial tables are real ones is left as it is:
nothing is created, altered or dropped in it, not even alembic's own version table.
"""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any, cast, get_args

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.database.tls import Mode, client_context

# The comment of each table that a migration makes. MariaDB keeps it through ALTER TABLE and CREATE TABLE ... LIKE.
MARK = "Test copy of a Vicidial table, made by alembic"
ENGINES = ("InnoDB", "MyISAM", "Aria")


def chosen_engine() -> str:
    """The storage engine of `-x engine=`: InnoDB if there is none."""
    options = context.get_x_argument(as_dictionary=True)
    engine = options.pop("engine", ENGINES[0])
    if options or engine not in ENGINES:
        raise CommandError(f"the only -x option is engine, and it is one of {', '.join(ENGINES)}")
    return engine


def refuse_real_tables(connection: Connection) -> None:
    if connection.scalar(text("SELECT DATABASE()")) is None:
        raise CommandError("DATABASE_URL names no database")
    found = connection.scalars(
        text(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND (table_name LIKE 'vicidial%' OR table_name = 'quality_control_queue')"
            " AND NOT table_comment <=> :mark ORDER BY table_name"
        ),
        {"mark": MARK},
    ).all()
    if found:
        raise CommandError(
            "this database holds Vicidial tables that alembic did not create, and the migrations are for test databases"
            f" only: nothing was changed. Found {', '.join(found[:5])}{' and others' if found[5:] else ''}"
        )


def migrate(connection: Connection, options: dict[str, Any]) -> None:
    refuse_real_tables(connection)
    connection.rollback()  # the look began a transaction: alembic begins its own
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()


def tls_context() -> ssl.SSLContext | None:
    """DATABASE_TLS and DATABASE_TLS_CA_FILE, as the service reads them."""
    mode, authorities = os.environ.get("DATABASE_TLS", "off"), os.environ.get("DATABASE_TLS_CA_FILE")
    if mode not in get_args(Mode):
        raise CommandError(f"DATABASE_TLS is one of {', '.join(get_args(Mode))}")
    return client_context(cast("Mode", mode), Path(authorities).read_text("ascii") if authorities else None)


async def main() -> None:
    if context.is_offline_mode():
        raise CommandError("--sql is refused: without a connection nobody can see whether the Vicidial tables are real ones")
    if "DATABASE_URL" not in os.environ:
        raise CommandError("DATABASE_URL is not set: mysql+asyncmy://user:password@host:port/database")
    options = {"vicidial_engine": chosen_engine(), "vicidial_mark": MARK}
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool, connect_args={"ssl": tls_context()})
    async with engine.connect() as connection:
        await connection.run_sync(migrate, options)


asyncio.run(main())
