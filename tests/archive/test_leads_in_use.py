"""Leads that Vicidial is working with are left alone by a batch that deletes: not copied, not refreshed, not deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pymysql.err import OperationalError
from structlog.testing import capture_logs
from support import auditor
from support.api import Api
from support.tables import IN_USE_TABLES, Tables
from support.waiting import wait_until

from service.archive.lead_ids import NONE, LeadIDs
from service.archive.look import Looker
from service.database.statements import Statements
from service.errors import DatabaseError, Problem
from service.tables.in_use import MOST_NEARBY, by_id
from service.tables.statement_trial import StatementTrial


def queued(status: str) -> str:
    return f"INSERT INTO vicidial_inbound_callback_queue (lead_id, group_id, icbq_status) VALUES (2, 'in', '{status}')"


def email(status: str, direction: str) -> str:
    return f"INSERT INTO vicidial_email_list (lead_id, status, direction) VALUES (2, '{status}', '{direction}')"


IN_USE = {
    "an agent talks to it": "INSERT INTO vicidial_live_agents (lead_id) VALUES (2)",
    "an agent previews it": "INSERT INTO vicidial_live_agents (lead_id, preview_lead_id) VALUES (0, 2)",
    "an agent was handed it": "INSERT INTO vicidial_live_agents (lead_id, external_lead_id) VALUES (0, 2)",
    "its call is being placed": "INSERT INTO vicidial_auto_calls (lead_id, status) VALUES (2, 'RINGING')",
    "it is in the hopper": "INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY')",
    "a callback is due": "INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'ACTIVE')",
    "a callback is going on": "INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'LIVE')",
    "a callback is held back": "INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'TFHCCL')",
    "a caller waits in a queue": queued("NEW"),
    "a queued caller is being called": queued("SENDING"),
    "a queued caller is on the line": queued("LIVE"),
    "a queued caller waits for the morning": queued("NOCALLTIME"),
    "an e-mail is new": email("NEW", "INBOUND"),
    "an e-mail is queued": email("QUEUE", "INBOUND"),
    "an e-mail is being answered": email("INCALL", "INBOUND"),
    "a chat waits": "INSERT INTO vicidial_live_chats (lead_id, status) VALUES (2, 'WAITING')",
    "a chat goes on": "INSERT INTO vicidial_live_chats (lead_id, status) VALUES (2, 'LIVE')",
    "quality control has claimed it": "INSERT INTO quality_control_queue (lead_id, qc_status) VALUES (2, 'CLAIMED')",
}

NOT_IN_USE = {
    "a callback is over": "INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'INACTIVE')",
    "a queued caller was called": queued("SENT"),
    "a queued caller has given up": queued("EXPIRED"),
    "an e-mail was answered": email("DONE", "INBOUND"),
    "an e-mail was sent": email("NEW", "OUTBOUND"),
    "a chat is over": "INSERT INTO vicidial_live_chats (lead_id, status) VALUES (2, 'DONE'), (NULL, 'LIVE')",
    "quality control is done": "INSERT INTO quality_control_queue (lead_id, qc_status) VALUES (2, 'FINISHED')",
    "quality control is about no lead": "INSERT INTO quality_control_queue (lead_id, qc_status) VALUES (NULL, 'CLAIMED')",
    "a callback is of no lead": "INSERT INTO vicidial_callbacks (lead_id, status) VALUES (NULL, 'ACTIVE')",
    "another lead is in use": "INSERT INTO vicidial_hopper (lead_id) VALUES (22)",
    "agents are idle": "INSERT INTO vicidial_live_agents (lead_id, preview_lead_id) VALUES (0, NULL)",
}


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("use", IN_USE.values(), ids=IN_USE.keys())
@pytest.mark.parametrize("stale", [False, True], ids=["not archived", "with a stale copy"])
def test_a_lead_in_use_is_left_alone_as_a_whole(tables: Tables, api: Api, use: str, stale: bool) -> None:
    tables.live(1, 2, 3)
    tables.archived(3, status="NEW")
    if stale:
        tables.archived(2, status="NEW")
    live, archived = tables.both()
    tables.execute(use)

    response = api.archive_all([1, 2, 3])

    assert response.json() == {
        "message": "lead_ids batch was successfully processed",
        "select_count": 3,
        "insert_count": 1,
        "update_count": 1,
        "delete_count": 2,
        "remaining_lead_ids": [2],
        "reused_lead_ids": [],
        "unmatched_lead_ids": [],
    }
    lead = live.pop(2)
    assert tables.both() == ({2: lead}, {**archived, **live})


@pytest.mark.parametrize("use", IN_USE.values(), ids=IN_USE.keys())
def test_a_lead_in_use_is_copied_by_a_batch_that_deletes_nothing(tables: Tables, api: Api, use: str) -> None:
    tables.live(1, 2)
    tables.archived(1, status="NEW")
    live, _ = tables.both()
    tables.execute(use)

    answer = api.archive({**api.ALL, "delete_leads": False, "lead_ids": [1, 2]}).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (1, 1, 0)
    assert (answer["remaining_lead_ids"], tables.both()) == ([], (live, live))


@pytest.mark.parametrize("use", IN_USE.values(), ids=IN_USE.keys())
def test_it_is_deleted_all_the_same_if_the_operator_says_so(tables: Tables, new_api: Callable[..., Api], use: str) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute(use)

    response = new_api(LEADS_IN_USE="ignore").archive_all([1, 2])

    assert response.json()["delete_count"] == 2
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("use", NOT_IN_USE.values(), ids=NOT_IN_USE.keys())
def test_a_lead_that_is_not_in_use_is_deleted(tables: Tables, api: Api, use: str) -> None:
    tables.live(0, 2)
    before, _ = tables.both()
    tables.execute(use)

    response = api.archive_all([2, 0])

    assert response.json()["delete_count"] == 2
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("missing", IN_USE_TABLES)
def test_a_table_that_the_database_does_not_have_is_skipped(tables: Tables, api: Api, missing: str) -> None:
    tables.execute(f"DROP TABLE {missing}")
    tables.live(1, 2)
    tables.execute(next(use for use in IN_USE.values() if missing not in use))

    assert api.get("/readyz").json() == {"message": "ready", "problems": [], "notes": [], "skipped_tables": [missing]}
    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]
    assert tables.ids() == ([2], [1])


def test_a_table_that_is_dropped_while_the_service_runs(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    api.archive_all([1])
    tables.execute("DROP TABLE vicidial_hopper")

    # The statement that names the table fails. The second attempt finds that the table is gone, as it is in older versions.
    assert api.archive_all([2]).status_code == 200
    assert api.get("/readyz").json() == {
        "message": "ready",
        "problems": [],
        "notes": [],
        "skipped_tables": ["vicidial_hopper"],
    }
    assert tables.ids() == ([], [1, 2])


def test_a_table_that_is_missing_for_a_moment_is_not_taken_for_one_that_is_gone(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    api.archive_all([1])
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.execute("RENAME TABLE vicidial_hopper TO away")

    with ThreadPoolExecutor(1) as threads, capture_logs() as log:
        batch = threads.submit(api.archive_all, [2])
        wait_until(lambda: "transaction retried" in [line["event"] for line in log])
        tables.execute("RENAME TABLE away TO vicidial_hopper")
        assert batch.result().json()["remaining_lead_ids"] == [2]

    assert tables.ids() == ([2], [1])


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("RENAME TABLE vicidial_hopper TO away", "RENAME TABLE away TO vicidial_hopper"),
        ("ALTER TABLE vicidial_hopper CHANGE lead_id away INT", "ALTER TABLE vicidial_hopper CHANGE away lead_id INT"),
    ],
    ids=["table", "column"],
)
def test_what_shows_leads_in_use_is_believed_to_be_gone_only_after_a_second_look(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, away: str, back: str
) -> None:
    """/readyz has read the definitions anew while it is away, and so does the batch."""
    monkeypatch.setattr("service.tables.table_reader.GONE_AFTER", 10)
    tables.live(1, 2)
    before, _ = tables.both()
    api.archive_all([1])
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.execute(away)

    with ThreadPoolExecutor(2) as threads, capture_logs() as log:
        ready = threads.submit(api.get, "/readyz")
        wait_until(lambda: "transaction retried" in [line["event"] for line in log])
        batch = threads.submit(api.archive_all, [2])
        wait_until(lambda: [line["event"] for line in log].count("transaction retried") >= 4)
        tables.execute(back)
        assert batch.result().json()["remaining_lead_ids"] == [2]
        assert ready.result().json()["skipped_tables"] == []

    assert tables.both() == ({2: before[2]}, {1: before[1]})


def test_a_process_that_has_just_started_does_not_believe_at_once_that_a_table_is_not_there(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.tables.table_reader.GONE_AFTER", 10)
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.execute("RENAME TABLE vicidial_hopper TO away")
    api = new_api()

    with ThreadPoolExecutor(1) as client:
        batch = client.submit(api.archive_all, [1, 2])
        time.sleep(1)
        assert not batch.done()
        tables.execute("RENAME TABLE away TO vicidial_hopper")
        assert batch.result().json()["remaining_lead_ids"] == [2]

    assert tables.both() == ({2: before[2]}, {1: before[1]})


def test_a_table_that_was_missing_long_ago_is_not_believed_to_be_gone_at_once(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been there in between, and nobody has looked."""
    monkeypatch.setattr("service.tables.table_reader.GONE_AFTER", 2)
    monkeypatch.setattr("service.tables.table_reader.LONGEST_DOUBT", 1)
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="1")
    assert api.archive_all([1]).status_code == 200
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.execute("RENAME TABLE vicidial_hopper TO away")
    assert api.archive_all([2]).status_code == 503
    time.sleep(2.5)

    assert api.archive_all([2]).status_code == 503

    tables.execute("RENAME TABLE away TO vicidial_hopper")
    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert tables.both() == ({2: before[2]}, {1: before[1]})


@pytest.mark.parametrize("operation", ["archive_all", "compare", "find_all"])
def test_a_table_that_comes_back_is_not_forgotten_if_the_look_that_notices_it_is_broken_off(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """For example by a lock on vicidial_list, or since the time of the request is over."""
    tables.live(1, 2)
    tables.execute("RENAME TABLE vicidial_hopper TO away")
    assert api.archive_all([1]).status_code == 200
    tables.execute("RENAME TABLE away TO vicidial_hopper")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    before = tables.both()

    async def broken_off(*_: Any) -> list[Problem]:
        raise DatabaseError("the lead is locked", 1969)

    with monkeypatch.context() as patch:
        patch.setattr(StatementTrial, "leads", broken_off)
        if operation == "find_all":
            assert api.find(where={"list_ids": [998]}).status_code == 503
        else:
            assert getattr(api, operation)([2]).status_code == 503

    assert api.archive_all([2]).json()["remaining_lead_ids"] == [2]
    assert tables.both() == before


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_lead_that_gets_into_use_while_the_batch_runs_stays(tables: Tables, api: Api) -> None:
    """The hopper is filled in a transaction that is in the way of the DELETE. The batch is undone, and tried again until it is
    over. If that is between its INSERT and its DELETE, it has copied the lead."""
    tables.live(1, 2)
    before, _ = tables.both()
    hopper = tables.mariadb.connect(tables.database, autocommit=False)
    with hopper.cursor() as cursor:
        cursor.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    answers: list[dict[str, Any]] = []
    batch = threading.Thread(target=lambda: answers.append(api.archive_all([1, 2]).json()))
    batch.start()
    tables.wait_until_a_lock_is_in_the_way()
    assert batch.is_alive()
    hopper.commit()
    batch.join()
    hopper.close()

    assert answers[0]["remaining_lead_ids"] == [2]
    live, archived = tables.both()
    assert live == {2: before[2]}
    assert archived in (before, {1: before[1]})


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("pace", ["gentle", "full"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "another lead nearby is in use"])
def test_a_lead_that_gets_into_use_while_the_delete_takes_long_stays(
    tables: Tables, new_api: Callable[..., Api], pace: str, others: int
) -> None:
    """The DELETE has checked the lead, and is held by a trigger at one of its leads."""
    tables.live(1, 2, 3)
    before, _ = tables.both()
    if others:
        tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (4)")
        tables.live(9)
    batch = [1, 2, 3, 9][: 3 + others]
    api = new_api(PACE=pace)

    with ThreadPoolExecutor(1) as client, capture_logs() as log:
        with tables.held_by_a_trigger(at_least=1) as is_held:
            answer = client.submit(api.archive_all, batch)
            wait_until(is_held)
            tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (1)")
        assert answer.result().json()["remaining_lead_ids"] == [1]

    assert "transaction retried" in [line["event"] for line in log]
    live, archived = tables.both()
    assert (live, sorted(archived)) == ({1: before[1]}, batch[1:])


ROWS = {
    "vicidial_hopper": "(lead_id) VALUES ({})",
    "vicidial_callbacks": "(lead_id, status) VALUES ({}, 'ACTIVE')",
    "vicidial_auto_calls": "(lead_id) VALUES ({})",
    "vicidial_live_agents": "(lead_id) VALUES ({})",
}
"""A lead in use of each table. The last two have no key on the lead, as Vicidial makes them."""


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("pace", ["gentle", "full"])
@pytest.mark.parametrize("table", ROWS)
def test_nobody_waits_for_the_row_of_a_lead_between_those_of_the_batch(
    tables: Tables, new_api: Callable[..., Api], table: str, pace: str
) -> None:
    """An agent writes to its own row all the time."""
    batch = list(range(1, 200, 2))
    tables.live(*batch)
    before, _ = tables.both()
    for lead_id in range(2, 100, 2):
        tables.execute(f"INSERT INTO {table} {ROWS[table].format(lead_id)}")
    api = new_api(PACE=pace)

    with ThreadPoolExecutor(1) as client:
        with tables.held_by_a_trigger(at_least=1) as is_held:
            answer = client.submit(api.archive_all, batch)
            wait_until(is_held)
            assert len(tables.execute(f"SELECT lead_id FROM {table} FOR UPDATE NOWAIT")) == 49
        assert answer.result().json()["delete_count"] == len(batch)

    assert tables.both() == ({}, before)


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("other", [2, 1000])
@pytest.mark.parametrize("table", ROWS)
def test_a_row_that_somebody_writes_for_another_lead_is_in_the_way_of_no_batch(
    tables: Tables, api: Api, table: str, other: int
) -> None:
    tables.live(1, 3)
    before, _ = tables.both()
    tables.execute(f"INSERT INTO {table} {ROWS[table].format(other)}")
    agent = tables.mariadb.connect(tables.database, autocommit=False)
    with agent.cursor() as cursor, capture_logs() as log:
        cursor.execute(f"UPDATE {table} SET lead_id = {other + 4}")

        assert api.archive_all([1, 3]).json()["delete_count"] == 2

    agent.close()
    assert "transaction retried" not in [line["event"] for line in log]
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("table", ROWS)
def test_a_lead_that_gets_into_use_in_any_table_while_the_delete_runs_stays(tables: Tables, api: Api, table: str) -> None:
    """Also where the DELETE does not ask the table."""
    tables.live(1, 2)
    before, _ = tables.both()
    with ThreadPoolExecutor(1) as client:
        with tables.held_by_a_trigger(at_least=1) as is_held:
            answer = client.submit(api.archive_all, [1, 2])
            wait_until(is_held)
            tables.execute(f"INSERT INTO {table} {ROWS[table].format(1)}")
        assert answer.result().json()["remaining_lead_ids"] == [1]

    live, archived = tables.both()
    assert (live, sorted(archived)) == ({1: before[1]}, [2])


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
def test_a_hopper_without_row_locks_is_free_between_the_parts_of_a_large_delete(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB keeps such a table locked while a DELETE reads it."""
    monkeypatch.setattr("service.archive.mover.LARGEST_DELETE", 2)
    tables.live(1, 2, 3, 4, 5)
    before, _ = tables.both()

    def deletes() -> int:
        ((_, number),) = tables.execute("SHOW GLOBAL STATUS LIKE 'Com_delete_multi'")
        return int(number or b"")

    earlier = deletes()
    assert new_api(PACE="full").archive_all([1, 2, 3, 4, 5]).json()["delete_count"] == 5

    assert deletes() - earlier == 3
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("others", [1, MOST_NEARBY + 1], ids=["one", "very many"])
def test_leads_in_use_between_those_of_a_batch_keep_none_of_them(tables: Tables, api: Api, others: int) -> None:
    tables.live(1, 2, 50_000)
    before, _ = tables.both()
    tables.execute(f"INSERT INTO vicidial_hopper (lead_id) SELECT seq + 100 FROM seq_1_to_{others}")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")

    answer = api.archive_all([1, 2, 50_000]).json()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (2, [2])
    lead = before.pop(2)
    assert tables.both() == ({2: lead}, before)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("dialled", [2, 7], ids=["of the batch", "between those of the batch"])
def test_a_lead_that_is_dialled_after_the_look_keeps_only_itself(tables: Tables, api: Api, dialled: int) -> None:
    """The DELETE first asks whether any lead with an id among those of the batch is in use."""
    tables.live(1, 2, 3, 9)
    tables.execute(
        "CREATE TRIGGER dial BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        f" IF NEW.lead_id = 1 THEN INSERT INTO vicidial_hopper (lead_id) VALUES ({dialled}); END IF"
    )

    answer = api.archive_all([1, 2, 3, 9]).json()

    stays = [dialled] if dialled == 2 else []
    assert (answer["insert_count"], answer["delete_count"]) == (4, 4 - len(stays))
    assert answer["remaining_lead_ids"] == stays
    assert tables.ids() == (stays, [1, 2, 3, 9])


@pytest.mark.parametrize("archive", ["InnoDB", "MyISAM"])
def test_a_lead_that_gets_into_use_while_the_delete_waits_for_another_one_stays(
    tables: Tables, api: Api, archive: str
) -> None:
    """Somebody has locked a row that the DELETE needs. Meanwhile, another lead of the batch is put into the hopper."""
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {archive}")
    tables.live(1, 2, 3)
    tables.archived(1, 2, 3)
    locked = "vicidial_list_archive" if archive == "InnoDB" else "vicidial_list"
    other = tables.mariadb.connect(tables.database, autocommit=False)
    with ThreadPoolExecutor(1) as client, other.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {locked} WHERE lead_id = 1 FOR UPDATE")
        batch = client.submit(api.archive, {**api.ALL, "update_leads": False, "lead_ids": [1, 2, 3]})
        tables.wait_until_a_lock_is_in_the_way()
        tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")
        assert not batch.done()
        other.commit()
        answer = batch.result().json()
    other.close()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (2, [3])
    assert tables.ids() == ([3], [1, 2, 3])


KEYED = {
    "vicidial_hopper": "(lead_id) VALUES ({})",
    "vicidial_callbacks": "(lead_id, status) VALUES ({}, 'ACTIVE')",
    "vicidial_email_list": "(lead_id, status) VALUES ({}, 'NEW')",
    "vicidial_live_chats": "(lead_id, status) VALUES ({}, 'LIVE')",
    "quality_control_queue": "(lead_id, qc_status) VALUES ({}, 'CLAIMED')",
}
"""The tables that have a key on the lead, each with what makes a lead one in use."""


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("table", KEYED)
@pytest.mark.parametrize("rows", [0, 1, 3, 30])
def test_a_batch_waits_for_no_row_of_another_lead(tables: Tables, new_api: Callable[..., Api], table: str, rows: int) -> None:
    """The row is not committed yet, and its lead has an id among those of the batch. MariaDB likes to read a small table
    as a whole."""
    tables.execute(f"ALTER TABLE {table} ENGINE = InnoDB")
    tables.live(1, 2, 5, 9)
    for lead_id in [4, *range(100, 100 + rows)][:rows]:
        tables.execute(f"INSERT INTO {table} {KEYED[table].format(lead_id)}")
    api = new_api(REQUEST_TIMEOUT="6")
    other = tables.mariadb.connect(tables.database, autocommit=False)
    with other.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} {KEYED[table].format(5)}")
        answer = api.archive_all([1, 2, 9])
    other.close()

    assert (answer.status_code, answer.json().get("delete_count")) == (200, 3)
    assert tables.ids() == ([5], [1, 2, 9])


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The key that the service has found for each column that shows leads in use."""
    keys: dict[str, str | None] = {}
    find_key = StatementTrial._key

    async def note_key(trial: StatementTrial, transaction: Any, name: str) -> str | None:
        keys[name] = await find_key(trial, transaction, name)
        return keys[name]

    monkeypatch.setattr(StatementTrial, "_key", note_key)
    return keys


@pytest.mark.parametrize(
    ("engine", "keys", "used"),
    [
        ("InnoDB", "KEY lead_id (lead_id)", "lead_id"),
        ("InnoDB", "KEY all_of_it (lead_id, campaign_id), KEY lead_id (lead_id)", "lead_id"),
        ("InnoDB", "KEY all_of_it (lead_id, campaign_id)", "all_of_it"),
        ("InnoDB", "KEY all_of_it (campaign_id, lead_id)", None),
        ("MyISAM", "KEY a (lead_id), UNIQUE KEY b (hopper_id, lead_id)", "a"),
        ("InnoDB", "UNIQUE KEY a (lead_id) USING HASH, KEY lead_id (lead_id)", "lead_id"),
        ("MyISAM", "UNIQUE KEY a (lead_id) USING HASH, KEY all_of_it (lead_id, campaign_id)", "all_of_it"),
        ("InnoDB", "UNIQUE KEY a (lead_id) USING HASH, KEY lead_id (lead_id) USING HASH", "lead_id"),
        ("MEMORY", "UNIQUE KEY a (lead_id)", "a"),
        ("MEMORY", "KEY all_of_it (lead_id, campaign_id), KEY lead_id (lead_id)", "lead_id"),
        ("MEMORY", "KEY all_of_it (lead_id, campaign_id)", None),
        ("MEMORY", "KEY all_of_it (lead_id, campaign_id) USING BTREE", "all_of_it"),
    ],
)
def test_a_key_is_used_in_which_a_lead_can_be_looked_up(
    tables: Tables, api: Api, found: dict[str, str | None], engine: str, keys: str, used: str | None
) -> None:
    """A hash of all columns is of no use for one of them: with that hint, MariaDB reads the whole table for each lead."""
    tables.execute("DROP TABLE vicidial_hopper")
    tables.execute(
        "CREATE TABLE vicidial_hopper (hopper_id INT AUTO_INCREMENT PRIMARY KEY, lead_id INT UNSIGNED NOT NULL,"
        f" campaign_id VARCHAR(8), {keys}) ENGINE = {engine}"
    )
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")
    tables.live(1, 2)
    before, _ = tables.both()

    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]

    assert tables.both() == ({2: before[2]}, {1: before[1]})
    assert found["vicidial_hopper.lead_id"] == used


@pytest.mark.parametrize("kind", ["VARCHAR(20)", "DECIMAL(12)", "DOUBLE", "BIGINT"])
def test_a_number_cannot_be_looked_up_in_the_key_of_a_text(
    tables: Tables, api: Api, found: dict[str, str | None], kind: str
) -> None:
    tables.execute(f"ALTER TABLE vicidial_callbacks MODIFY lead_id {kind}")
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'ACTIVE')")

    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]

    assert tables.both() == ({2: before[2]}, {1: before[1]})
    assert found["vicidial_callbacks.lead_id"] == ("lead_id" if kind == "BIGINT" else None)


def test_a_key_that_is_not_kept_up_to_date_is_not_used(tables: Tables, api: Api, found: dict[str, str | None]) -> None:
    """As an interrupted load of a dump leaves it."""
    tables.execute("ALTER TABLE vicidial_callbacks ENGINE = MyISAM")
    tables.execute("ALTER TABLE vicidial_callbacks DISABLE KEYS")
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'ACTIVE')")

    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [2]

    assert tables.both() == ({2: before[2]}, {1: before[1]})
    assert found["vicidial_callbacks.lead_id"] is None


def test_a_key_that_is_on_another_column_now_is_noticed(
    tables: Tables, api: Api, found: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (2, 'ACTIVE')")
    assert api.archive_all([1]).status_code == 200
    assert found["vicidial_callbacks.lead_id"] == "lead_id"
    tables.execute("ALTER TABLE vicidial_callbacks DROP KEY lead_id, ADD KEY lead_id (status), ADD KEY other (lead_id)")
    monkeypatch.setattr("service.tables.table_reader.LONGEST_BELIEF", 0)

    assert api.archive_all([2, 3]).json()["remaining_lead_ids"] == [2]

    assert found["vicidial_callbacks.lead_id"] == "other"
    assert tables.both() == ({2: before[2]}, {1: before[1], 3: before[3]})


def test_the_key_on_the_lead_changes_nothing_of_how_a_large_table_of_callbacks_is_read(tables: Tables) -> None:
    """Nearly all of them are over. A batch whose ids are far apart must not read them one by one."""
    tables.execute("ALTER TABLE vicidial_callbacks ADD KEY status (status)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) SELECT seq, 'INACTIVE' FROM seq_1_to_20000")
    tables.execute("ANALYZE TABLE vicidial_callbacks")
    statement = Statements.load().leads_in_use["vicidial_callbacks.lead_id"]
    lead_ids = ", ".join(map(str, range(1, 20_000, 40)))

    def plan(hint: str) -> list[Any]:
        template = statement.fill({"lead_ids": "{lead_ids}", "key_hint": hint})
        return tables.execute(f"EXPLAIN {by_id({'vicidial_callbacks.lead_id': template}, lead_ids)}")

    assert b"status" in plan("")[0]
    assert plan(" {named} (`lead_id`)") == plan("")
    with pytest.raises(OperationalError, match="1176"):
        plan(" {named} (`none`)")


READS = "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Handler_read_%'"


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("live", ["InnoDB", "MyISAM"])
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_old_rows_of_other_leads_are_not_read(tables: Tables, new_api: Callable[..., Api], live: str, pace: str) -> None:
    """Between the first and the last lead of a batch, quality control has rows of all leads that it has ever seen."""
    others = 20_000
    tables.set_engines(live, live)
    for table, column, over in (
        ("quality_control_queue", "qc_status", "FINISHED"),
        ("vicidial_email_list", "status", "DONE"),
        ("vicidial_callbacks", "status", "INACTIVE"),
    ):
        tables.execute(f"INSERT INTO {table} (lead_id, {column}) SELECT seq, '{over}' FROM seq_2_to_{others}")
    lead_ids = [1, *range(2, others, 2000), others]
    tables.live(*lead_ids)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2002)")
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (4002, 'ACTIVE')")
    tables.execute("INSERT INTO vicidial_live_agents (lead_id) VALUES (6002)")
    api = new_api(PACE=pace)
    assert api.archive_all([lead_ids.pop(0)]).json()["delete_count"] == 1

    def reads() -> int:
        return sum(int(number or b"") for _, number in tables.execute(READS))

    read = reads()
    answer = api.archive_all(lead_ids).json()
    read = reads() - read

    assert answer["remaining_lead_ids"] == [2002, 4002, 6002]
    assert answer["delete_count"] == len(lead_ids) - 3
    assert tables.both() == (
        {lead_id: before[lead_id] for lead_id in (2002, 4002, 6002)},
        {lead_id: row for lead_id, row in before.items() if lead_id not in (2002, 4002, 6002)},
    )
    assert read < others / 2


@pytest.mark.parametrize("limit", ["", "list_ids = [101]\n"], ids=["any lead", "a limited key"])
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_table_without_a_key_on_the_lead_is_not_read_for_each_lead(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path, limit: str
) -> None:
    """Queued callers, as many as a large inbound site has, are between the leads of a batch."""
    last = 1000
    lead_ids = list(range(2, 202, 2))
    tables.live(*lead_ids, list_id=101)
    before, _ = tables.both()
    queue = f"SELECT seq, 'NEW' FROM seq_1_to_{last}_step_2"
    tables.execute(f"INSERT INTO vicidial_inbound_callback_queue (lead_id, icbq_status) {queue}")
    keys_file.write_text(keys_file.read_text() + limit)
    api = new_api(PACE="full")

    def reads() -> int:
        return sum(int(number or b"") for _, number in tables.execute(READS))

    read = reads()
    answer = api.archive_all(lead_ids).json()
    read = reads() - read

    assert answer["delete_count"] == len(lead_ids)
    assert tables.both() == ({}, before)
    assert read < last / 2 * len(lead_ids) / 4


ODD_TYPES = {
    "Vicidial's types": (),
    "odd types": (
        "ALTER TABLE vicidial_list MODIFY lead_id INT(9) UNSIGNED ZEROFILL NOT NULL AUTO_INCREMENT",
        "ALTER TABLE vicidial_list_archive MODIFY lead_id INT(9) UNSIGNED ZEROFILL NOT NULL",
        "ALTER TABLE vicidial_live_agents MODIFY lead_id DECIMAL(12,2)",
        "ALTER TABLE vicidial_inbound_callback_queue MODIFY lead_id VARCHAR(20)",
    ),
}


@pytest.mark.parametrize("changes", ODD_TYPES.values(), ids=ODD_TYPES.keys())
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM", "Aria"], indirect=True)
def test_a_delete_itself_spares_leads_in_use_and_the_audit_knows_them(
    tables: Tables,
    new_api: Callable[..., Api],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pace: str,
    changes: tuple[str, ...],
) -> None:
    """The looks before and after it see nothing. On InnoDB, a DELETE asks only tables with a key on the lead."""
    lead_ids = list(range(1, 31))
    tables.live(*lead_ids)
    for change in changes:
        tables.execute(change)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_callbacks (lead_id, status) VALUES (3, 'ACTIVE')")
    tables.execute("INSERT INTO vicidial_live_agents (lead_id) VALUES (5), (5)")
    tables.execute("INSERT INTO vicidial_inbound_callback_queue (lead_id, icbq_status) VALUES (7, 'NEW')")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (30)")
    ((engine,),) = tables.execute(
        "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'vicidial_list'"
    )
    kept = [3, 30] if engine == b"InnoDB" else [3, 5, 7, 30]
    api = new_api(AUDIT_LOG=str(tmp_path / "audit.jsonl"), PACE=pace)

    async def sees_none(*_: Any) -> LeadIDs:
        return NONE

    monkeypatch.setattr(Looker, "_in_use", sees_none)

    answer = api.archive_all(lead_ids).json()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (30 - len(kept), kept)
    assert tables.both() == ({lead_id: before[lead_id] for lead_id in kept}, before)
    gone = [lead_id for lead_id in lead_ids if lead_id not in kept]
    assert auditor.read(tmp_path / "audit.jsonl")[-1]["deleted_lead_ids"] == gone


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize(
    "change", ["DROP KEY lead_id", "/*!100600 ALTER KEY lead_id IGNORED */", "RENAME KEY lead_id TO `{odd}`"]
)
@pytest.mark.parametrize("operation", ["archive_all", "compare"])
def test_a_key_on_the_lead_may_go_while_the_service_runs(tables: Tables, api: Api, change: str, operation: str) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    assert api.archive_all([1]).status_code == 200
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2)")

    tables.execute(f"ALTER TABLE vicidial_hopper {change}")

    answer = getattr(api, operation)([2, 3])
    assert answer.status_code == 200  # it is not noticed only by the DELETE, which comes too late without rollback
    if operation == "compare":
        assert [lead["in_use"] for lead in answer.json()["leads"]] == [True, False]
    else:
        assert answer.json()["remaining_lead_ids"] == [2]
        assert tables.both() == ({2: before[2]}, {1: before[1], 3: before[3]})
    assert api.get("/readyz").status_code == 200
