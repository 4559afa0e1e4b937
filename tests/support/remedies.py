"""Fix what the service refuses as an administrator does: only with the remedies of /readyz."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from support.api import Api
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"

NamedRow = dict[str, bytes | None]


@dataclass(frozen=True)
class Account:
    """A database account that has only the privileges that a test grants. Its password is "secret"."""

    tables: Tables
    name: str
    """The account as SQL writes it."""
    url: str
    """The DATABASE_URL of the account."""

    def grant(self, privileges: str, table: str) -> None:
        self.tables.execute(f"GRANT {privileges} ON {self._place(table)} TO {self.name}")

    def revoke(self, privileges: str, table: str) -> None:
        self.tables.execute(f"REVOKE {privileges} ON {self._place(table)} FROM {self.name}")

    def _place(self, table: str) -> str:
        database = self.tables.database
        return f"`{database.replace('_', chr(92) + '_')}`.*" if table == "*" else f"`{database}`.`{table}`"


@contextmanager
def account(tables: Tables, suffix: str = "") -> Iterator[Account]:
    """Create an account without privileges. suffix: the end of its user name."""
    user = f"archive_{tables.database}{suffix}"
    quoted = user.replace("'", "''")
    name = f"'{quoted}'@'127.0.0.1'"
    tables.execute(f"CREATE USER {name} IDENTIFIED BY 'secret'")
    yield Account(tables, name, f"mysql+asyncmy://{quote(user)}:secret@127.0.0.1:{tables.mariadb.port}/{tables.database}")
    tables.execute(f"DROP USER {name}")


def problems(api: Api) -> list[dict[str, Any]]:
    """Return the problems that /readyz reports, and assert that its status matches."""
    response = api.get("/readyz")
    found: list[dict[str, Any]] = response.json()["problems"]
    assert response.status_code == (503 if found else 200)
    return found


def apply_remedies(tables: Tables, api: Api, *, rounds: int = 4) -> list[str]:
    """Run every remedy that /readyz reports, until it is green. Return the statements."""
    done: list[str] = []
    for _ in range(rounds):
        found = problems(api)
        if not found:
            return done
        for problem in found:
            assert problem["remedy"], problem["message"]
            tables.execute(problem["remedy"])
            done.append(problem["remedy"])
    raise AssertionError(f"still not ready after {done}: {found}")


def refused_without_remedy(tables: Tables, api: Api, lead_ids: list[int]) -> str:
    """Assert that archiving leads is refused and changes nothing, for one reason without a remedy. Return that reason."""
    before = tables.both()
    assert api.archive_all(lead_ids).status_code == 503
    (problem,) = problems(api)
    assert problem["remedy"] is None
    assert tables.both() == before
    return str(problem["message"])


def refused_until_fixed(tables: Tables, api: Api, said: str, lead_ids: list[int]) -> list[str]:
    """Assert that archiving leads is refused and changes nothing, and succeeds after the remedies of /readyz.

    Return the remedies that were run.
    """
    before = tables.both()
    response = api.archive_all(lead_ids)
    assert response.status_code == 503, response.json()
    assert said in response.json()["message"]
    assert said in "; ".join(problem["message"] for problem in problems(api))
    assert tables.both() == before
    live = named(tables, LIST)

    done = apply_remedies(tables, api)

    answer = api.archive_all(lead_ids)
    assert (answer.status_code, answer.json().get("remaining_lead_ids")) == (200, []), answer.json()
    assert not named(tables, LIST).keys() & set(lead_ids)
    archived = named(tables, ARCHIVE)
    for lead_id in lead_ids:  # a remedy may have added columns
        assert live[lead_id].items() <= archived[lead_id].items()
    return done


def named(tables: Tables, table: str) -> dict[int, NamedRow]:
    """Return every row of a table by its lead_id, as a mapping of column names to values."""
    names = [(name or b"").decode() for name, *_ in tables.execute(f"SHOW COLUMNS FROM {table}")]
    columns = ", ".join("`" + name.replace("`", "``") + "`" for name in names)
    rows = tables.execute(f"SELECT {columns} FROM {table}")
    return {int(row[names.index("lead_id")] or b""): dict(zip(names, row, strict=True)) for row in rows}
