"""Triggers and views that run as an account that lacks a privilege: the service's own account is not blamed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables


@pytest.fixture
def definer(tables: Tables) -> Iterator[str]:
    """An account that may do nothing."""
    name = f"'definer_{tables.database}'@'127.0.0.%'"
    tables.execute(f"CREATE USER {name}")
    yield name
    tables.execute(f"DROP USER IF EXISTS {name}")


def run_as(tables: Tables, definer: str, body: str) -> None:
    tables.execute(f"CREATE OR REPLACE DEFINER = {definer} TRIGGER own BEFORE DELETE ON {LIST} FOR EACH ROW BEGIN {body}; END")


@pytest.mark.parametrize(
    ("body", "granted"),
    [
        ("SET @one = 1", None),
        ("SET @one = OLD.status", f"TRIGGER ON {{database}}.{LIST}"),
        (f"SET @one = (SELECT COUNT(*) FROM {ARCHIVE})", f"TRIGGER ON {{database}}.{LIST}"),
        ("INSERT INTO log_of_site VALUES (1)", f"TRIGGER ON {{database}}.{LIST}"),
        ("SET @one = own_function()", f"TRIGGER ON {{database}}.{LIST}"),
    ],
    ids=["the trigger itself", "a column", "the archive", "another table", "a function"],
)
def test_a_definer_that_lacks_a_privilege_is_named(
    tables: Tables, api: Api, definer: str, body: str, granted: str | None
) -> None:
    tables.execute("CREATE TABLE log_of_site (id INT)")
    tables.execute("CREATE FUNCTION own_function() RETURNS INT RETURN 1")
    if granted:
        tables.execute(f"GRANT {granted.format(database=tables.database)} TO {definer}")
    run_as(tables, definer, body)
    tables.live(1, 2)
    before = tables.both()

    for leads in ([1, 2], [1]):
        message = api.archive_all(leads).json()["message"]

        assert "a trigger or a view runs as an account that lacks a privilege or does not exist: " in message
        assert definer in message
        assert [problem["message"] in message for problem in problems(api)] == [True]
        assert tables.both() == before

    tables.execute("DROP TRIGGER own")
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert (tables.both(), problems(api)) == (({}, before[0]), [])


def test_a_definer_that_is_gone_is_named(tables: Tables, api: Api, definer: str) -> None:
    run_as(tables, definer, "SET @one = 1")
    tables.execute(f"DROP USER {definer}")
    tables.live(1)
    before = tables.both()

    assert definer in api.archive_all([1]).json()["message"]

    (problem,) = problems(api)
    assert problem["message"].endswith(f"The user specified as a definer ({definer}) does not exist")
    assert tables.both() == before


def test_a_lead_for_which_alone_the_definer_lacks_a_privilege_stays(tables: Tables, api: Api, definer: str) -> None:
    tables.execute(f"GRANT SELECT, TRIGGER ON {tables.database}.{LIST} TO {definer}")
    run_as(tables, definer, "IF OLD.lead_id = 2 THEN SET GLOBAL max_connections = 151; END IF")
    tables.live(1, 2, 3)
    before, _ = tables.both()

    answer = api.archive_all([1, 2, 3]).json()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (2, [2])
    assert (tables.both(), problems(api)) == (({2: before[2]}, before), [])


def test_a_view_whose_definer_lacks_a_privilege_is_told(tables: Tables, new_api: Callable[..., Api], definer: str) -> None:
    tables.execute("RENAME TABLE vicidial_hopper TO hopper")
    tables.execute(f"CREATE DEFINER = {definer} VIEW vicidial_hopper AS SELECT lead_id FROM hopper")
    tables.live(1)
    before = tables.both()
    api = new_api()

    assert api.archive_all([1]).status_code == 503

    (problem,) = problems(api)
    assert "definer/invoker of view lack rights to use them" in problem["message"]
    assert tables.both() == before
