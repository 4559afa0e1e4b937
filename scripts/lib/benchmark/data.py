"""The leads: what is in the tables before a run, the same for every contestant, and whether they are where they should be
after it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from mariadb import PrivateMariaDB
from sample_leads import made_up_leads

from benchmark.cpu import cpu_seconds

ROOT = Path(__file__).parent.parent.parent.parent

ENGINES = ("InnoDB", "MyISAM")
STATES = ("fresh", "equal", "different")
"""Of leads in vicidial_list: not in the archive; there already, the same; there, as they were before they were called."""

SEEDS = 600
"""The number of distinct leads from which all others are made."""

IDLE_ID = 2_000_000_000
"""The first id of the leads in use, which nobody archives."""


SESSION = "SET sql_log_bin = 0, sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'"


class CheckError(Exception):
    """After a run the leads are not where they should be."""


class Database:
    """A database with Vicidial's tables, and one connection to it that no contestant uses."""

    def __init__(self, mariadb: PrivateMariaDB, name: str, engine: str) -> None:
        self.name = name
        self.engine = engine
        self.url = mariadb.url(name)
        self._mariadb = mariadb
        self._connection = mariadb.connect()
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8 COLLATE utf8_unicode_ci")  # as Vicidial's installers do
        self._connection.select_db(name)
        self.run(SESSION)
        migrate(self.url, engine)
        self.columns = [
            column
            for (column,) in self.run(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND table_name = 'vicidial_list' ORDER BY ordinal_position"
            )
        ]
        self._keys = re.findall(r"^  (KEY (`\w+`) .*?),?$", self.run("SHOW CREATE TABLE vicidial_list")[0][1], re.MULTILINE)
        self._seed()
        self._occupy()

    def once_more(self) -> Database:
        """Return the same database over another connection, for another thread."""
        other = copy(self)
        other._connection = self._mariadb.connect(self.name)
        other.run(SESSION)
        return other

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _seed(self) -> None:
        self.run("CREATE TABLE seed LIKE vicidial_list")
        leads = list(made_up_leads(SEEDS))
        names = ", ".join(f"`{name}`" for name in leads[0])
        values = ", ".join(f"%({name})s" for name in leads[0])
        with self._connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO seed ({names}) VALUES ({values})", leads)

    def _occupy(self) -> None:
        """Fill the tables that show leads in use as a dialler at work does: every batch of the service looks there. No agent
        is logged in: with agents, the service would be gentle."""
        for table, columns, values, rows in (
            ("vicidial_hopper", "lead_id, campaign_id, status", "'TEST', 'READY'", 250),
            ("vicidial_auto_calls", "lead_id, campaign_id, status", "'TEST', 'LIVE'", 100),
            ("vicidial_callbacks", "lead_id, user, status", "'1001', 'ACTIVE'", 1_000),
        ):
            self.run(f"INSERT INTO {table} ({columns}) SELECT seq + {IDLE_ID}, {values} FROM seq_1_to_{rows}")

    def load(self, table: str, source: str, like: str = "vicidial_list", **values: str) -> None:
        """Make a table anew from the rows of another. values: expressions for columns that are not to be taken over.

        The keys are added at the end, sorted: in half the time, and with the same pages each time.
        """
        self.run(f"DROP TABLE IF EXISTS {table}")
        self.run(f"CREATE TABLE {table} LIKE {like}")
        self.drop_keys(table)
        names = ", ".join(f"`{column}`" for column in self.columns)
        expressions = ", ".join(values.get(column, f"`{column}`") for column in self.columns)
        self.run(f"INSERT INTO {table} ({names}) SELECT {expressions} FROM {source}")
        self.run(f"ALTER TABLE {table} {', '.join(f'ADD {key}' for key, _ in self._keys)}")

    def drop_keys(self, table: str) -> None:
        """Drop all keys of the table but the primary one."""
        self.run(f"ALTER TABLE {table} {', '.join(f'DROP KEY {name}' for _, name in self._keys)}")

    def make_up(self, table: str, ids: range, like: str = "vicidial_list") -> None:
        """Make a table with leads in it. Their phone numbers are all different, and in no order."""
        self.load(
            table,
            f"seq_{ids[0]}_to_{ids[-1]} AS numbers JOIN seed ON seed.lead_id = numbers.seq % {SEEDS} + 1",
            like,
            lead_id="numbers.seq",
            vendor_lead_code="CONCAT('VL', numbers.seq)",
            phone_number="CONCAT(LEFT(seed.phone_number, 3), LPAD(numbers.seq * 7919 % 9999991, 7, '0'))",
        )

    def prepare(self, leads: int) -> None:
        """Make what reset() copies: leads, and the same before anybody called them."""
        self.make_up("leads", range(1, leads + 1))
        self.load(
            "older_leads",
            "leads",
            status="'NEW'",
            user="''",
            called_count="0",
            called_since_last_reset="'N'",
            last_local_call_time="'2008-01-01'",
            modify_date="entry_date",
            comments="'as it was loaded'",
        )

    def reset(self, state: str, leads: int) -> None:
        """Put the first leads into vicidial_list, and into the archive what the state says.

        Both are new tables, so that nothing is left to purge of what earlier runs deleted.
        """
        archived = {"fresh": "leads WHERE FALSE", "equal": "leads WHERE TRUE", "different": "older_leads WHERE TRUE"}[state]
        self.load("vicidial_list", f"leads WHERE lead_id <= {leads}", like="leads")
        self.load("new_archive", f"{archived} AND lead_id <= {leads}", like="vicidial_list_archive")
        self.run("DROP TABLE vicidial_list_archive")
        self.run("RENAME TABLE new_archive TO vicidial_list_archive")
        self.run("ANALYZE TABLE vicidial_list, vicidial_list_archive")

    def write_to_disk(self, table: str) -> None:
        """Have InnoDB write what it has changed, so that it does not do it while something is measured."""
        self.run(f"FLUSH TABLES {table} FOR EXPORT")
        self.run("UNLOCK TABLES")

    def settle(self) -> None:
        """Wait until InnoDB has purged what earlier runs deleted, but not for ever."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if self.status("Innodb_history_list_length") < 10:
                return
            time.sleep(0.01)

    def status(self, variable: str) -> int:
        """Return a status variable of the server."""
        ((_, value),) = self.run(f"SHOW GLOBAL STATUS LIKE '{variable}'")
        return int(value)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the server so far."""
        return cpu_seconds(self._mariadb.pid)

    def count(self, table: str) -> int:
        ((count,),) = self.run(f"SELECT COUNT(*) FROM {table}")
        return int(count)

    def lost(self, leads: int) -> int:
        """After a run: how many of the first leads the archive does not hold as vicidial_list had them, though they are gone
        from there. Raises CheckError if one is still there, or if the archive has others."""
        live, archived = self.count("vicidial_list"), self.count("vicidial_list_archive")
        if (live, archived) != (0, leads):
            raise CheckError(f"of {leads} leads {live} are in vicidial_list and {archived} in vicidial_list_archive")
        same = " AND ".join(f"BINARY leads.`{column}` <=> BINARY archive.`{column}`" for column in self.columns)
        ((lost,),) = self.run(
            "SELECT COUNT(*) FROM leads LEFT JOIN vicidial_list_archive AS archive USING (lead_id)"
            f" WHERE lead_id <= {leads} AND NOT ({same})"
        )
        return int(lost)


def migrate(url: str, engine: str) -> None:
    """Create Vicidial's tables."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"engine={engine}", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        check=True,
        capture_output=True,
    )


def batches(lead_ids: Sequence[int], size: int) -> list[list[int]]:
    return [list(lead_ids[start : start + size]) for start in range(0, len(lead_ids), size)]
