"""What --resume continues, and damaged or foreign journals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.api import KEY
from support.client import Client
from support.fake_service import Reply, fake, moved
from support.process import ServiceProcess
from support.tables import Tables

from lead_archive.operations import UNKNOWN

OTHER_KEY = "another-key-0123456789abcdef"
FEW = ["--json", "--jobs", 1, "--retry-for", 0]


@pytest.fixture
def client(environment: dict[str, str], tmp_path: Path) -> Iterator[Client]:
    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "2"}) as service:
        yield Client(tmp_path, service.base_url)


def test_what_was_unknown_is_tried_again_and_nothing_else(client: Client, tables: Tables) -> None:
    tables.live(1, 2, 4)
    before, _ = tables.both()
    file = client.write("leads", "1-5")
    first = client.invoke("archive", file, *FEW)
    assert (first.status, first.counts()) == (1, {"asked": 5, "moved": 3, "unknown": 2, "inserted": 3})

    again = client.invoke("archive", file, "--resume", *FEW)
    assert (again.status, again.counts()) == (1, first.counts())
    assert client.read("leads.archive.left.csv") == ["lead_id,reason", f"3,{UNKNOWN}", f"5,{UNKNOWN}"]

    tables.live(3)
    before |= tables.both()[0]
    third = client.invoke("archive", file, "--resume", *FEW)

    assert (third.status, third.counts()) == (1, {"asked": 5, "moved": 4, "unknown": 1, "inserted": 4})
    assert client.read("leads.archive.left.csv") == ["lead_id,reason", f"5,{UNKNOWN}"]
    assert tables.both() == ({}, before)


def seen(keys: dict[str, set[int]], asked: list[list[int]]) -> Any:
    """A service that shows different leads to each key."""

    def answer(_: str, body: dict[str, Any]) -> Reply:
        asked.append(body["lead_ids"])
        unknown = [lead_id for lead_id in body["lead_ids"] if lead_id not in keys["now"]]
        if unknown:
            return Reply({"message": "lead_ids does not exist", "lead_errors": len(unknown), "lead_ids": unknown}, 404)
        return moved(body)

    return answer


def test_another_key_is_noticed_and_sees_what_was_unknown(tmp_path: Path) -> None:
    keys, asked = {"now": {1, 2, 4}}, list[list[int]]()
    with fake(seen(keys, asked)) as url:
        client = Client(tmp_path, url)
        file = client.write("leads", "1-6")
        assert client.invoke("archive", file, *FEW).counts() == {"asked": 6, "moved": 3, "unknown": 3, "inserted": 3}
        same = client.invoke("archive", file, "--resume", *FEW)
        assert "the key is not the one" not in same.errors

        keys["now"], asked[:] = {3, 5}, []
        other = client.invoke("archive", file, "--resume", *FEW, environment={"LEAD_ARCHIVE_KEY": OTHER_KEY})

    assert "the key differs from that of the earlier run; unknown leads are sent again" in other.errors
    assert other.counts() == {"asked": 6, "moved": 5, "unknown": 1, "inserted": 5}
    assert asked == [[3], [5, 6], [5]]


def test_the_journal_does_not_hold_the_key_nor_anything_it_could_be_guessed_by(client: Client, tables: Tables) -> None:
    tables.live(1)
    marks = []
    for journal in ("one", "two"):
        client.invoke("archive", client.write("leads", 1), "--journal", journal)
        content = (client.folder / journal).read_bytes()
        assert KEY.encode() not in content
        with closing(sqlite3.connect(client.folder / journal)) as database:
            marks.append(dict(database.execute("SELECT name, value FROM run"))["key"])
    assert marks[0] != marks[1]


def test_a_failed_batch_and_unknown_leads_are_tried_again_together(tmp_path: Path) -> None:
    state = {"broken": True}

    def answer(_: str, body: dict[str, Any]) -> Reply:
        if 9 in body["lead_ids"]:
            return Reply({"message": "lead_ids does not exist", "lead_errors": 1, "lead_ids": [9]}, 404)
        if 4 in body["lead_ids"] and state["broken"]:
            return Reply({"message": "later"}, 503)
        return moved(body)

    with fake(answer) as url:
        client = Client(tmp_path, url)
        file = client.write("leads", "1-9")
        first = client.invoke("archive", file, *FEW)
        assert first.counts() == {"asked": 9, "moved": 5, "failed": 3, "unknown": 1, "inserted": 5}
        refused = client.invoke("archive", file, *FEW)
        assert "6 of 9 leads are done" in refused.errors
        state["broken"] = False
        second = client.invoke("archive", file, "--resume", *FEW)

    assert second.counts() == {"asked": 9, "moved": 8, "unknown": 1, "inserted": 8}


def test_a_run_with_unknown_leads_is_finished(client: Client) -> None:
    file = client.write("leads", 1)
    assert client.invoke("archive", file, *FEW).counts() == {"asked": 1, "unknown": 1}
    assert client.invoke("archive", file, *FEW).counts() == {"asked": 1, "unknown": 1}


OLD = """
PRAGMA application_id = 1818325607;
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batch (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, failed INTEGER NOT NULL, counts TEXT NOT NULL);
CREATE TABLE left_behind (lead_id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, reason TEXT NOT NULL);
INSERT INTO run VALUES ('identity', '{"leads": 3}'), ('started', '2026-11-23 20:00'), ('batch_size', '2');
INSERT INTO batch VALUES (0, 2, 0, '{"moved": 2}');
"""


def journal(folder: Path, *more: str) -> None:
    """Write a journal of release 0.1 in which two of three leads are done."""
    with closing(sqlite3.connect(folder / "leads.archive.journal", isolation_level=None)) as database:
        database.executescript(OLD.replace("1818325607", str(0x6C617263)))
        for statement in more:
            database.execute(statement)


def test_a_journal_of_another_release_is_not_gone_on_with(client: Client, tables: Tables) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    file = client.write("leads", "1-3")
    journal(client.folder)
    refused = client.invoke("archive", file, "--resume")
    assert (refused.status, refused.output) == (2, "")
    assert "error: another release of lead-archive wrote the journal leads.archive.journal" in refused.errors
    assert "2 of 3 leads are done" in client.invoke("archive", file).errors
    assert tables.both() == (before, {})

    assert client.invoke("archive", file, "--start-over", *FEW).counts() == {"asked": 3, "moved": 3, "inserted": 3}


def test_a_finished_journal_of_another_release_makes_room(client: Client) -> None:
    file = client.write("leads", 1)
    journal(client.folder, "INSERT INTO batch VALUES (1, 1, 0, '{}')")
    assert client.invoke("archive", file, *FEW).counts() == {"asked": 1, "unknown": 1}


def test_a_journal_of_a_later_release_is_left_alone(client: Client) -> None:
    file = client.write("leads", 1)
    journal(client.folder, "PRAGMA user_version = 99", "ALTER TABLE batch DROP COLUMN counts")
    for options in ([], ["--resume"]):
        refused = client.invoke("archive", file, *options)
        assert refused.status == 2
        assert "another release of lead-archive wrote the journal" in refused.errors


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE batch",
        "UPDATE run SET value = 'x' WHERE name = 'identity'",
        "UPDATE run SET value = '[]' WHERE name = 'identity'",
        "DELETE FROM run WHERE name = 'identity'",
        "UPDATE run SET value = 'x' WHERE name = 'salt'",
        "UPDATE run SET value = 'x' WHERE name = 'batch_size'",
        "UPDATE batch SET counts = '{'",
        "UPDATE batch SET counts = '[1]'",
        'UPDATE batch SET counts = \'{"moved": "x"}\'',
    ],
)
def test_a_damaged_journal_is_told(client: Client, damage: str) -> None:
    file = client.write("leads", "1-3")
    client.invoke("archive", file)
    with closing(sqlite3.connect(client.folder / "leads.archive.journal", isolation_level=None)) as database:
        database.execute(damage)

    result = client.invoke("archive", file, "--resume")

    assert result.status == 2
    assert "the journal leads.archive.journal is damaged: start again" in result.errors


def test_a_journal_that_is_found_damaged_in_the_middle_of_a_run_is_not_to_be_gone_on_with(client: Client) -> None:
    file = client.write("leads", "1-5")
    client.invoke("archive", file)
    with closing(sqlite3.connect(client.folder / "leads.archive.journal", isolation_level=None)) as database:
        database.execute("DELETE FROM batch WHERE number = 1")
        database.execute("DROP TABLE left_behind")

    result = client.invoke("archive", file, "--resume", "--json")

    assert (result.status, json.loads(result.output)["not_sent"]) == (2, 2)
    assert "the journal leads.archive.journal is damaged: start again with --start-over" in result.errors
    assert "--resume" not in result.errors


def test_a_name_that_sqlite_takes_for_memory_is_a_file(client: Client) -> None:
    file = client.write("leads", 1)
    assert client.invoke("archive", file, "--journal", ":memory:").status == 1
    assert json.loads(client.invoke("archive", file, "--journal", ":memory:", "--resume", "--json").output)["unknown"] == 1


def test_two_runs_cannot_share_a_journal(tmp_path: Path) -> None:
    with fake(lambda *_: Reply({"message": "later"}, 503, {"Retry-After": "60"})) as url:
        client = Client(tmp_path, url)
        file = client.write("leads", 1)
        with client.start("archive", file) as running:
            running.wait_until_it_says("503 later")
            for options in ([], ["--resume"], ["--start-over"]):
                result = client.run("archive", file, *options)
                assert result.status == 2
                assert "another lead-archive uses the journal leads.archive.journal" in result.errors
