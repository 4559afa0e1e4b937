"""/readyz after a batch was refused for a reason that the tables do not show: a lock, a trigger, a limit of the account."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.api import Api
from support.remedies import LIST, account, problems
from support.tables import Tables

LOCKED = (
    "another session has locked a table or the server for writing, such as a backup, LOCK TABLES or ALTER TABLE, and no batch"
    " gets past it: SHOW PROCESSLIST shows it"
)


@pytest.mark.parametrize(
    ("lock", "unlock"),
    [
        (["FLUSH TABLES WITH READ LOCK"], "UNLOCK TABLES"),
        ([f"LOCK TABLES {LIST} WRITE"], "UNLOCK TABLES"),
        (["LOCK TABLES vicidial_list_archive READ"], "UNLOCK TABLES"),
        (["BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT"], "BACKUP STAGE END"),
    ],
    ids=["the server", "the list", "the archive, for reading", "commits"],
)
def test_a_lock_that_no_batch_gets_past_is_told(
    tables: Tables, new_api: Callable[..., Api], lock: list[str], unlock: str
) -> None:
    api = new_api(REQUEST_TIMEOUT="2", DATABASE_POOL_SIZE="2")
    tables.live(1)
    before, _ = tables.both()
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        assert problems(api) == []
        for statement in lock:
            cursor.execute(statement)
        if "WRITE" not in lock[0]:  # /readyz reads the tables, and this lock lets nobody read
            assert problems(api) == []  # nobody has waited for it yet

        assert api.archive_all([1]).status_code == 503

        assert [problem["message"] for problem in problems(api)] == [LOCKED]
        cursor.execute(unlock)
    if lock[0] != "BACKUP STAGE START":
        assert problems(api) == []
    assert tables.both() == (before, {})
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert problems(api) == []
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("rows", ["WHERE lead_id = 1", ""], ids=["the lead", "all leads"])
def test_a_lead_that_is_locked_does_not_make_the_service_unready(
    tables: Tables, new_api: Callable[..., Api], rows: str
) -> None:
    api = new_api(REQUEST_TIMEOUT="2")
    tables.live(1, 2)
    before = tables.both()
    with tables.mariadb.connect(tables.database, autocommit=False) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT lead_id FROM {LIST} {rows} FOR UPDATE")

        assert api.archive_all([1]).status_code == 503

        assert problems(api) == []
    assert tables.both() == before


def test_a_limit_of_the_account_is_no_error_of_the_leads(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1, 2)
    before = tables.both()
    with account(tables) as limited:
        limited.grant("SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES, REFERENCES", "*")
        api = new_api(DATABASE_URL=limited.url)
        assert problems(api) == []
        tables.execute(f"GRANT USAGE ON *.* TO {limited.name} WITH MAX_UPDATES_PER_HOUR 1")
        api = new_api(DATABASE_URL=limited.url)

        answers = [api.archive_all([1, 2]).status_code for _ in range(2)]

    assert set(answers) == {503}
    assert tables.both() == before


@pytest.mark.parametrize("code", [1036, 1226, 1705, 1785])
def test_an_error_that_all_leads_share_and_no_row_can_cause_is_one_of_the_statement(
    tables: Tables, api: Api, code: int
) -> None:
    """1785 is in no list: nobody knows. It is not an answer that each of the leads was left alone."""
    tables.live(1, 2, 3)
    before = tables.both()
    fail = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'Table ''{LIST}'' is read only'"
    tables.execute(f"CREATE TRIGGER fail BEFORE DELETE ON {LIST} FOR EACH ROW BEGIN {fail}; END")

    for leads in ([1, 2, 3], [1]):
        assert api.archive_all(leads).status_code == 503
        (problem,) = problems(api)
        assert problem["message"] == f"the database refused the last batch with error {code}; the log says why"
        assert tables.both() == before


def test_an_error_that_nobody_knows_and_that_one_of_the_leads_has_is_its_own(tables: Tables, api: Api) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    fail = "IF OLD.lead_id = 2 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1785; END IF"
    tables.execute(f"CREATE TRIGGER fail BEFORE DELETE ON {LIST} FOR EACH ROW {fail}")

    assert api.archive_all([1, 2, 3]).json()["remaining_lead_ids"] == [2]

    assert (tables.both(), problems(api)) == (({2: before[2]}, before), [])
