"""`where` in archive and dearchive: a lead that does not match is left alone, also if it stops matching in mid-batch."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from support.api import Api
from support.fixtures import ReadSettings
from support.process import PATIENCE
from support.tables import Tables

from service.app import create_context
from service.archive.batch import Batch, Result
from service.database.transaction import Transaction

ENGINES = pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
MIXED = [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("MyISAM", "InnoDB")]


def archive(api: Api, lead_ids: list[int], where: dict[str, Any], **flags: bool) -> dict[str, Any]:
    answer: dict[str, Any] = api.archive({**Api.ALL, **flags, "lead_ids": lead_ids, "where": where}).json()
    return answer


# --- what matches when the batch begins --------------------------------------------------------------------------------


@ENGINES
def test_only_leads_that_match_are_archived(tables: Tables, api: Api) -> None:
    tables.live(1, 2, 3, status="SALE")
    tables.archived(3, status="OLD")
    tables.live(4, 5, 6, status="CALLBK")
    tables.archived(5, status="OLD")
    tables.archived(6, status="CALLBK")
    tables.archived(7, status="CALLBK")  # only in the archive: already archived
    live, archived = tables.both()

    answer = archive(api, [7, 6, 5, 4, 3, 2, 1], {"statuses": ["SALE"]})

    assert answer == {
        "message": "lead_ids batch was successfully processed",
        "select_count": 6,
        "insert_count": 2,
        "update_count": 1,
        "delete_count": 3,
        "remaining_lead_ids": [4, 5, 6],
        "reused_lead_ids": [],
        "unmatched_lead_ids": [4, 5, 6],
    }
    assert tables.both() == (
        {lead_id: live[lead_id] for lead_id in (4, 5, 6)},
        {**archived, **{lead_id: live[lead_id] for lead_id in (1, 2, 3)}},
    )


def test_an_unmatched_lead_that_was_not_to_be_deleted_does_not_remain(tables: Tables, api: Api) -> None:
    tables.live(1, status="SALE")
    tables.live(2, status="NEW")
    live, _ = tables.both()

    answer = archive(api, [1, 2], {"statuses": ["SALE"]}, delete_leads=False)

    assert (answer["unmatched_lead_ids"], answer["remaining_lead_ids"]) == ([2], [])
    assert tables.both() == (live, {1: live[1]})


def test_an_unknown_lead_is_unknown_whatever_the_conditions_are(tables: Tables, api: Api) -> None:
    tables.live(1)
    before = tables.both()

    response = api.archive({**Api.ALL, "lead_ids": [1, 2], "where": {"statuses": ["X"]}})

    assert (response.status_code, response.json()["lead_ids"]) == (404, [2])
    assert tables.both() == before


@ENGINES
def test_dearchive_looks_at_the_archived_row(tables: Tables, api: Api) -> None:
    tables.archived(1, 2, status="SALE")
    tables.archived(3, status="CALLBK")
    tables.live(2, status="CALLBK")  # differs: stays in the archive
    tables.live(4, status="CALLBK")  # is back already
    live, archived = tables.both()

    answer = api.dearchive(
        {"insert_leads": True, "delete_leads": True, "lead_ids": [1, 2, 3, 4], "where": {"statuses": ["SALE"]}}
    ).json()

    assert answer == {
        "message": "lead_ids batch was successfully processed",
        "select_count": 3,
        "insert_count": 1,
        "delete_count": 1,
        "remaining_lead_ids": [2, 3],
        "reused_lead_ids": [],
        "unmatched_lead_ids": [3],
    }
    assert tables.both() == ({**live, 1: archived[1]}, {2: archived[2], 3: archived[3]})


TWICE = [
    (101, "SPRING", "Y"),
    (101, "SPRING", "Y"),  # the same twice
    (102, "SPRING", "Y"),
    (102, "AUTUMN", "N"),  # a contradiction
    (103, "SPRING", "N"),
    (103, None, None),  # a contradiction: the row says nothing
    (104, None, None),
    (105, "AUTUMN", "N"),
    (105, "SUMMER", "N"),  # different campaigns, and no active one
    (106, "SPRING", "Y"),  # an ordinary list
]
"""list_id, campaign_id and active of lists that a damaged vicidial_lists has more than once. 107 is none of them."""


@pytest.mark.parametrize(
    ("where", "matching"),
    [
        ({"campaign_ids": ["SPRING"]}, [1, 6]),
        ({"campaign_ids": ["AUTUMN", "SUMMER"]}, [5]),
        ({"campaign_ids": ["AUTUMN", "SPRING"]}, [1, 2, 6]),
        ({"campaign_ids": ["AUTUMN", "\u2019"]}, []),
        ({"list_active": True}, [1, 6]),
        ({"list_active": False}, [5]),
        ({"list_active": True, "campaign_ids": ["SPRING"]}, [1, 6]),
    ],
)
@pytest.mark.parametrize("key", ["no key", "a key that is not unique"])
@ENGINES
def test_a_list_that_is_there_twice_matches_only_if_its_rows_agree(
    tables: Tables, api: Api, key: str, where: dict[str, Any], matching: list[int]
) -> None:
    tables.execute(
        "ALTER TABLE vicidial_lists DROP PRIMARY KEY, MODIFY campaign_id VARCHAR(8), MODIFY active ENUM('Y','N')"
        + (", ADD KEY (list_id)" if key != "no key" else "")
    )
    for list_id, campaign_id, active in TWICE:
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in (campaign_id, active))
        tables.execute(f"INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES ({list_id}, {values})")
    leads = list(range(1, 8))
    for lead_id in leads:
        tables.live(lead_id, list_id=100 + lead_id)
    live, _ = tables.both()
    others = [lead_id for lead_id in leads if lead_id not in matching]

    assert api.find_all(where=where) == matching
    answer = archive(api, leads, where)

    assert (answer["delete_count"], answer["unmatched_lead_ids"]) == (len(matching), others)
    assert tables.both() == (
        {lead_id: live[lead_id] for lead_id in others},
        {lead_id: live[lead_id] for lead_id in matching},
    )


# --- what stops matching while the batch runs --------------------------------------------------------------------------


def move(
    environment: dict[str, str],
    settings_from: ReadSettings,
    batch: Batch,
    in_between: Callable[[], object],
    way: str = "archive",
) -> Result:
    """Process a batch. in_between: what happens after the batch has looked at its leads and before it changes any."""
    context = create_context(settings_from(environment))

    async def before_change(_: Sequence[int]) -> None:
        await asyncio.to_thread(in_between)

    async def process() -> Result:
        await context.database.connect()
        try:
            mover = context.archive if way == "archive" else context.dearchive
            return await mover.process(batch, 30, before_change)
        finally:
            await context.database.disconnect()

    return asyncio.run(process())


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("older_copy", [None, {"status": "OLD"}, {"status": "SALE"}], ids=["new", "older copy", "same copy"])
def test_a_lead_that_is_called_while_the_batch_runs_is_neither_copied_nor_deleted(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings, older_copy: dict[str, str] | None
) -> None:
    tables.live(1, 2, status="SALE")
    if older_copy:
        tables.archived(1, 2, **older_copy)
    _, archived = tables.both()
    batch = Batch([1, 2], insert_leads=True, update_leads=True, delete_leads=True, where={"statuses": ["SALE"]})

    result = move(
        environment,
        settings_from,
        batch,
        lambda: tables.execute("UPDATE vicidial_list SET status = 'INCALL', modify_date = modify_date WHERE lead_id = 1"),
    )

    assert (result.delete_count, result.remaining_lead_ids, result.unmatched_lead_ids) == (1, [1], [])
    live_after, archived_after = tables.both()
    assert list(live_after) == [1]
    assert b"INCALL" in live_after[1]
    assert archived_after.get(1) == archived.get(1)


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_an_archived_lead_that_is_edited_while_it_is_brought_back_stays_in_the_archive(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings
) -> None:
    tables.archived(1, 2, status="SALE")
    _, before = tables.both()
    batch = Batch([1, 2], insert_leads=True, delete_leads=True, where={"statuses": ["SALE"]})

    result = move(
        environment,
        settings_from,
        batch,
        lambda: tables.execute("UPDATE vicidial_list_archive SET status = 'OLD', modify_date = modify_date WHERE lead_id = 1"),
        "dearchive",
    )

    assert (result.insert_count, result.delete_count, result.remaining_lead_ids) == (1, 1, [1])
    live, archived = tables.both()
    assert live == {2: before[2]}
    assert list(archived) == [1]


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize("way", ["archive", "dearchive"])
@pytest.mark.parametrize("same_copy", [False, True], ids=["new", "same copy"])
def test_a_lead_that_is_moved_to_a_list_of_others_while_the_batch_runs_is_left_alone(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings, way: str, same_copy: bool
) -> None:
    """The key of the batch sees list 101 only. On MyISAM, rests lie between the first look at a lead and its DELETE."""
    source, target = ("vicidial_list", "vicidial_list_archive")[:: 1 if way == "archive" else -1]
    if same_copy or way == "archive":
        tables.live(1, 2, list_id=101)
    if same_copy or way == "dearchive":
        tables.archived(1, 2, list_id=101)
    before, copies = tables.rows(source), tables.rows(target)

    def move_to_a_list_of_others() -> None:
        for table in (source, target):
            tables.execute(f"UPDATE {table} SET list_id = 999, modify_date = modify_date WHERE lead_id = 1")

    batch = Batch([1, 2], insert_leads=True, update_leads=way == "archive", delete_leads=True, list_ids=frozenset({101}))

    result = move(environment, settings_from, batch, move_to_a_list_of_others, way)

    assert (result.delete_count, result.gone_lead_ids, result.deleted_lead_ids) == (1, [1], [2])
    assert list(tables.rows(source)) == [1]
    after = tables.rows(target)
    assert after[2] == before[2]
    assert after.keys() == {2, *copies}


@ENGINES
def test_a_list_that_is_activated_while_the_batch_runs_keeps_its_leads(
    tables: Tables, environment: dict[str, str], settings_from: ReadSettings
) -> None:
    """The row of the lead does not change, and its copy is the same: only the condition in the DELETE keeps it."""
    tables.execute(
        "INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'N'), (102, 'SPRING', 'N')"
    )
    for lead_id, list_id in ((1, 101), (2, 102)):
        tables.live(lead_id, list_id=list_id)
        tables.archived(lead_id, list_id=list_id)
    before, _ = tables.both()
    where = {"list_active": False, "campaign_ids": ["SPRING"]}
    batch = Batch([1, 2], insert_leads=True, update_leads=True, delete_leads=True, where=where)

    result = move(
        environment,
        settings_from,
        batch,
        lambda: tables.execute("UPDATE vicidial_lists SET active = 'Y' WHERE list_id = 101"),
    )

    assert (result.delete_count, result.remaining_lead_ids) == (1, [1])
    assert tables.both() == ({1: before[1]}, before)


@pytest.mark.parametrize("engines", [pair for pair in MIXED if pair != ("InnoDB", "InnoDB")], ids="-".join)
def test_a_lead_that_another_batch_moves_while_this_one_looks_is_not_named_as_unmatched(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, str]
) -> None:
    """It matched: whoever moved it saw that. The batch sees it in one SELECT, and no more in the one with the conditions."""
    tables.set_engines(*engines)
    tables.live(1, 2, status="SALE")
    tables.live(3, status="NEW")
    before, _ = tables.both()
    moved: list[str] = []
    select_each = Transaction.select_each

    async def one_by_one(
        transaction: Transaction, *statements: str, unlocked: Collection[str] = ()
    ) -> list[list[tuple[Any, ...]]]:
        answers = []
        for statement in statements:
            if "('SALE')" in statement and not moved:
                moved.append(statement)
                tables.execute("INSERT INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE lead_id = 2")
                tables.execute("DELETE FROM vicidial_list WHERE lead_id = 2")
            answers += await select_each(transaction, statement, unlocked=unlocked)
        return answers

    monkeypatch.setattr(Transaction, "select_each", one_by_one)

    answer = archive(api, [1, 2, 3], {"statuses": ["SALE"]})

    assert len(moved) == 1
    assert (answer["unmatched_lead_ids"], answer["remaining_lead_ids"], answer["delete_count"]) == ([3], [3], 1)
    assert tables.both() == ({3: before[3]}, {1: before[1], 2: before[2]})


@pytest.mark.parametrize("engines", MIXED, ids="-".join)
def test_every_lead_that_is_archived_beside_a_dialler_matched_when_it_was_deleted(
    tables: Tables, api: Api, engines: tuple[str, str]
) -> None:
    tables.execute(f"ALTER TABLE vicidial_list ENGINE = {engines[0]}")
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {engines[1]}")
    lead_ids = list(range(1, 301))
    tables.live(*lead_ids, status="DONE", last_local_call_time="2024-01-01")
    tables.archived(*lead_ids[::3], status="OLD")
    where = {"statuses": ["DONE"], "called_before": "2025-01-01"}
    unmatched: set[int] = set()
    with CallsBeside(tables, lead_ids) as calls:
        # The status returns to DONE, but not the time of the call.
        for _ in range(6):
            for first in range(0, 300, 60):
                unmatched.update(archive(api, lead_ids[first : first + 60], where)["unmatched_lead_ids"])

    live, archived = tables.both()
    called = set(calls.committed)
    assert called
    assert unmatched
    assert called <= live.keys()
    assert live.keys() | archived.keys() == set(lead_ids)
    assert live.keys() == called
    for lead_id in called & archived.keys():
        assert b"CALLED" not in archived[lead_id]


class CallsBeside:
    """A dialler that calls random leads: each call changes the status and the time of the last call. It notes the leads that
    it found, in the order of its commits."""

    def __init__(self, tables: Tables, lead_ids: list[int]) -> None:
        self.committed: list[int] = []
        self._tables = tables
        self._lead_ids = lead_ids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        rng = random.Random(1)
        with self._tables.mariadb.connect(self._tables.database) as connection, connection.cursor() as cursor:
            while not self._stop.is_set():
                lead_id = rng.choice(self._lead_ids)
                if cursor.execute(
                    "UPDATE vicidial_list SET status = 'CALLED', last_local_call_time = NOW() WHERE lead_id = %s", (lead_id,)
                ):
                    self.committed.append(lead_id)
                time.sleep(0.002)

    def __enter__(self) -> CallsBeside:
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while len(self.committed) < 5:  # so that some leads do not match when the first batch begins
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
