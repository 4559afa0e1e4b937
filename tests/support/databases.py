"""Databases with Vicidial's tables, made by the migrations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mariadb import PrivateMariaDB

from support.paths import ROOT, SCRATCH

# Small, quick to start, and without durability: nothing here has to survive a power cut.
MARIADB_OPTIONS = (
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-log-bin",
)

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
"""The server's time zone, one with daylight saving time, in the POSIX notation that needs no time zone files."""


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the alembic command on a database, and return its result even if it fails."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def migrate(url: str, revision: str, *options: str) -> None:
    """Upgrade a database to a revision; options are alembic's own, such as "-x", "engine=MyISAM"."""
    result = alembic(url, *options, "upgrade", revision)
    assert result.returncode == 0, result.stdout + result.stderr


def creation_of(database: str) -> str:
    """Return the statement that creates an empty database with the charset that Vicidial's installers choose."""
    return f"CREATE DATABASE {database} CHARACTER SET utf8 COLLATE utf8_unicode_ci"


def create_database(mariadb: PrivateMariaDB, name: str) -> None:
    """Create an empty database."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(creation_of(name))


@contextmanager
def server_with_binary_log(database: str) -> Iterator[PrivateMariaDB]:
    """A server of its own, with the tables of a site in one database."""
    SCRATCH.mkdir(exist_ok=True)
    options = [option for option in MARIADB_OPTIONS if option != "--skip-log-bin"]
    with (
        TemporaryDirectory(dir=SCRATCH) as folder,
        PrivateMariaDB(Path(folder), (*options, "--log-bin=binlog", "--server-id=1")) as server,
    ):
        create_database(server, database)
        migrate(server.url(database), "head")
        yield server
