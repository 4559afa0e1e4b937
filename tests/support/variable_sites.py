"""Databases of several kinds, with leads to archive, compare and bring back in each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mariadb import PrivateMariaDB

from support import model
from support.api import Api
from support.databases import create_database, migrate
from support.tables import Row, Tables

SITES: Mapping[str, tuple[str, list[str]]] = {
    "InnoDB": ("InnoDB", []),
    "two charsets": ("MyISAM", ["ALTER TABLE vicidial_list_archive CONVERT TO CHARACTER SET latin1"]),
    # The tables differ only in what SHOW CREATE TABLE shows. Only one of them has transactions.
    "different columns": (
        "InnoDB",
        [
            "ALTER TABLE vicidial_list MODIFY last_name VARCHAR(30) NOT NULL DEFAULT ''",
            "ALTER TABLE vicidial_list_archive ENGINE = MyISAM",
        ],
    ),
    "system-versioned": (
        "InnoDB",
        [f"ALTER TABLE {table} ADD SYSTEM VERSIONING" for table in ("vicidial_list", "vicidial_list_archive")],
    ),
}
"""The engine of Vicidial's tables, and the statements that change them afterwards."""

ODD = {"status": None, "last_name": "", "called_count": 0, "date_of_birth": "0000-00-00", "last_local_call_time": "2020-02-00"}
OTHER = {"comments": "jose", "called_count": None, "modify_date": "0000-00-00 00:00:00"}
NAMELESS = "This lead has no name, and where columns differ, vicidial_list asks for one"
MANY = range(1001, 2201)
"""More ids than MariaDB treats as a short list."""

IN_USE = 4
LOCKED = 99


class RefusedError(Exception):
    """Raised if the service refuses to work with the current variables, and /readyz says so."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__(problems)


class Site:
    """A database, in which a dialler has locked another lead in both tables."""

    def __init__(self, mariadb: PrivateMariaDB, name: str, database: str) -> None:
        engine, statements = SITES[name]
        create_database(mariadb, database)
        migrate(mariadb.url(database), "head", "-x", f"engine={engine}")
        self.tables = Tables(mariadb, database)
        for statement in statements:
            self.tables.execute(statement)
        # Equal texts are then equal bytes, in any stored charset. The tests' own statements ignore limits of the binary log.
        self.tables.execute("SET SESSION character_set_results = 'utf8mb4', wait_timeout = 10000, sql_log_bin = 0")
        self._dialler = mariadb.connect(
            database, autocommit=False, init_command="SET SESSION wait_timeout = 10000, sql_log_bin = 0"
        )
        self._many = list(MANY) if name == "InnoDB" else []
        self._lock = name in {"InnoDB", "system-versioned"}
        self._name_needed = name == "different columns"
        self._both: tuple[model.Leads, model.Leads] = {}, {}
        """The rows of both tables as they were read last. Nobody else changes them."""

    def check(self, api: Api) -> None:
        """Archive, compare and bring back leads. Raise RefusedError for a refusal, AssertionError for a wrong result."""
        self._prepare()
        everything = {**Api.ALL, "lead_ids": [1, 2, 3, *self._many]}
        self._compare(api, [1, 2, 3, IN_USE, 7, 8, 9, 10, 11])
        self._move(api, api.archive, model.archive, {**everything, "lead_ids": [1, 11]})
        self._move(api, api.archive, model.archive, everything)
        self._move(api, api.archive, archive_lead_in_use, {**Api.ALL, "lead_ids": [IN_USE]})
        back = {"insert_leads": True, "delete_leads": True, "lead_ids": [7, 8, 9, 10]}
        self._move(api, api.dearchive, partial(model.dearchive, fits=self._fits), back)
        assert_ready(api)

    def _prepare(self) -> None:
        """Put the leads into the tables with which each check begins."""
        self._dialler.rollback()
        for table in ("vicidial_list", "vicidial_list_archive", "vicidial_hopper"):
            self.tables.execute(f"DELETE FROM {table}")
        self.tables.live(1, IN_USE, comments="José")
        self.tables.live(2, **ODD)
        self.tables.live(3, 8, LOCKED, *self._many)
        self.tables.archived(2, **ODD)
        self.tables.archived(3, 10, **OTHER)
        self.tables.archived(7, 8, LOCKED, *self._many)
        self.tables.archived(9, comments=NAMELESS, last_name=None)
        self.tables.execute(f"INSERT INTO vicidial_hopper (lead_id) VALUES ({IN_USE}), ({LOCKED})")
        if self._lock:
            with self._dialler.cursor() as cursor:
                for table in ("vicidial_list", "vicidial_list_archive"):
                    cursor.execute(f"UPDATE {table} SET comments = 'on the phone' WHERE lead_id = {LOCKED}")
        self._both = self.tables.both()

    def _compare(self, api: Api, lead_ids: list[int]) -> None:
        live, archived = self._both
        columns = [(name or b"").decode() for name, *_ in self.tables.execute("SHOW COLUMNS FROM vicidial_list")]
        expected = []
        for lead_id in lead_ids:
            row, copy = live.get(lead_id), archived.get(lead_id)
            pairs = zip(columns, row or (), copy or (), strict=False)  # empty if one of the tables does not have the lead
            expected.append(
                {
                    "lead_id": lead_id,
                    "in_list": row is not None,
                    "in_archive": copy is not None,
                    "identical": row is not None and row == copy,
                    "different_columns": [column for column, value, other in pairs if value != other],
                    "in_use": lead_id == IN_USE,
                    "used_by": ["vicidial_hopper.lead_id"] if lead_id == IN_USE else [],
                    "reused": False,
                }
            )
        response = api.compare(lead_ids)
        if response.status_code == 503:
            assert_ready(api)
        answered = response.status_code, response.json()
        assert answered == (200, {"message": "leads were compared", "leads": expected}), f"{answered} instead of {expected}"

    def _move(self, api: Api, call: Callable[[Any], Any], expected: Callable[..., Any], body: dict[str, Any]) -> None:
        before = self._both
        status, answer, *after = expected(*before, body)
        response = call(body)
        self._both = left = self.tables.both()
        if response.status_code == 503:
            for lead_id, row in [*before[0].items(), *before[1].items()]:
                assert row in {table.get(lead_id) for table in left}, f"lead {lead_id} is lost"
            assert_ready(api)
        answered = response.status_code, response.json()
        assert answered == (status, answer), f"{answered} instead of {status}, {answer}"
        assert left == tuple(after), "the tables are not as the answer says"

    def _fits(self, row: Row) -> bool:
        return not (self._name_needed and NAMELESS.encode() in row)


def archive_lead_in_use(live: model.Leads, archived: model.Leads, body: dict[str, Any]) -> Any:
    """Return what the model expects for leads that must not be changed."""
    nothing = dict.fromkeys(("insert_leads", "update_leads", "delete_leads"), False)
    status, answer, live, archived = model.archive(live, archived, {**body, **nothing})
    return status, {**answer, "remaining_lead_ids": body["lead_ids"]}, live, archived


def assert_ready(api: Api) -> None:
    """Raise RefusedError with the problems if the service reports that it is not ready."""
    readiness = api.get("/readyz")
    if readiness.status_code == 503 and readiness.json()["problems"]:
        raise RefusedError(readiness.json()["problems"])
    assert readiness.status_code == 200
