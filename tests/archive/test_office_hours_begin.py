"""Office hours that begin, and keys that are revoked or changed, while a request waits: for its body, its turn, or a lead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.auditor import events
from support.settings import key_entry, write_keys_file
from support.tables import Tables

from service.api.leads import LeadsEndpoint
from service.archive import chunks
from service.archive.chunks import Sizes
from service.archive.comparer import Comparer
from service.archive.finder import Finder
from service.archive.look import Looker
from service.archive.mover import NEW, Mover
from service.archive.row_changes import Changes
from service.errors import DatabaseError
from service.mariadb_errors import DEADLOCK

BEFORE = datetime(2025, 6, 2, 7, 59, 59, tzinfo=UTC)
WITHIN = datetime(2025, 6, 2, 8, tzinfo=UTC)
"""A Monday."""

HOURS = {
    "OFFICE_HOURS": "Mon 08:00-17:00",
    "DEARCHIVE_OFFICE_HOURS": "Mon 08:00-17:00",
    "OFFICE_HOURS_TIMEZONE": "UTC",
}


class Clock:
    now = BEFORE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(new_api: Callable[..., Api], path: Path, clock: Clock) -> Api:
    return new_api(now=lambda: clock.now, AUDIT_LOG=str(path), **HOURS)


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("operation", ["archive_all", "dearchive_all"])
def test_a_batch_for_which_office_hours_begin_before_it_changes_anything_is_refused(
    tables: Tables, timed: Api, clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    tables.live(1)
    tables.archived(2)
    before = tables.both()
    look = Looker.look

    async def look_until_office_hours(looker: Looker, *arguments: Any, **options: Any) -> Any:
        seen = await look(looker, *arguments, **options)
        clock.now = WITHIN
        return seen

    monkeypatch.setattr(Looker, "look", look_until_office_hours)
    response = getattr(timed, operation)([1, 2])

    message = "api cannot be executed during office hours time condition"
    assert (response.status_code, response.json()) == (403, {"message": message})
    assert response.headers["Retry-After"] == str(9 * 60 * 60)
    assert tables.both() == before
    assert not path.exists() or events(path) == []


def test_a_batch_for_which_office_hours_begin_between_two_attempts_is_refused(
    tables: Tables, timed: Api, clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()

    async def fail(*_: Any, **__: Any) -> Any:
        clock.now = WITHIN
        raise DatabaseError("Deadlock found", DEADLOCK)

    monkeypatch.setattr(Changes, "run", fail)

    assert timed.archive_all([1]).status_code == 403
    assert tables.both() == (before, {})
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


@pytest.mark.parametrize(("tables", "ends"), [("InnoDB", False), ("MyISAM", True)], indirect=["tables"])
def test_a_batch_that_has_begun_to_change_when_office_hours_begin_ends_unless_it_can_be_rolled_back(
    tables: Tables, timed: Api, clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    tables.live(1)
    before, _ = tables.both()
    run = Changes.run

    async def run_within_office_hours(changes: Changes, *arguments: Any, **options: Any) -> Any:
        clock.now = WITHIN
        return await run(changes, *arguments, **options)

    monkeypatch.setattr(Changes, "run", run_within_office_hours)

    assert timed.archive_all([1]).status_code == (200 if ends else 403)
    assert tables.both() == (({}, before) if ends else (before, {}))
    assert events(path) == [("intent", None), ("outcome", "committed" if ends else "rolled back")]
    assert timed.archive_all([1]).status_code == 403


REFUSALS = {
    "a trigger": "CREATE TRIGGER refuse BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
    " IF NEW.lead_id = 1 THEN SIGNAL SQLSTATE '45000'; END IF",
    "a key": "ALTER TABLE vicidial_list_archive ADD UNIQUE (vendor_lead_code)",
}


@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("archive", ["MyISAM", "Aria"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_batch_whose_statements_have_changed_nothing_when_office_hours_begin_is_refused(
    tables: Tables, new_api: Callable[..., Api], clock: Clock, path: Path, archive: str, refusal: str, pace: str
) -> None:
    """The archive does not take the only new lead, and the DELETE waits for a locked row."""
    tables.set_engines("InnoDB", archive)
    tables.live(1, vendor_lead_code="A")
    tables.live(2, 3)
    tables.archived(2, 3)
    tables.archived(9, vendor_lead_code="A")
    tables.execute("UPDATE vicidial_list SET vendor_lead_code = lead_id, modify_date = modify_date WHERE lead_id > 1")
    tables.execute("UPDATE vicidial_list_archive SET vendor_lead_code = lead_id, modify_date = modify_date WHERE lead_id < 9")
    tables.execute(refusal)
    before = tables.both()
    api = new_api(now=lambda: clock.now, AUDIT_LOG=str(path), PACE=pace, **HOURS)
    with ThreadPoolExecutor(1) as thread, tables.mariadb.connect(tables.database, autocommit=False) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 3 FOR UPDATE")
        batch = thread.submit(api.archive_all, [1, 2, 3])
        tables.wait_until_a_lock_is_in_the_way()
        clock.now = WITHIN
        answer = batch.result()

    assert answer.status_code == 403
    assert tables.both() == before
    intent, outcome = ("intent", None), ("outcome", "rolled back")
    assert (set(events(path)[:-1]), events(path)[-1]) == ({intent}, outcome)  # it has tried more than once


@pytest.fixture
def after_the_first_statements(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Office hours begin when the batch has run statements for the first time."""
    run = Changes.run

    async def run_until_office_hours(changes: Changes, *arguments: Any, **options: Any) -> Any:
        counts = await run(changes, *arguments, **options)
        clock.now = WITHIN
        return counts

    monkeypatch.setattr(Changes, "run", run_until_office_hours)


@pytest.mark.usefixtures("after_the_first_statements")
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("source", ["InnoDB", "MyISAM"])
def test_a_batch_that_has_changed_copies_that_are_not_equal_is_not_said_to_have_changed_nothing(
    tables: Tables,
    new_api: Callable[..., Api],
    clock: Clock,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    pace: str,
) -> None:
    """The archive cannot hold the comment, and refuses one copy of the first UPDATE: MariaDB does not say what it changed."""
    monkeypatch.setattr(chunks, "FULL", Sizes(chunk=5, joined=5, delete=5))
    monkeypatch.setattr(chunks, "GENTLE", Sizes(chunk=5, joined=5, delete=5))
    tables.set_engines(source, "MyISAM")
    leads = list(range(1, 11))
    tables.live(*leads, comments="a comment longer than ten")
    tables.archived(*leads, comments="old")
    tables.execute("ALTER TABLE vicidial_list_archive MODIFY comments VARCHAR(10)")
    tables.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 5 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    live, _ = tables.both()

    answer = new_api(now=lambda: clock.now, AUDIT_LOG=str(path), PACE=pace, **HOURS).archive_all(leads)

    assert (answer.status_code, answer.json()["remaining_lead_ids"]) == (200, leads)
    assert events(path) == [("intent", None), ("outcome", "committed")]
    assert tables.both()[0] == live
    comments = tables.execute("SELECT comments FROM vicidial_list_archive ORDER BY lead_id")
    assert comments == [(b"old" if lead_id == 5 else b"a comment ",) for lead_id in leads]


@pytest.mark.usefixtures("after_the_first_statements")
@pytest.mark.parametrize("archive", ["MyISAM", "Aria"])
def test_a_batch_that_has_changed_nothing_is_asked_again_after_each_rest(
    tables: Tables, new_api: Callable[..., Api], clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch, archive: str
) -> None:
    """The archive refuses all leads but the last one, of which it has a copy."""
    monkeypatch.setattr(chunks, "GENTLE", Sizes(chunk=10, joined=2, delete=5))
    monkeypatch.setattr(chunks, "LONGEST_KEPT", 0.0)
    tables.set_engines("InnoDB", archive)
    leads = list(range(1, 7))
    tables.live(*leads)
    tables.archived(6)
    tables.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id < 6 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    before = tables.both()

    answer = new_api(now=lambda: clock.now, AUDIT_LOG=str(path), PACE="gentle", **HOURS).archive_all(leads)

    assert answer.status_code == 403
    assert events(path) == [("intent", None), ("outcome", "rolled back")]
    assert tables.both() == before


@pytest.mark.parametrize("operation", ["archive_all", "dearchive_all"])
def test_a_batch_for_which_office_hours_begin_during_its_last_look_is_rolled_back(
    tables: Tables, timed: Api, clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Where vicidial_lists is MyISAM, the look may wait for a second."""
    tables.live(1)
    tables.archived(2)
    before = tables.both()
    look = Looker.refuse_changes

    async def look_until_office_hours(looker: Looker, *arguments: Any) -> None:
        await look(looker, *arguments)
        clock.now = WITHIN

    monkeypatch.setattr(Looker, "refuse_changes", look_until_office_hours)

    assert getattr(timed, operation)([1, 2]).status_code == 403
    assert tables.both() == before
    assert events(path) == [("intent", None), ("outcome", "rolled back")]


def test_a_lead_that_gets_into_use_while_the_key_is_looked_up_for_the_last_time_stays(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system of the keys may be slow."""
    tables.live(1)
    before = tables.both()
    refuse = LeadsEndpoint.refuse_again
    times = 0

    async def refuse_slowly(endpoint: LeadsEndpoint, *arguments: Any, **options: Any) -> None:
        nonlocal times
        await refuse(endpoint, *arguments, **options)
        times += 1
        if times == 2:  # the first time is before anything is changed
            tables.run_elsewhere("INSERT INTO vicidial_hopper (lead_id, status) VALUES (1, 'READY')")
            await asyncio.sleep(2 * NEW)

    monkeypatch.setattr(LeadsEndpoint, "refuse_again", refuse_slowly)

    answer = new_api().archive_all([1]).json()

    assert (answer["insert_count"], answer["remaining_lead_ids"]) == (0, [1])
    assert tables.both() == before
    assert times > 2


@pytest.mark.parametrize("operation", ["archive_all", "dearchive_all"])
@pytest.mark.parametrize("takes", [0.0, 1.1], ids=["at once", "after a wait"])
def test_a_batch_whose_key_is_revoked_while_it_waits_is_refused(
    tables: Tables,
    new_api: Callable[..., Api],
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    takes: float,
) -> None:
    """The key is looked up again after a second."""
    tables.live(1)
    tables.archived(2)
    before = tables.both()
    keys_file = write_keys_file(tmp_path)
    api = new_api(API_KEYS_FILE=str(keys_file), AUDIT_LOG=str(path))
    look = Looker.look

    async def look_and_wait(looker: Looker, *arguments: Any, **options: Any) -> Any:
        seen = await look(looker, *arguments, **options)
        if takes:
            keys_file.write_text(NO_KEY)
            await asyncio.sleep(takes)
        return seen

    monkeypatch.setattr(Looker, "look", look_and_wait)
    response = getattr(api, operation)([1, 2])

    if not takes:
        assert response.status_code == 200
        return
    assert (response.status_code, response.json()) == (401, {"message": "unable to validate api user"})
    assert tables.both() == before
    assert not path.exists() or events(path) == []


NO_KEY = f'[[keys]]\nname = "another"\nsha256 = "{"0" * 64}"\n'


CHANGES = {
    "narrowed": (key_entry([101, 102]), key_entry([102])),
    "limited": (key_entry(), key_entry([102])),
    "widened": (key_entry([101]), key_entry([101, 102])),
    "no longer limited": (key_entry([101]), key_entry()),
    "renamed": (key_entry([101]), key_entry([101], "other")),
}
"""The key before and after the change, by what was done to it."""

CHANGED = (503, {"message": "the API key was changed while the request waited; nothing was changed, repeat the request"})
REVOKED = (401, {"message": "unable to validate api user"})


@pytest.fixture
def change_key(
    new_api: Callable[..., Api], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str, type, str], Api]:
    """change_key(before, after, class, method) -> an API whose key is changed in the middle of the next call of the method,
    which then takes longer than a second."""

    def change(before: str, after: str, owner: type, method: str) -> Api:
        keys_file = write_keys_file(tmp_path)
        keys_file.write_text(before)
        api = new_api(API_KEYS_FILE=str(keys_file), AUDIT_LOG=str(path))
        run = getattr(owner, method)

        async def run_and_wait(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(owner, method, run)
            try:
                return await run(*arguments, **options)
            finally:
                keys_file.write_text(after)
                await asyncio.sleep(1.1)

        monkeypatch.setattr(owner, method, run_and_wait)
        return api

    return change


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("operation", ["archive_all", "dearchive_all"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_batch_whose_key_is_changed_while_it_waits_is_refused_and_its_repeat_has_the_rights_of_now(
    tables: Tables, change_key: Callable[..., Api], path: Path, operation: str, change: str
) -> None:
    tables.live(1, list_id=101)
    tables.archived(2, list_id=101)
    before = tables.both()
    api = change_key(*CHANGES[change], Looker, "look")

    response = getattr(api, operation)([1, 2])

    assert (response.status_code, response.json()) == CHANGED
    assert response.headers["Retry-After"] == "5"
    assert tables.both() == before
    assert not path.exists() or events(path) == []
    repeated = getattr(api, operation)([1, 2])
    if change in {"narrowed", "limited"}:
        assert (repeated.status_code, repeated.json()["lead_ids"]) == (404, [1, 2])
        assert tables.both() == before
    else:
        assert (repeated.status_code, repeated.json()["delete_count"]) == (200, 1)


@pytest.mark.parametrize("operation", ["archive_all", "dearchive_all"])
@pytest.mark.parametrize(("after", "answer"), [(key_entry([102]), CHANGED), (NO_KEY, REVOKED)], ids=["narrowed", "revoked"])
def test_a_key_that_is_changed_while_its_batch_waits_learns_of_no_lead(
    tables: Tables, change_key: Callable[..., Api], operation: str, after: str, answer: object
) -> None:
    """Which leads are unknown tells which of the others the key could see."""
    tables.live(1, list_id=101)
    before = tables.both()
    api = change_key(key_entry([101]), after, Mover, "process")

    response = getattr(api, operation)([1, 4])

    assert (response.status_code, response.json()) == answer
    assert tables.both() == before


@pytest.mark.parametrize("operation", ["compare", "find"])
@pytest.mark.parametrize(("after", "answer"), [(key_entry([102]), CHANGED), (NO_KEY, REVOKED)], ids=["narrowed", "revoked"])
def test_a_key_that_is_changed_while_it_looks_gets_no_answer_about_leads(
    tables: Tables, change_key: Callable[..., Api], operation: str, after: str, answer: object
) -> None:
    tables.live(1, list_id=101)
    before = tables.both()
    api = change_key(key_entry([101]), after, Comparer if operation == "compare" else Finder, operation)

    response = api.compare([1]) if operation == "compare" else api.find(where={"list_ids": [101]})

    assert (response.status_code, response.json()) == answer
    assert tables.both() == before


def test_a_key_that_stays_the_same_is_served_however_long_it_waits(tables: Tables, change_key: Callable[..., Api]) -> None:
    tables.live(1, list_id=101)
    before, _ = tables.both()
    api = change_key(key_entry([101]), key_entry([101]) + "expires = 9999-12-31\n", Looker, "look")

    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
