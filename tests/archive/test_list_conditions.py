"""`where.campaign_ids` and `where.list_active` beside those who write to vicidial_lists. The dialler notes the last call
of each list there: it waits for no batch. And no lead leaves whose list has stopped matching before COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymysql.err import OperationalError
from support.api import Api
from support.fixtures import ReadSettings
from support.tables import Tables
from support.waiting import wait_until

from service.app import create_context
from service.archive.batch import Batch, Result
from service.archive.pace import Turn
from service.database.transaction import Transaction

NewApi = Callable[..., Api]

CONDITIONS = pytest.mark.parametrize(
    "where", [{"campaign_ids": ["SPRING"]}, {"list_active": True}], ids=["campaign", "active"]
)
NOTE_CALL = """
    SET STATEMENT innodb_lock_wait_timeout = 0 FOR
    UPDATE vicidial_lists SET list_lastcalldate = NOW() WHERE list_id = 101
"""


@pytest.fixture(autouse=True)
def lists(tables: Tables) -> None:
    tables.execute(
        "INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'Y'), (102, 'SPRING', 'Y')"
    )


# --- no lead leaves that gets into use before COMMIT --------------------------------------------------------------------


@CONDITIONS
@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_lead_that_gets_into_use_while_the_last_look_waits_for_the_lists_stays(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, where: dict[str, Any]
) -> None:
    """vicidial_lists is MyISAM in many databases: whoever writes to it keeps all others waiting."""
    tables.execute("ALTER TABLE vicidial_lists ENGINE = MyISAM")
    tables.live(1, 2, list_id=101)
    before, _ = tables.both()
    select = Transaction.select
    waits = 0

    async def select_and_wait(transaction: Transaction, statement: str) -> Any:
        nonlocal waits
        rows = await select(transaction, statement)
        if "FROM source\nWHERE" in statement and not waits:
            waits += 1
            tables.run_elsewhere("INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY')")
        return rows

    monkeypatch.setattr(Transaction, "select", select_and_wait)

    answer = api.archive({**api.ALL, "lead_ids": [1, 2], "where": where}).json()

    assert waits == 1
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (1, [2])
    assert tables.both() == ({2: before[2]}, {1: before[1]})


# --- the dialler waits for nothing -------------------------------------------------------------------------------------


@CONDITIONS
@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_who_writes_to_a_list_does_not_wait_for_a_batch_that_waits(
    tables: Tables, new_api: NewApi, way: str, where: dict[str, Any]
) -> None:
    """The batch waits in its DELETE, for the copy of one lead."""
    api = new_api(REQUEST_TIMEOUT="60")
    tables.live(1, 2, 3, list_id=101)
    tables.archived(1, 2, 3, list_id=101)
    before, _ = tables.both()
    target = "vicidial_list_archive" if way == "archive" else "vicidial_list"
    body = {"insert_leads": True, "delete_leads": True, "lead_ids": [1, 2, 3], "where": where}
    body |= {"update_leads": False} if way == "archive" else {}
    with ThreadPoolExecutor(1) as threads, tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(f"SELECT lead_id FROM {target} WHERE lead_id = 2 FOR UPDATE")
        answer = threads.submit(api.archive if way == "archive" else api.dearchive, body)
        for _ in range(5):
            tables.wait_until_a_lock_is_in_the_way()
            tables.execute(NOTE_CALL)
        assert not answer.done()
        other.rollback()
        assert answer.result().json()["delete_count"] == 3

    assert tables.both() == (({}, before) if way == "archive" else (before, {}))


@CONDITIONS
@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("MyISAM", "InnoDB"), ("InnoDB", "MyISAM")], ids="-".join)
@pytest.mark.parametrize("pace", ["gentle", "full"])
def test_no_list_is_locked_between_two_statements(
    tables: Tables,
    new_api: NewApi,
    monkeypatch: pytest.MonkeyPatch,
    engines: tuple[str, str],
    pace: str,
    where: dict[str, Any],
) -> None:
    """vicidial_lists has row locks, a table of the leads has none. The next statement may wait for that table: another service
    may have locked it, and wait for the list, behind the dialler."""
    tables.set_engines(*engines)
    tables.execute("ALTER TABLE vicidial_lists ENGINE = InnoDB")
    lead_ids = list(range(1, 201))
    tables.live(*lead_ids, list_id=101)
    tables.archived(*lead_ids, list_id=101, status="OLD")
    before, _ = tables.both()
    rests: list[object] = []
    rest = Turn.rest

    async def rest_beside_a_call(turn: Turn) -> None:
        rests.append(tables.execute(NOTE_CALL))
        await rest(turn)

    monkeypatch.setattr(Turn, "rest", rest_beside_a_call)

    answer = new_api(PACE=pace).archive({**Api.ALL, "lead_ids": lead_ids, "where": where})

    assert answer.json()["delete_count"] == 200
    assert tables.both() == ({}, before)
    assert len(rests) >= 3


@pytest.mark.parametrize("operation", ["find", "archive"])
def test_a_request_waits_while_vicidial_lists_is_altered(tables: Tables, api: Api, operation: str) -> None:
    """MariaDB leaves out the columns of a table that is altered with LOCK=EXCLUSIVE: nothing must be mended."""
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) SELECT seq, 'OTHER' FROM seq_1000_to_150000")
    tables.live(1, list_id=101)
    body = {**Api.ALL, "lead_ids": [1]} if operation == "archive" else {}
    with ThreadPoolExecutor(1) as threads:
        alter = "ALTER TABLE vicidial_lists ADD COLUMN own INT, ALGORITHM = COPY, LOCK = EXCLUSIVE"
        altering = threads.submit(tables.run_elsewhere, alter)
        wait_until(
            lambda: bool(tables.execute("SELECT 1 FROM information_schema.processlist WHERE state = 'copy to tmp table'"))
        )
        where = {"list_active": True}
        answer = api.archive({**body, "where": where}) if operation == "archive" else api.find(where=where)
        altering.result()

    assert answer.status_code == 200
    assert tables.ids() == (([], [1]) if operation == "archive" else ([1], []))


# --- lists that stop matching ------------------------------------------------------------------------------------------


def archive(
    environment: dict[str, str], settings_from: ReadSettings, batch: Batch, *before_commit: Callable[[], object]
) -> tuple[Result, int]:
    """Process a batch. before_commit: what happens when all its statements have run, in the first attempt, in the second one,
    and so on. Return the result, and the number of attempts."""
    happens = list(before_commit)
    context = create_context(settings_from(environment))
    attempts = 0
    last_look = context.archive._looker.refuse_changes

    async def before_change(_: Sequence[int]) -> None:
        nonlocal attempts
        attempts += 1

    async def look_for_the_last_time(*arguments: Any) -> None:
        if happens:
            await asyncio.to_thread(happens.pop(0))
        await last_look(*arguments)

    context.archive._looker.refuse_changes = look_for_the_last_time  # type: ignore[assignment, method-assign]

    async def process() -> Result:
        await context.database.connect()
        try:
            return await context.archive.process(batch, 30, before_change)
        finally:
            await context.database.disconnect()

    result = asyncio.run(process())
    return result, attempts


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vicidial_lists SET active = 'N' WHERE list_id = 101",
        "UPDATE vicidial_lists SET campaign_id = 'AUTUMN' WHERE list_id = 101",
        "DELETE FROM vicidial_lists WHERE list_id = 101",
    ],
)
@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("delete_leads", [True, False])
def test_a_list_that_stops_matching_before_commit_keeps_its_leads(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings, change: str, delete_leads: bool
) -> None:
    tables.live(1, 2, list_id=101)
    tables.live(3, list_id=102)
    tables.archived(2, status="OLD", list_id=101)
    live, archived = tables.both()
    where = {"list_active": True, "campaign_ids": ["SPRING"]}
    batch = Batch([1, 2, 3], insert_leads=True, update_leads=True, delete_leads=delete_leads, where=where)

    # The dialler notes a call of the other list while the second attempt is about to commit.
    result, attempts = archive(
        environment,
        settings_from,
        batch,
        lambda: tables.execute(change),
        lambda: tables.execute(NOTE_CALL.replace("101", "102")),
    )

    assert attempts == 2
    assert (result.insert_count, result.update_count, result.unmatched_lead_ids) == (1, 0, [1, 2])
    assert result.remaining_lead_ids == ([1, 2] if delete_leads else [])
    left = {1: live[1], 2: live[2]}
    assert tables.both() == (left if delete_leads else live, {**archived, 3: live[3]})


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_batch_whose_lists_change_again_keeps_them_as_they_are(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings
) -> None:
    """Its third attempt locks them: whoever changes one waits for its COMMIT."""
    tables.live(1, list_id=101)
    tables.live(2, list_id=102)
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (103, 'SPRING', 'Y')")
    tables.live(3, list_id=103)
    live, _ = tables.both()
    batch = Batch([1, 2, 3], insert_leads=True, update_leads=True, delete_leads=True, where={"list_active": True})

    def stop(list_id: int) -> None:
        tables.execute(
            f"SET STATEMENT innodb_lock_wait_timeout = 0 FOR UPDATE vicidial_lists SET active = 'N' WHERE list_id = {list_id}"
        )

    def fail_to_stop() -> None:
        with pytest.raises(OperationalError, match="Lock wait timeout"):
            stop(103)

    result, attempts = archive(environment, settings_from, batch, lambda: stop(101), lambda: stop(102), fail_to_stop)

    assert (attempts, result.delete_count, result.unmatched_lead_ids) == (3, 1, [1, 2])
    assert tables.both() == ({1: live[1], 2: live[2]}, {3: live[3]})


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_batch_whose_own_copies_change_its_list_is_not_refused_for_ever(tables: Tables, api: Api) -> None:
    """Where the INSERT itself looks at the list, MariaDB refuses the trigger (error 1442), and the leads are left alone."""
    tables.execute(
        "CREATE TRIGGER own AFTER INSERT ON vicidial_list_archive FOR EACH ROW"
        " UPDATE vicidial_lists SET active = 'N' WHERE list_id = NEW.list_id"
    )
    tables.live(1, 2, list_id=101)
    before = tables.both()

    answer = api.archive({**Api.ALL, "lead_ids": [1, 2], "where": {"list_active": True}}).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 0, [1, 2])
    assert tables.both() == before


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_batch_is_not_run_again_because_of_other_columns_and_other_lists(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings
) -> None:
    tables.live(1, list_id=101)
    tables.live(2, list_id=102, status="NEW")
    before, _ = tables.both()
    where = {"list_active": True, "statuses": ["SALE"]}
    batch = Batch([1, 2], insert_leads=True, update_leads=True, delete_leads=True, where=where)

    result, attempts = archive(
        environment,
        settings_from,
        batch,
        lambda: tables.execute("UPDATE vicidial_lists SET list_lastcalldate = NOW(), active = IF(list_id = 102, 'N', active)"),
    )

    assert (attempts, result.delete_count, result.unmatched_lead_ids) == (1, 1, [2])
    assert tables.both() == ({2: before[2]}, {1: before[1]})
