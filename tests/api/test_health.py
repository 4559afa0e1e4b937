"""/livez and /readyz: what they say of a database that is gone and of tables that do not fit, and how it is fixed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from mariadb import free_port
from support.api import Api
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


def problems(api: Api) -> list[dict[str, Any]]:
    """Return the problems that /readyz reports, and assert that the rest of its answer matches."""
    response = api.get("/readyz")
    answer = response.json()
    ready = not answer["problems"]
    assert (response.status_code, answer["message"]) == ((200, "ready") if ready else (503, "not ready"))
    assert response.headers.get("Retry-After") == (None if ready else "5")
    found: list[dict[str, Any]] = answer["problems"]
    return found


def obstacle(message: str, remedy: str | None = None, *operations: str) -> dict[str, Any]:
    """What is said of a problem that keeps these operations from working; both, if none is given."""
    return {"message": message, "remedy": remedy, "operations": list(operations) or ["archive", "dearchive"]}


def test_a_service_that_can_archive_is_alive_and_ready(tables: Tables, api: Api) -> None:
    assert api.get("/livez").json() == {"message": "alive"}
    assert api.get("/readyz").json() == {"message": "ready", "problems": [], "notes": [], "skipped_tables": []}
    assert tables.both() == ({}, {})


def test_without_a_database_the_service_is_alive_but_not_ready(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    before = tables.both()
    api = new_api(DATABASE_URL=f"mysql+asyncmy://user:secret-password@127.0.0.1:{free_port()}/{tables.database}")

    assert api.get("/livez").status_code == 200
    assert problems(api) == [obstacle("the database does not answer")]
    response = api.archive_all([1])
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.json() == {"message": "the database could not process the batch; nothing was changed, repeat the request"}
    assert api.get("/livez").status_code == 200
    assert tables.both() == before


def test_what_the_database_says_when_it_refuses_is_for_the_log_only(tables: Tables, new_api: Callable[..., Api]) -> None:
    api = new_api(DATABASE_URL=tables.url.replace("//vicidial:", "//nobody:"))

    assert problems(api) == [obstacle("the database refuses; the log says why")]


@pytest.mark.parametrize("table", [LIST, ARCHIVE])
def test_a_missing_table_makes_readyz_red(tables: Tables, api: Api, table: str) -> None:
    assert problems(api) == []
    tables.execute(f"RENAME TABLE {table} TO elsewhere")

    assert problems(api) == [obstacle(f"Table '{tables.database}.{table}' doesn't exist")]

    tables.execute(f"RENAME TABLE elsewhere TO {table}")
    assert problems(api) == []


# How the tables come not to fit, what is said of it, and the statement that fixes it.
MISFITS = {
    "a column that the archive lacks": (
        [f"ALTER TABLE {LIST} ADD COLUMN loyalty_tier INT"],
        "vicidial_list_archive lacks the column loyalty_tier",
        "ALTER TABLE `vicidial_list_archive` ADD COLUMN `loyalty_tier` int(11) DEFAULT NULL AFTER `entry_list_id`",
        "archive",
    ),
    "a column with an odd name and a text that looks like SQL": (
        [f"ALTER TABLE {LIST} ADD COLUMN `a ``b;c` ENUM('x)','it''s,') NOT NULL DEFAULT 'x)' COMMENT '`, -- )'"],
        "vicidial_list_archive lacks the column a `b;c",
        "ALTER TABLE `vicidial_list_archive` ADD COLUMN `a ``b;c` enum('x)','it''s,') CHARACTER SET utf8mb3 COLLATE"
        " utf8mb3_unicode_ci NOT NULL DEFAULT 'x)' COMMENT '`, -- )' AFTER `entry_list_id`",
        "archive",
    ),
    "a TIMESTAMP that the archive has as a DATETIME": (
        [f"ALTER TABLE {ARCHIVE} MODIFY modify_date DATETIME"],
        "modify_date is TIMESTAMP in vicidial_list and DATETIME in vicidial_list_archive",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` MODIFY COLUMN"
        " `modify_date` timestamp NOT NULL"
        " DEFAULT current_timestamp() ON UPDATE current_timestamp()",
    ),
    "an archive without a key": (
        [f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY"],
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` ADD PRIMARY KEY (`lead_id`)",
    ),
    "an archive with a key of its own": (
        [f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY, ADD INDEX (lead_id), ADD COLUMN archive_id INT AUTO_INCREMENT PRIMARY KEY"],
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` ADD UNIQUE KEY (`lead_id`)",
    ),
    "a list whose key has a second column": (
        [f"ALTER TABLE {LIST} DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id)"],
        "lead_id is no unique key of vicidial_list: a lead could be in it twice",
        "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list` ADD UNIQUE KEY (`lead_id`)",
    ),
    "a view in place of the archive": (
        [f"RENAME TABLE {ARCHIVE} TO archive", f"CREATE VIEW {ARCHIVE} AS SELECT * FROM archive"],
        "vicidial_list_archive is no table that keeps rows, but a view",
        None,
    ),
    "a view in place of the list": (
        [f"RENAME TABLE {LIST} TO list", f"CREATE VIEW {LIST} AS SELECT * FROM list"],
        "vicidial_list is no table that keeps rows, but a view",
        None,
    ),
}


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS.keys())
def test_tables_that_do_not_fit_are_fixed_with_the_remedy(tables: Tables, api: Api, misfit: Any) -> None:
    changes, message, remedy, *operations = misfit
    tables.live(1, 2)
    tables.archived(2, 3)
    assert problems(api) == []
    for change in changes:
        tables.execute(change)
    before = tables.both()

    assert problems(api) == [obstacle(message, remedy, *operations)]
    response = api.archive_all([1, 2])
    assert response.status_code == 503
    assert response.json()["message"] == (
        f"leads cannot be moved safely until an administrator mends this: {message}; no lead was deleted"
    )
    assert tables.both() == before

    if remedy:
        tables.execute(remedy)
        assert problems(api) == []
        assert api.archive_all([1, 2]).json()["delete_count"] == 2
        assert tables.execute(f"SELECT lead_id FROM {LIST}") == []
        assert tables.execute(f"SELECT lead_id FROM {ARCHIVE} ORDER BY lead_id") == [(b"1",), (b"2",), (b"3",)]


def test_all_problems_are_told_at_once(tables: Tables, api: Api) -> None:
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN one INT, ADD COLUMN two VARCHAR(5) CHARACTER SET latin1")
    tables.execute(f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY")

    found = problems(api)

    assert [problem["message"] for problem in found] == [
        "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
        "vicidial_list_archive lacks the column one",
        "vicidial_list_archive lacks the column two",
    ]
    for problem in found:
        tables.execute(problem["remedy"])
    assert problems(api) == []


@pytest.mark.parametrize(("leads_in_use", "skipped"), [("keep", ["vicidial_callbacks", "vicidial_hopper"]), ("ignore", [])])
def test_tables_that_could_tell_of_leads_in_use_and_are_not_there_are_named(
    tables: Tables, new_api: Callable[..., Api], leads_in_use: str, skipped: list[str]
) -> None:
    tables.execute("DROP TABLE vicidial_hopper, vicidial_callbacks")

    answer = new_api(LEADS_IN_USE=leads_in_use).get("/readyz").json()

    assert answer == {"message": "ready", "problems": [], "notes": [], "skipped_tables": skipped}


def test_a_table_that_is_gone_for_a_while_is_looked_at_again_when_it_is_back(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    assert api.get("/readyz").json()["skipped_tables"] == []

    tables.execute("RENAME TABLE vicidial_hopper TO elsewhere")
    assert api.get("/readyz").json()["skipped_tables"] == ["vicidial_hopper"]
    assert api.archive_all([1]).json()["delete_count"] == 1

    tables.execute("RENAME TABLE elsewhere TO vicidial_hopper")
    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert api.get("/readyz").json()["skipped_tables"] == []
    assert tables.ids() == ([2], [1])


def test_readiness_is_answered_within_office_hours_too(new_api: Callable[..., Api]) -> None:
    hours = "Mon-Fri 00:00-24:00; Sat,Sun 00:00-23:59"  # all but a minute of the week
    assert problems(new_api(OFFICE_HOURS=hours, OFFICE_HOURS_TIMEZONE="UTC")) == []


def test_a_busy_pool_is_not_taken_for_a_silent_database(tables: Tables, new_api: Callable[..., Api]) -> None:
    """All connections of the pool wait for a locked lead. /readyz uses a connection of its own."""
    tables.live(1)
    api = new_api(DATABASE_POOL_SIZE="1", REQUEST_TIMEOUT="20")
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute(f"SELECT lead_id FROM {LIST} WHERE lead_id = 1 FOR UPDATE")
        cursor.fetchall()
        answers: list[int] = []
        batch = threading.Thread(target=lambda: answers.append(api.archive_all([1]).json()["delete_count"]))
        batch.start()
        tables.wait_for_a_lock_wait()

        assert problems(api) == []

        assert batch.is_alive()
        holder.rollback()
    batch.join()
    holder.close()
    assert (answers, tables.ids()) == ([1], ([], [1]))


def test_the_database_is_looked_at_once_a_second_however_many_ask(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 3600.0)
    looks = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Com_show_create_table'"
    assert problems(api) == []
    before = tables.execute(looks)

    for _ in range(50):
        assert problems(api) == []

    assert tables.execute(looks) == before
    # A batch that is processed is no reason to look again, as long as nothing was in its way. One that is refused is.
    tables.live(2)
    assert api.archive_all([2]).json()["delete_count"] == 1
    before = tables.execute(looks)
    assert problems(api) == []
    assert tables.execute(looks) == before
    tables.live(1)
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN tier INT")
    assert api.archive_all([1]).status_code == 503
    assert [problem["message"] for problem in problems(api)] == ["vicidial_list_archive lacks the column tier"]
    assert tables.ids() == ([1], [2])


def test_a_batch_that_is_processed_shows_that_nothing_is_in_its_way(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the database: the last look has found nobody there."""
    monkeypatch.setattr("service.archive.readiness.MAX_AGE", 3600.0)
    tables.live(1)
    tables.execute(f"RENAME TABLE {ARCHIVE} TO elsewhere")
    assert len(problems(api)) == 1
    tables.execute(f"RENAME TABLE elsewhere TO {ARCHIVE}")
    assert len(problems(api)) == 1  # that is what the last look has found

    assert api.archive_all([1]).json()["delete_count"] == 1

    assert problems(api) == []
    assert tables.ids() == ([], [1])
