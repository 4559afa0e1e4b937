"""Variables that init_connect or a trigger sets in the sessions of the service: the next statement does not notice them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.api import Api
from support.remedies import account, problems
from support.tables import Tables

ENGINES = pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
IN_2001, IN_2035 = "SESSION timestamp = 1000000000", "SESSION timestamp = 2051222400"
NINETY_DAYS = {"called_at_least_days_ago": 90}


@pytest.fixture
def in_each_session(tables: Tables) -> Iterator[Callable[[str], str]]:
    """in_each_session(variables) -> the DATABASE_URL of an account in whose sessions init_connect sets the variables."""
    ((before,),) = tables.execute("SELECT @@GLOBAL.init_connect")
    assert before == b""
    with account(tables) as service:  # init_connect is not run for accounts with SUPER
        service.grant("ALL PRIVILEGES", "*")

        def set_variables(variables: str) -> str:
            tables.execute(f"SET GLOBAL init_connect = 'SET {variables}'")
            return service.url

        yield set_variables
        tables.execute("SET GLOBAL init_connect = ''")


def call(tables: Tables, *lead_ids: int, days_ago: int) -> None:
    """Insert leads that were last called some days ago, by the wall clock of the server."""
    ((moment,),) = tables.execute(
        f"SELECT CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone) - INTERVAL {days_ago} DAY"
    )
    assert moment is not None
    tables.live(*lead_ids, last_local_call_time=moment.decode())


# --- the clock -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [IN_2001, IN_2035])
@ENGINES
def test_a_trigger_that_sets_the_clock_makes_no_lead_older_or_younger(
    tables: Tables, new_api: Callable[..., Api], clock: str
) -> None:
    api = new_api(DATABASE_POOL_SIZE="1")
    call(tables, 1, 2, days_ago=1)
    call(tables, 3, days_ago=100)
    tables.execute(f"CREATE TRIGGER clock AFTER INSERT ON vicidial_list_archive FOR EACH ROW SET {clock}")
    before, _ = tables.both()
    batch = {**Api.ALL, "lead_ids": [1, 2, 3], "where": NINETY_DAYS}

    answers = [api.archive(batch).json() for _ in range(2)]

    assert [(answer["delete_count"], answer["unmatched_lead_ids"]) for answer in answers] == [(1, [1, 2]), (0, [1, 2])]
    assert api.find_all(where=NINETY_DAYS) == []
    assert tables.both() == ({1: before[1], 2: before[2]}, {3: before[3]})


@ENGINES
def test_init_connect_that_sets_the_clock_makes_no_lead_old(
    tables: Tables, new_api: Callable[..., Api], in_each_session: Callable[[str], str]
) -> None:
    api = new_api(DATABASE_URL=in_each_session(IN_2035), ADMIN_LOG="on")
    call(tables, 1, days_ago=1)
    call(tables, 2, days_ago=100)
    before, _ = tables.both()

    assert api.find_all(where=NINETY_DAYS) == [2]
    assert api.archive({**Api.ALL, "lead_ids": [1, 2], "where": NINETY_DAYS}).json()["unmatched_lead_ids"] == [1]

    assert tables.both() == ({1: before[1]}, {2: before[2]})
    assert tables.execute("SELECT COUNT(*) FROM vicidial_admin_log WHERE event_date < '2035-01-01'") == [(b"1",)]
    assert problems(api) == []


# --- other variables -----------------------------------------------------------------------------------------------------


def test_a_number_that_init_connect_has_chosen_for_the_next_row_loses_no_row_of_the_admin_log(
    tables: Tables, new_api: Callable[..., Api], in_each_session: Callable[[str], str]
) -> None:
    api = new_api(DATABASE_URL=in_each_session("SESSION insert_id = 1"), ADMIN_LOG="on")
    tables.execute("INSERT INTO vicidial_admin_log (admin_log_id, event_date, user) VALUES (1, '2024-01-01', '6666')")
    tables.live(1)
    before, _ = tables.both()

    assert api.archive_all([1]).json()["delete_count"] == 1

    assert tables.both() == ({}, before)
    assert tables.execute("SELECT COUNT(*) FROM vicidial_admin_log") == [(b"2",)]
