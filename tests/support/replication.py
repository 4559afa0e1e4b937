"""A primary and its asynchronous replica: two private MariaDB servers on loopback."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymysql
from mariadb import PrivateMariaDB

from support.databases import MARIADB_OPTIONS
from support.process import PATIENCE


class Replication:
    """Use as a context manager: both servers run from entry to exit, and the replica applies what the primary logs."""

    def __init__(self, folder: Path) -> None:
        options = tuple(option for option in MARIADB_OPTIONS if option != "--skip-log-bin")
        self.primary = PrivateMariaDB(folder / "primary", (*options, "--server-id=1", "--log-bin=binlog"))
        self.replica = PrivateMariaDB(folder / "replica", (*options, "--server-id=2"))

    def __enter__(self) -> Self:
        try:
            self.primary.start()
            self.replica.start()
            # So far the primary has logged only its accounts. The replica has accounts of its own: skip these events.
            execute(self.primary, "RESET MASTER")
            execute(
                self.replica,
                f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {self.primary.port},"
                f" master_user = '{self.primary.user}', master_password = '{self.primary.password}',"
                " master_use_gtid = slave_pos",
                "START SLAVE",
            )
            self.wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self.replica.kill()
        self.primary.kill()

    def wait(self) -> None:
        """Wait until the replica has applied all that the primary has logged. Raise AssertionError if it stops before."""
        ((position,),) = execute(self.primary, "SELECT @@gtid_binlog_pos")
        ((result,),) = execute(self.replica, f"SELECT MASTER_GTID_WAIT('{position}', {PATIENCE})")
        assert result == 0, self.status()

    def status(self) -> dict[str, Any]:
        """Return the replica's status by its field names."""
        with self.replica.connect(cursorclass=pymysql.cursors.DictCursor) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW SLAVE STATUS")
            status: dict[str, Any] = cursor.fetchall()[0]
            return status

    def position(self) -> tuple[str, int]:
        """Return the end of the primary's binary log: its file and position."""
        file, position, *_ = execute(self.primary, "SHOW MASTER STATUS")[0]
        return file, position

    def logged_since(self, start: tuple[str, int]) -> list[tuple[str, str]]:
        """Return type and text of each event that the primary has logged since then."""
        events = execute(self.primary, f"SHOW BINLOG EVENTS IN '{start[0]}' FROM {start[1]}")
        return [(kind, info) for _, _, kind, _, _, info in events]


def execute(server: PrivateMariaDB, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements on a new connection, and return the rows of the last one."""
    with server.connect() as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())
