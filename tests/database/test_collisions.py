"""Conflicts between batches, broken connections, and more requests than the pool can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.process import SLACK
from support.tables import Tables
from support.waiting import wait_until

from service.archive.row_changes import Changes
from service.database.pool import ATTEMPTS, Database
from service.database.statements import Statement, Statements
from service.database.transaction import LOST, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import NO_SUCH_COLUMN, TRANSIENT_ERRORS


def fail_on_delete(tables: Tables, number: int, times: int) -> None:
    """Let the next DELETEs fail with an error number. The count survives a rollback: it is in a MyISAM table."""
    tables.execute("CREATE TABLE failures (happened INT) ENGINE = MyISAM")
    tables.execute("INSERT INTO failures VALUES (0)")
    tables.execute(
        "CREATE TRIGGER fail BEFORE DELETE ON vicidial_list FOR EACH ROW BEGIN"
        f" IF (SELECT happened FROM failures) < {times} THEN"
        f" UPDATE failures SET happened = happened + 1; SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number};"
        " END IF; END"
    )


def failures(tables: Tables) -> int:
    ((count,),) = tables.execute("SELECT happened FROM failures")
    return int(count or b"")


# A column that is missing in a DELETE is a trigger's: the transaction has read both tables, and nobody has altered them since.
@pytest.mark.parametrize("number", [number for number in TRANSIENT_ERRORS if number < 2000 and number != NO_SUCH_COLUMN])
def test_what_may_succeed_at_once_is_tried_again(tables: Tables, api: Api, number: int) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    fail_on_delete(tables, number, times=3)

    response = api.archive_all([1, 2])

    assert response.json()["delete_count"] == 2
    assert failures(tables) == 3
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("before_it", [True, False], ids=["before the statements", "after the statements"])
@pytest.mark.parametrize("pace", ["full", "gentle"])
def test_a_transaction_that_the_server_has_lost_is_tried_again(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, before_it: bool, pace: str
) -> None:
    """A node of a Galera cluster may roll back between two statements that were sent together, and tell nobody. What follows
    is not permanent, and not counted."""
    api = new_api(PACE=pace)
    tables.live(1, 2)
    tables.archived(2, status="NEW")
    before, _ = tables.both()
    run = Changes.run
    losses = 0

    async def run_and_lose(changes: Changes, transaction: Transaction, *arguments: Any, **options: Any) -> Any:
        nonlocal losses
        losses += 1
        if before_it and losses <= 3:
            await transaction.connection.rollback()
        counts = await run(changes, transaction, *arguments, **options)
        if losses <= 3:
            await transaction.connection.rollback()
        return counts

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(Changes, "run", run_and_lose)
        answer = api.archive_all([1, 2]).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (1, 1, 2)
    errors = [line["error"] for line in lines if line["event"] == "transaction retried"]
    assert set(errors) == {LOST}
    assert tables.both() == ({}, before)


def test_a_transaction_that_the_server_always_loses_changes_nothing(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1, 2)
    before = tables.both()
    run = Changes.run

    async def lose_and_run(changes: Changes, transaction: Transaction, *arguments: Any, **options: Any) -> Any:
        await transaction.connection.rollback()
        return await run(changes, transaction, *arguments, **options)

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(Changes, "run", lose_and_run)
        response = api.archive_all([1, 2])

    assert (response.status_code, "nothing was changed" in response.json()["message"]) == (503, True)
    (outcome,) = [line["outcome"] for line in lines if line["event"] == "archive not committed"]
    assert outcome == "rolled back"
    assert tables.both() == before


def test_it_is_not_tried_for_ever(tables: Tables, api: Api) -> None:
    tables.live(1)
    before = tables.both()
    fail_on_delete(tables, 1213, times=1000)

    response = api.archive_all([1])

    assert response.status_code == 503
    assert "nothing was changed" in response.json()["message"]
    assert failures(tables) == ATTEMPTS
    assert tables.both() == before


def test_what_would_fail_again_is_not_tried_again(tables: Tables, api: Api) -> None:
    tables.live(1)
    before = tables.both()
    fail_on_delete(tables, 1114, times=1000)  # table is full

    assert api.archive_all([1]).status_code == 503
    assert failures(tables) == 1
    assert tables.both() == before


@contextmanager
def locked(tables: Tables, *statements: str) -> Iterator[pymysql.connections.Connection[Any]]:
    """Another transaction that has run the statements, and is still open."""
    other = tables.mariadb.connect(tables.database, autocommit=False)
    with other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    try:
        yield other
    finally:
        other.close()


def test_who_has_locked_a_copy_does_not_wait_for_the_lead(tables: Tables, api: Api) -> None:
    """The batch does not keep the lead locked while it waits for the copy: otherwise, the two would wait for each other."""
    tables.live(*range(1, 100))
    tables.archived(1, status="NEW")
    many = "UPDATE vicidial_list SET status = 'CALLBK' WHERE lead_id > 1"
    update = "UPDATE vicidial_list_archive SET user = 'admin' WHERE lead_id = 1"
    with ThreadPoolExecutor(1) as client, locked(tables, many, update) as other:
        batch = client.submit(api.archive_all, [1])
        tables.wait_until_a_lock_is_in_the_way()
        assert not batch.done()
        with other.cursor() as cursor:
            cursor.execute("UPDATE vicidial_list SET status = 'CALLBK' WHERE lead_id = 1")
        tables.wait_until_a_lock_is_in_the_way()
        other.commit()
        answer = batch.result().json()

    assert (answer["update_count"], answer["delete_count"]) == (1, 1)
    assert tables.execute("SELECT status, user FROM vicidial_list_archive WHERE lead_id = 1") == [(b"CALLBK", None)]
    assert 1 not in tables.rows("vicidial_list")


@pytest.mark.parametrize(
    "lock", ["SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE", "LOCK TABLES vicidial_list WRITE"]
)
def test_a_lock_that_is_held_too_long(tables: Tables, new_api: Callable[..., Api], lock: str) -> None:
    tables.live(1, 2)
    api = new_api(REQUEST_TIMEOUT="3", DATABASE_POOL_SIZE="2")
    with locked(tables, lock):
        started = time.monotonic()
        response = api.archive_all([1, 2])
        seconds = time.monotonic() - started
    before = tables.both()

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "nothing was changed" in response.json()["message"]
    assert seconds < 4 + SLACK
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == ({}, before[0])


LOCKED = {
    "a lead": "SELECT * FROM vicidial_list WHERE lead_id = 3 FOR UPDATE",
    "a copy": "SELECT * FROM vicidial_list_archive WHERE lead_id = 3 FOR UPDATE",
    "a copy to be": "INSERT INTO {target} (lead_id, phone_number) VALUES (4, '1')",
    "an entry of the hopper": "INSERT INTO vicidial_hopper (lead_id) VALUES (3)",
}


@pytest.mark.parametrize("pace", ["gentle", "full"])
@pytest.mark.parametrize("lock", LOCKED.values(), ids=LOCKED)
@pytest.mark.parametrize("engines", [("InnoDB", "InnoDB"), ("InnoDB", "MyISAM"), ("MyISAM", "InnoDB")], ids="/".join)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_a_batch_waits_for_no_row(
    tables: Tables, new_api: Callable[..., Api], way: str, engines: tuple[str, str], lock: str, pace: str
) -> None:
    """Whoever wants one of its leads would wait with it, and for several rows one after the other."""
    api = new_api(PACE=pace)
    tables.set_engines(*engines)
    source, target = (
        ("vicidial_list", "vicidial_list_archive") if way == "archive" else ("vicidial_list_archive", "vicidial_list")
    )
    tables.insert(source, 1, 2, 3, 4)
    tables.insert(target, 1, 2, 3)
    statement = lock.format(target=target)
    table = next(name for name in ("vicidial_list_archive", "vicidial_list", "vicidial_hopper") if name in statement)
    ((engine,),) = tables.execute(
        f"SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{table}'"
    )
    before = waits(tables)
    with ThreadPoolExecutor(1) as client, locked(tables, statement) as other:
        batch = client.submit(api.archive_all if way == "archive" else api.dearchive_all, [1, 2, 3, 4])
        if engine == b"InnoDB" and not (way == "dearchive" and table == "vicidial_hopper"):
            for _ in range(5):
                tables.wait_until_a_lock_is_in_the_way()
            assert not batch.done()
        other.rollback()
        answer = batch.result()

    assert answer.status_code == 200
    assert waits(tables) == before
    left = answer.json()["remaining_lead_ids"]
    ids = ([1, 2, 3, 4], left) if way == "dearchive" else (left, [1, 2, 3, 4])
    assert tables.ids() == ids
    assert left == [] or engine == b"MyISAM"  # nothing is rolled back there


def waits(tables: Tables) -> int:
    """Return for how many rows sessions have waited."""
    ((_, number),) = tables.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")
    return int(number or b"")


def test_ids_that_are_not_in_the_list_keep_nobody_out(tables: Tables, api: Api) -> None:
    """A waiting batch names lead 5, which is archived already. The dialler can still insert leads with the ids around it."""
    tables.archived(5)
    tables.live(1, 9)
    with (
        ThreadPoolExecutor(1) as client,
        locked(tables, "SELECT * FROM vicidial_list WHERE lead_id = 9 FOR UPDATE") as other,
    ):
        batch = client.submit(api.archive_all, [5, 9])
        tables.wait_until_a_lock_is_in_the_way()
        tables.execute("SET SESSION innodb_lock_wait_timeout = 1")
        tables.live(4, 6)
        assert not batch.done()
        other.rollback()
        assert batch.result().json()["delete_count"] == 1
    assert tables.ids() == ([1, 4, 6], [5, 9])


@pytest.mark.parametrize("lock", ["vicidial_list WHERE lead_id = 40", "vicidial_list_archive WHERE lead_id = 60"])
def test_a_batch_waits_for_no_lead_that_is_not_in_it(tables: Tables, new_api: Callable[..., Api], lock: str) -> None:
    """In small tables, MariaDB would by default scan all rows instead of looking up those of the batch."""
    tables.live(*range(1, 41))
    tables.archived(*range(21, 61), status="NEW")
    api = new_api(REQUEST_TIMEOUT="3")
    with locked(tables, f"SELECT * FROM {lock} FOR UPDATE"):
        archived = api.archive_all([*range(1, 36)])
        dearchived = api.dearchive_all([*range(41, 56)])

    assert (archived.status_code, archived.json()["update_count"], archived.json()["delete_count"]) == (200, 15, 35)
    assert (dearchived.status_code, dearchived.json()["delete_count"]) == (200, 15)
    assert tables.ids() == ([*range(36, 56)], [*range(1, 41), *range(56, 61)])


def test_nor_does_a_batch_of_thousands(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(*range(1, 2502))
    tables.archived(*range(1, 11))
    api = new_api(REQUEST_TIMEOUT="3", LEAD_IDS_LIMIT="10000")
    with locked(tables, "SELECT * FROM vicidial_list WHERE lead_id = 2501 FOR UPDATE"):
        answer = api.archive_all([*range(1, 2501)])

    assert (answer.status_code, answer.json()["insert_count"], answer.json()["delete_count"]) == (200, 2490, 2500)
    assert tables.ids() == ([2501], [*range(1, 2501)])


@pytest.mark.parametrize("moved_to", ["vicidial_list", "vicidial_list_archive"])
def test_a_lead_that_is_moved_between_the_two_looks_is_not_unknown(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, moved_to: str
) -> None:
    """The batch looks at the second table when it has locked its leads in the first one, which takes a while here. Meanwhile,
    another client moves lead 1 from the second table to the first."""
    other_table = {"vicidial_list": "vicidial_list_archive", "vicidial_list_archive": "vicidial_list"}[moved_to]
    call = api.archive_all if moved_to == "vicidial_list" else api.dearchive_all
    tables.insert(other_table, 1)
    tables.insert(moved_to, 2)
    fill = Statement.fill

    def fill_slowly(statement: Statement, values: Mapping[str, str] | None = None) -> str:
        text = fill(statement, values)
        return text.replace("ORDER BY", "AND SLEEP(2) = 0 ORDER BY") if statement.name == "select_leads" else text

    monkeypatch.setattr(Statement, "fill", fill_slowly)
    with ThreadPoolExecutor(1) as client, capture_logs() as log:
        batch = client.submit(call, [1, 2])
        wait_until(lambda: tables.execute("SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'"))
        tables.insert(moved_to, 1)
        tables.execute(f"DELETE FROM {other_table}")
        answer = batch.result()

    assert "leads were moved between the looks at the two tables" in [line.get("error") for line in log]
    assert answer.status_code == 200
    assert answer.json()["delete_count"] == 2
    assert tables.ids() == (([], [1, 2]) if moved_to == "vicidial_list" else ([1, 2], []))


def test_more_requests_than_the_pool_can_serve(tables: Tables, new_api: Callable[..., Api]) -> None:
    """While a lock blocks them, all are answered in time. Afterwards all connections of the pool can be used again."""
    tables.live(1)
    api = new_api(REQUEST_TIMEOUT="2", DATABASE_POOL_SIZE="2")
    with ThreadPoolExecutor(20) as clients:
        for _ in range(2):
            with locked(tables, "SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE"):
                started = time.monotonic()
                answers = list(
                    clients.map(lambda _: api.archive({**api.ALL, "delete_leads": False, "lead_ids": [1]}), range(20))
                )
                assert time.monotonic() - started < 3 + SLACK
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        answers = list(clients.map(lambda _: api.archive({**api.ALL, "delete_leads": False, "lead_ids": [1]}), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert tables.ids() == ([1], [1])


def test_connections_that_are_killed_in_the_middle(tables: Tables, new_api: Callable[..., Api]) -> None:
    """A batch whose connection is killed while it waits for a lock is retried. A killed idle connection is replaced."""
    api = new_api(DATABASE_POOL_SIZE="2")
    for lead_id in range(1, 6):
        tables.live(lead_id)
        lock = f"SELECT * FROM vicidial_list WHERE lead_id = {lead_id} FOR UPDATE"
        with ThreadPoolExecutor(1) as client, locked(tables, lock) as other:
            batch = client.submit(api.archive_all, [lead_id])
            tables.wait_until_a_lock_is_in_the_way()
            kill_all_but(tables, other)
            other.commit()
        assert batch.result().json()["delete_count"] == 1
        kill_all_but(tables)
        assert api.archive_all([lead_id]).status_code == 200
    assert tables.ids() == ([], [1, 2, 3, 4, 5])


def kill_all_but(tables: Tables, *others: pymysql.connections.Connection[Any]) -> None:
    spared = ["0"]
    for other in others:
        with other.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            spared += [str(number) for (number,) in cursor.fetchall()]
    for (number,) in tables.execute(
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
        f" AND id <> CONNECTION_ID() AND id NOT IN ({', '.join(spared)})"
    ):
        tables.execute(f"KILL {int(number or b'')}")


def test_no_statement_is_sent_after_the_time_of_its_transaction(tables: Tables) -> None:
    """Also if a cancellation was lost: a loop that sends statements again must end."""

    async def scene() -> None:
        database = Database(tables.mariadb.url(tables.database), Statements.load(), pool_size=1, timeout=30)
        await database.connect()
        try:
            async with database.transaction(30) as transaction:
                await transaction.select("SELECT 1")
                transaction.deadline = asyncio.get_running_loop().time()
                while True:
                    await transaction.execute("UPDATE vicidial_list SET status = 'X'")
        finally:
            await database.disconnect()

    tables.live(1)
    before = tables.both()
    with pytest.raises(DatabaseError, match="no answer within"):
        asyncio.run(scene())
    assert tables.both() == before
