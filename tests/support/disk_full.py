"""The program that test_disk_full.py runs in a namespace with a small disk mounted at LEAD_ARCHIVE_SMALL_DISK."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mariadb import PrivateMariaDB

from service.errors import AuditError
from service.observability.audit_log import Audit
from support.api import Api
from support.databases import BERLIN, create_database, migrate
from support.process import PATIENCE, SLACK
from support.tables import Tables


@pytest.fixture
def small_disk() -> Path:
    return Path(os.environ["LEAD_ARCHIVE_SMALL_DISK"])


@pytest.fixture
def tables(small_disk: Path) -> Iterator[Tables]:
    options = (
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
    )
    with PrivateMariaDB(small_disk / "mariadb", options, timezone=BERLIN) as server:
        create_database(server, "full")
        migrate(server.url("full"), "head")
        tables = Tables(server, "full")
        yield tables
        tables.close()
    shutil.rmtree(small_disk / "mariadb")


def fill(disk: Path) -> Path:
    """Fill the rest of the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return ballast


def test_a_full_disk_is_known_before_a_line_could_not_be_written(small_disk: Path) -> None:
    """Each worker finds out by itself: /readyz may ask one that has written nothing since."""
    path = small_disk / "audit.jsonl"
    for _ in range(2):  # without the file, and with it
        audit = Audit(path)
        assert asyncio.run(audit.problem()) is None
        ballast = fill(small_disk)
        assert asyncio.run(audit.problem()) == "less than 1 MiB is left on its disk"
        ballast.unlink()
        assert asyncio.run(audit.problem()) is None
        path.touch()


def test_a_disk_without_room_for_a_batch_stays_known_where_a_short_line_fits(small_disk: Path) -> None:
    path = small_disk / "audit.jsonl"

    async def write() -> list[str | None]:
        audit = Audit(path)
        ballast = fill(small_disk)
        os.truncate(ballast, ballast.stat().st_size - 8192)
        with pytest.raises(AuditError, match="No space left on device"):
            await audit.batch("archive", "tests", {"lead_ids": list(range(10_000))}).intend([])
        said = [await audit.problem() for _ in range(3)]
        ballast.unlink()
        return [*said, await audit.problem()]

    assert asyncio.run(write()) == [*["less than 1 MiB is left on its disk"] * 3, None]
    assert path.read_text().count("\n") == 1
    assert json.loads(path.read_text())["event"] == "writable again"


def test_the_dialler_waits_briefly_for_a_full_disk(tables: Tables, small_disk: Path, new_api: Callable[..., Api]) -> None:
    """MariaDB waits in the middle of an UPDATE of a table without rollback until there is room, and looks whether there is
    some each minute. MariaDB 10.5 looks only then whether the statement is to end."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.live(*range(1, 201), comments="x" * 250)
    tables.archived(*range(1, 201), comments="y")
    api = new_api(REQUEST_TIMEOUT="40")
    assert api.archive_all([1]).json()["delete_count"] == 1
    ballast = fill(small_disk)
    longest, over = 0.0, threading.Event()

    def dial() -> None:
        nonlocal longest
        with tables.mariadb.connect(tables.database, autocommit=True) as dialler, dialler.cursor() as cursor:
            while not over.is_set():
                began = time.monotonic()
                cursor.execute("UPDATE vicidial_list SET called_count = called_count + 1 WHERE lead_id = 200")
                longest = max(longest, time.monotonic() - began)

    dialler = threading.Thread(target=dial)
    dialler.start()
    answer = api.archive_all(list(range(2, 200)))
    over.set()
    dialler.join()
    ballast.unlink()

    assert answer.status_code == 503, "the disk was not full"
    assert "may have been applied" in answer.json()["message"]
    waits_a_minute = (tables.execute("SELECT VERSION()")[0][0] or b"").startswith(b"10.5.")
    assert longest < (60 if waits_a_minute else 3) + SLACK
    if waits_a_minute:
        return  # the table is sound then
    live = list(tables.rows("vicidial_list"))
    (problem,) = api.get("/readyz").json()["problems"]
    assert problem["remedy"] == "REPAIR TABLE `vicidial_list_archive`"
    assert api.archive_all([200]).status_code == 503
    tables.execute(problem["remedy"])
    assert api.get("/readyz").json()["problems"] == []
    assert api.archive_all(live).json()["remaining_lead_ids"] == []
    assert tables.ids() == ([], list(range(1, 201)))


def test_a_full_disk_loses_nothing(tables: Tables, small_disk: Path, new_api: Callable[..., Api]) -> None:
    leads = range(1, 5001)
    tables.live(*leads, comments="x" * 200, address1="y" * 90)
    before, _ = tables.both()
    api = new_api(REQUEST_TIMEOUT="3")
    assert api.archive_all([1]).status_code == 200
    ballast = fill(small_disk)

    statuses = []
    for first in range(2, 4002, 500):
        started = time.monotonic()
        response = api.archive_all(list(range(first, first + 500)))
        assert time.monotonic() - started < 4 + SLACK
        statuses.append(response.status_code)

    assert 503 in statuses, "the disk was not full"
    assert set(statuses) <= {200, 503}
    ballast.unlink()
    live, archived = tables.both()
    assert archived | live == before
    deadline = time.monotonic() + PATIENCE
    while api.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
    for first in range(1, 5001, 500):
        assert api.archive_all(list(range(first, first + 500))).json()["remaining_lead_ids"] == []
    assert tables.both() == ({}, before)
