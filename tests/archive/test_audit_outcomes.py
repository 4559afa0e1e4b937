"""The outcome in the audit log is right, whichever way a batch ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.auditor import BOTH, StuckDisk, ask, events, read
from support.process import PATIENCE, SLACK
from support.tables import Tables
from support.waiting import wait_until

from service.access.keys import Key
from service.api.context import AppContext
from service.api.error_responses import MAY_BE_APPLIED
from service.api.move import move
from service.archive.look import Looker
from service.archive.mover import Mover
from service.archive.row_changes import Changes
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK

FIELDS: dict[str, Any] = {**Api.ALL, "lead_ids": [1]}


def test_the_outcome_of_a_commit_that_was_not_confirmed_is_not_known(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    commit = Transaction.commit

    async def commit_and_lose_the_answer(transaction: Transaction) -> None:
        deletes = transaction._writes
        await commit(transaction)
        if deletes:
            raise DatabaseError("lost connection", 2013, outcome_known=False)

    monkeypatch.setattr(Transaction, "commit", commit_and_lose_the_answer)
    response = audited.archive_all([1])

    assert (response.status_code, response.json()["message"]) == (503, f"the commit was not confirmed; {MAY_BE_APPLIED}")
    assert tables.both() == ({}, before)
    assert events(path) == [("intent", None), ("outcome", "not known")]
    # The repeat finds it gone, and does not claim it.
    monkeypatch.undo()
    assert audited.archive_all([1]).json()["delete_count"] == 0
    assert read(path)[2]["leaving_lead_ids"] == read(path)[3]["deleted_lead_ids"] == []
    (asked,) = ask(path.parent, 1)
    assert (asked["request_id"], asked["moved"]) == (response.headers["X-Request-ID"], None)


@pytest.mark.parametrize("engines", [("MyISAM", "MyISAM"), ("InnoDB", "MyISAM"), ("MyISAM", "InnoDB")], ids="/".join)
def test_a_lead_that_somebody_brings_back_at_once_was_deleted(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, str]
) -> None:
    """Without row locks, it is back before the batch asks which of its leads remain."""
    tables.live(1, 2, 3)
    tables.set_engines(*engines)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")
    before, _ = tables.both()
    remaining = Mover._remaining

    async def bring_back(*arguments: Any) -> Any:
        tables.execute("INSERT INTO vicidial_list SELECT * FROM vicidial_list_archive WHERE lead_id = 1")
        return await remaining(*arguments)

    monkeypatch.setattr(Mover, "_remaining", bring_back)
    response = audited.archive_all([1, 2, 3])

    assert (response.status_code, response.json()["delete_count"], response.json()["remaining_lead_ids"]) == (200, 2, [3])
    assert (sorted(read(path)[1]["deleted_lead_ids"]), read(path)[1]["outcome"]) == ([1, 2], "committed")
    assert tables.both() == ({1: before[1], 3: before[3]}, {1: before[1], 2: before[2]})


def test_a_batch_that_the_database_takes_back_is_rolled_back(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    before, _ = tables.both()
    tables.execute("CREATE TRIGGER t BEFORE INSERT ON vicidial_list_archive FOR EACH ROW SIGNAL SQLSTATE '08S01'"
                   " SET MYSQL_ERRNO = 1030")  # fmt: skip

    assert audited.archive_all([1]).status_code == 503

    assert tables.both() == (before, {})
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


@pytest.fixture
def deadlock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """deadlock(meanwhile): the first attempt of a batch ends in a deadlock, and something is done before the second."""

    def prepare(meanwhile: Callable[[], object]) -> None:
        change, look = Changes.run, Looker.look
        attempts = []

        async def fail_once(changes: Changes, *arguments: Any, **options: Any) -> Any:
            attempts.append(1)
            if len(attempts) == 1:
                raise DatabaseError("Deadlock found", DEADLOCK)
            return await change(changes, *arguments, **options)

        async def look_later(looker: Looker, *arguments: Any, **options: Any) -> Any:
            if len(attempts) == 1:
                meanwhile()
            return await look(looker, *arguments, **options)

        monkeypatch.setattr(Changes, "run", fail_once)
        monkeypatch.setattr(Looker, "look", look_later)

    return prepare


def test_each_attempt_tells_which_leads_it_is_about_to_delete(
    tables: Tables, audited: Api, path: Path, deadlock: Callable[[Callable[[], object]], None]
) -> None:
    tables.live(1, 2)
    tables.archived(2)
    deadlock(lambda: tables.execute("DELETE FROM vicidial_list WHERE lead_id = 2"))

    assert audited.archive_all([1, 2]).json()["delete_count"] == 1

    first, second, outcome = read(path)
    assert (first["leaving_lead_ids"], second["leaving_lead_ids"], outcome["deleted_lead_ids"]) == ([1, 2], [1], [1])
    assert first["batch_id"] == second["batch_id"] == outcome["batch_id"]
    assert tables.ids() == ([], [1, 2])
    assert ask(path.parent, 2) == []
    assert [line["moved"] for line in ask(path.parent, 1)] == [True]


def test_a_lead_that_is_gone_when_the_batch_is_tried_anew_was_not_moved(
    tables: Tables, audited: Api, path: Path, deadlock: Callable[[Callable[[], object]], None]
) -> None:
    tables.live(1)
    deadlock(lambda: tables.execute("DELETE FROM vicidial_list WHERE lead_id = 1"))

    assert audited.archive_all([1]).status_code == 404

    assert tables.both() == ({}, {})
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


def test_a_defect_leaves_the_outcome_open(tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.live(1)
    before, _ = tables.both()

    async def fail(*_: object) -> None:
        raise RuntimeError("the defect")

    monkeypatch.setattr(Changes, "run", fail)

    assert audited.archive_all([1]).status_code == 500
    assert tables.both() == (before, {})
    assert events(path) == [("intent", None), ("outcome", "not known")]


def test_copies_that_last_are_no_rollback(tables: Tables, new_api: Callable[..., Api], path: Path) -> None:
    """With one table that cannot roll back, each statement is committed by itself: a batch may end between two of them."""
    tables.execute("ALTER TABLE vicidial_list ENGINE = MyISAM")
    tables.live(1)
    before, _ = tables.both()
    tables.execute("CREATE TRIGGER t BEFORE DELETE ON vicidial_list FOR EACH ROW SIGNAL SQLSTATE '08S01'"
                   " SET MYSQL_ERRNO = 1030")  # fmt: skip

    assert new_api(AUDIT_LOG=str(path)).archive_all([1]).status_code == 503

    assert tables.both() == (before, before)
    assert events(path) == [("intent", None), ("outcome", "not known")]


def test_a_batch_that_is_cancelled_has_an_outcome(tables: Tables, context: AppContext, path: Path) -> None:
    tables.live(1)
    tables.archived(1, status="NEW")
    before = tables.both()
    other = tables.mariadb.connect(tables.database, autocommit=False)

    async def cancel_while_it_waits_for_a_row() -> None:
        await context.database.connect()
        task = asyncio.create_task(archive(context))
        await asyncio.to_thread(tables.wait_until_a_lock_is_in_the_way)
        assert set(events(path)) == {("intent", None)}  # one for each attempt
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await context.database.disconnect()

    with other.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list_archive WHERE lead_id = 1 FOR UPDATE")
        asyncio.run(cancel_while_it_waits_for_a_row())
    other.close()

    assert tables.both() == before
    *intents, outcome = events(path)
    assert (set(intents), outcome) == ({("intent", None)}, ("outcome", "not known"))


def test_an_outcome_is_written_even_if_the_batch_is_cancelled_meanwhile(
    tables: Tables, context: AppContext, path: Path, disk: StuckDisk
) -> None:
    """A stop cancels the batches that have not ended in time."""
    tables.live(1)
    before, _ = tables.both()
    disk.stuck = lambda _: events(path)[-1][0] == "outcome"

    async def cancel_while_it_waits_for_the_disk() -> None:
        await context.database.connect()
        task = asyncio.create_task(archive(context))
        await asyncio.to_thread(wait_until, lambda: disk.waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await context.database.disconnect()

    asyncio.run(cancel_while_it_waits_for_the_disk())
    disk.released.set()

    wait_until(lambda: events(path) == BOTH)
    assert tables.both() == ({}, before)


def test_a_batch_that_runs_out_of_time_waiting_for_the_disk_is_rolled_back(
    tables: Tables, context: AppContext, path: Path, disk: StuckDisk
) -> None:
    tables.live(1)
    before, _ = tables.both()
    started = time.monotonic()

    async def archive_with_little_time() -> None:
        await context.database.connect()
        with pytest.raises(DatabaseError):
            await archive(context, 1.5)
        await context.database.disconnect()

    asyncio.run(archive_with_little_time())

    assert time.monotonic() - started < 2 + SLACK
    assert tables.both() == (before, {})
    disk.released.set()
    wait_until(lambda: sorted(events(path)) == [("intent", None), ("outcome", "rolled back")])


def test_a_batch_without_time_is_not_begun(
    tables: Tables, context: AppContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither if its turn comes too late, nor if its time ends between its turn and its transaction."""
    tables.live(1)
    before, _ = tables.both()

    def begin(*_: object) -> None:
        pytest.fail("it has begun")

    monkeypatch.setattr(Transaction, "__init__", begin)

    async def archive_without_time() -> None:
        await context.database.connect()
        with pytest.raises(DatabaseError, match="no turn within"):
            await archive(context, 0)
        with pytest.raises(DatabaseError, match="no time was left"):
            await context.database.attempt(begin, 0, begin)  # type: ignore[arg-type]
        await context.database.disconnect()

    asyncio.run(archive_without_time())

    assert tables.both() == (before, {})
    assert not path.exists() or events(path) == []


async def archive(context: AppContext, seconds: float = PATIENCE) -> None:
    key = Key("tests", b"")
    deadline = asyncio.get_running_loop().time() + seconds
    await move(context, context.archive, "archive", key=key, fields=FIELDS, deadline=deadline)


@pytest.mark.parametrize("engines", [("InnoDB", "InnoDB"), ("InnoDB", "Aria"), ("Aria", "Aria")], ids="-".join)
def test_a_commit_that_a_read_only_server_refuses_is_known_to_be_rolled_back(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engines: tuple[str, str],
) -> None:
    """Only if all engines can roll back."""
    tables.set_engines(*engines)
    account = f"limited_{tables.database[-20:]}"
    tables.execute(f"CREATE USER {account}@127.0.0.1 IDENTIFIED BY 'secret'")  # without SUPER, which may write all the same
    tables.execute(f"GRANT ALL ON {tables.database}.* TO {account}@127.0.0.1")
    url = f"mysql+asyncmy://{account}:secret@127.0.0.1:{tables.mariadb.port}/{tables.database}"
    audited = new_api(AUDIT_LOG=str(path), DATABASE_URL=url)
    tables.live(1)
    before, _ = tables.both()
    commit = Transaction.commit

    async def commit_read_only(transaction: Transaction) -> None:
        if transaction._writes and transaction._has_written:
            tables.execute("SET GLOBAL read_only = ON")
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", commit_read_only)
    try:
        response = audited.archive_all([1])
    finally:
        tables.execute("SET GLOBAL read_only = OFF")
        tables.execute(f"DROP USER {account}@127.0.0.1")
    monkeypatch.undo()

    assert response.status_code == 503
    live, archived = tables.both()
    assert {**archived, **live} == before
    if engines == ("InnoDB", "InnoDB"):
        assert live == before
        assert "the server is read only" in response.json()["message"]
        assert response.json()["message"].endswith("; nothing was changed")
        assert archived == {}
        assert events(path) == [("intent", None), ("outcome", "rolled back")]
    else:
        assert response.json()["message"] == f"the commit was not confirmed; {MAY_BE_APPLIED}"
        assert events(path) == [("intent", None), ("outcome", "not known")]
    assert new_api().archive_all([1]).json()["delete_count"] == len(live)
    assert tables.both() == ({}, before)
