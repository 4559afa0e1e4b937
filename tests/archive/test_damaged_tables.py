"""A table of MyISAM or Aria that MariaDB marks as damaged: no lead is moved until it is repaired."""

from __future__ import annotations

import time

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

MESSAGE = "{} is damaged, such as by a full disk"


def damage(tables: Tables, table: str) -> None:
    """Take the last rows away from a table that is open."""
    path = tables.mariadb.folder / "data" / tables.database / f"{table}.MYD"
    tables.execute(f"FLUSH TABLES {table}")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)


def readable(tables: Tables) -> list[object]:
    """Return the rows of both tables that can be read in spite of the damage."""
    return [
        tables.execute(f"SELECT lead_id, status FROM {table} FORCE INDEX (PRIMARY) WHERE lead_id IN (1, 2, 3)")
        for table in (LIST, ARCHIVE)
    ]


@pytest.mark.parametrize("damaged", [ARCHIVE, LIST])
@pytest.mark.parametrize("other", ["MyISAM", "InnoDB"])
def test_no_lead_is_moved_until_it_is_repaired(tables: Tables, api: Api, damaged: str, other: str) -> None:
    """Only the last row cannot be read. MariaDB marks the table at the first write that fails, and lets others through."""
    engines = {LIST: other, ARCHIVE: other, damaged: "MyISAM"}
    tables.set_engines(engines[LIST], engines[ARCHIVE])
    tables.live(*range(1, 9))
    tables.archived(*range(1, 9), status="OLD")
    assert problems(api) == []
    time.sleep(1.1)  # MariaDB notes the second in which a table was made, as it notes that of a repair
    damage(tables, damaged)

    assert api.archive_all([8]).status_code == 503
    before = readable(tables)

    for call in (api.archive_all, api.dearchive_all):
        response = call([1, 2])
        assert response.status_code == 503
        assert MESSAGE.format(damaged) in response.json()["message"]
    (problem,) = problems(api)
    assert (problem["message"], problem["operations"]) == (MESSAGE.format(damaged), ["archive", "dearchive"])
    assert readable(tables) == before

    tables.execute(problem["remedy"])
    assert problems(api) == []
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert not {1, 2} & set(tables.rows(LIST))
    assert {1, 2} <= set(tables.rows(ARCHIVE))
