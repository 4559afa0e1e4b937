"""Office hours that begin, and keys that are revoked, while a batch waits: for its body, its turn, or a lead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.auditor import events
from support.settings import write_keys_file
from support.tables import Tables

from service.archive.look import Looker
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

    async def look_until_office_hours(looker: Looker, *arguments: Any) -> Any:
        seen = await look(looker, *arguments)
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


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_batch_that_has_begun_to_change_when_office_hours_begin_ends(
    tables: Tables, timed: Api, clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    run = Changes.run

    async def run_within_office_hours(changes: Changes, *arguments: Any, **options: Any) -> Any:
        clock.now = WITHIN
        return await run(changes, *arguments, **options)

    monkeypatch.setattr(Changes, "run", run_within_office_hours)

    assert timed.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    assert events(path) == [("intent", None), ("outcome", "committed")]
    assert timed.archive_all([1]).status_code == 403


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

    async def look_and_wait(looker: Looker, *arguments: Any) -> Any:
        seen = await look(looker, *arguments)
        if takes:
            keys_file.write_text(f'[[keys]]\nname = "another"\nsha256 = "{"0" * 64}"\n')
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
