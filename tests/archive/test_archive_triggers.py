"""Tables without rollback whose target has triggers: only the DELETE of the service, which compares, deletes leads from the
source. A trigger that tries to is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pytest
from mariadb import PrivateMariaDB
from support.api import Api
from support.remedies import ARCHIVE, LIST
from support.tables import Tables

from service.archive import chunks
from service.archive.chunks import Chunks, Sizes
from service.archive.lead_ids import LeadIDs
from service.archive.look import Looker, Seen
from service.tables.definitions import TablePair

PAIRS = [("MyISAM", "MyISAM"), ("MyISAM", "InnoDB")]
ACCOUNT = "'sees_no_triggers'@'127.0.0.1'"

CONDITIONS = {"TRUE": [1, 2, 3], "NEW.lead_id = 2": [2], "NEW.lead_id = 99": []}
"""Conditions of a trigger, each with the leads that meet it."""


@pytest.fixture
def pair(tables: Tables, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The engines of vicidial_list and of the archive."""
    pair: tuple[str, str] = getattr(request, "param", ("MyISAM", "MyISAM"))
    tables.set_engines(*pair)
    return pair


@pytest.fixture
def api(tables: Tables, pair: tuple[str, str], mariadb: PrivateMariaDB, new_api: Callable[..., Api]) -> Iterator[Api]:
    """An API whose account may create temporary tables, and has no privilege to see triggers."""
    del pair
    tables.execute(f"CREATE OR REPLACE USER {ACCOUNT} IDENTIFIED BY 'secret'")
    tables.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON {tables.database}.* TO {ACCOUNT}")
    yield new_api(
        DATABASE_URL=f"mysql+asyncmy://sees_no_triggers:secret@127.0.0.1:{mariadb.port}/{tables.database}", PACE="full"
    )
    tables.execute(f"DROP USER {ACCOUNT}")


def make_trigger(tables: Tables, way: str, timing: str, condition: str, source: str, target: str) -> None:
    """A trigger of the target deletes the lead from the source."""
    delete = f"DELETE FROM {source} WHERE lead_id"
    tables.execute("CREATE OR REPLACE TABLE log_of_the_site (lead_id INT) ENGINE = MyISAM")
    tables.execute(f"CREATE TRIGGER of_the_log AFTER INSERT ON log_of_the_site FOR EACH ROW {delete} = NEW.lead_id")
    tables.execute(f"CREATE OR REPLACE VIEW view_of_the_site AS SELECT lead_id FROM {source}")
    tables.execute(
        "CREATE OR REPLACE FUNCTION function_of_the_site(id INT) RETURNS INT MODIFIES SQL DATA"
        f" BEGIN {delete} = id; RETURN 1; END"
    )
    body = {
        "itself": f"{delete} = NEW.lead_id",
        "a view": "DELETE FROM view_of_the_site WHERE lead_id = NEW.lead_id",
        "a function": "SET @deleted = function_of_the_site(NEW.lead_id)",
        "a third table": "INSERT INTO log_of_the_site VALUES (NEW.lead_id)",
    }[way]
    tables.execute(
        f"CREATE OR REPLACE TRIGGER of_the_site {timing} INSERT ON {target} FOR EACH ROW IF {condition} THEN {body}; END IF"
    )


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> Callable[[str], None]:
    """Have the dialler write to leads after the batch has copied them into its temporary table, if it does."""

    def after_staging(statement: str) -> None:
        stage = Chunks._stage

        async def staged_before(chunks: Chunks, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
            source = await stage(chunks, pair, leads)
            tables.execute(statement)
            return source

        monkeypatch.setattr(Chunks, "_stage", staged_before)

    return after_staging


@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("way", ["itself", "a view", "a function", "a third table"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
def test_a_trigger_of_the_archive_deletes_no_lead(
    tables: Tables, api: Api, pair: tuple[str, str], dial: Callable[[str], None], way: str, timing: str
) -> None:
    dial(f"UPDATE {LIST} SET status = 'XFER'")
    for condition, refused in CONDITIONS.items():
        tables.live(1, 2, 3)
        make_trigger(tables, way, timing, condition, LIST, ARCHIVE)

        answer = api.archive_all([1, 2, 3])

        # An archive without rollback keeps the copy at which an AFTER trigger failed. The service's own DELETE compares it.
        stay = [] if timing == "AFTER" and pair[1] != "InnoDB" else refused
        moved = [lead_id for lead_id in (1, 2, 3) if lead_id not in stay]
        assert answer.status_code == 200
        assert (answer.json()["insert_count"], answer.json()["delete_count"]) == (len(moved), len(moved))
        assert answer.json()["remaining_lead_ids"] == stay
        assert tables.ids() == (stay, moved)
        for table in (LIST, ARCHIVE):
            assert {status for (status,) in tables.execute(f"SELECT status FROM {table}")} <= {b"XFER"}
            tables.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("way", ["itself", "a third table"])
@pytest.mark.parametrize("pair", [*PAIRS, ("InnoDB", "MyISAM")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_trigger_of_vicidial_list_deletes_no_archived_lead(tables: Tables, api: Api, way: str, timing: str) -> None:
    for condition, refused in CONDITIONS.items():
        tables.archived(1, 2, 3)
        _, archived = tables.both()
        make_trigger(tables, way, timing, condition, ARCHIVE, LIST)

        answer = api.dearchive_all([1, 2, 3])

        live, left = tables.both()
        assert answer.status_code == 200
        assert archived == {**live, **left} == {**left, **live}
        assert (answer.json()["delete_count"], answer.json()["remaining_lead_ids"]) == (3 - len(left), list(left))
        if timing == "BEFORE":
            assert (list(live), list(left)) == ([lead_id for lead_id in (1, 2, 3) if lead_id not in refused], refused)
        for table in (LIST, ARCHIVE):
            tables.execute("DROP TRIGGER IF EXISTS of_the_site")
            tables.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.parametrize(
    "trigger",
    [
        "BEFORE INSERT ON {table} FOR EACH ROW SET NEW.rank = NEW.rank + 0",
        "BEFORE INSERT ON {table} FOR EACH ROW SET @last_lead_id = NEW.lead_id",
        "AFTER INSERT ON {table} FOR EACH ROW INSERT INTO log_of_the_site VALUES (NEW.lead_id)",
        "AFTER UPDATE ON {table} FOR EACH ROW DELETE FROM {other} WHERE lead_id = NEW.lead_id",
    ],
    ids=["sets a column", "sets a variable", "writes a log", "of UPDATE"],
)
@pytest.mark.usefixtures("pair")
def test_leads_are_moved_where_a_harmless_trigger_runs(tables: Tables, api: Api, trigger: str) -> None:
    tables.live(1, 2, 3)
    before, _ = tables.both()
    tables.execute("CREATE TABLE log_of_the_site (lead_id INT) ENGINE = MyISAM")
    for number, (table, other) in enumerate([(ARCHIVE, LIST), (LIST, ARCHIVE)]):
        tables.execute(f"CREATE TRIGGER of_the_site_{number} {trigger.format(table=table, other=other)}")

    there = api.archive_all([1, 2, 3]).json()
    assert tables.both() == ({}, before)
    back = api.dearchive_all([1, 2, 3]).json()
    assert tables.both() == (before, {})

    for answer in (there, back):
        assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 3, [])
    logged = sorted(int(lead_id or b"") for (lead_id,) in tables.execute("SELECT lead_id FROM log_of_the_site"))
    assert logged == ([1, 1, 2, 2, 3, 3] if "log" in trigger else [])


def staged(tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, lead_id: int, where: Mapping[str, Any]) -> bool:
    """Archive a lead. Return whether INSERT has read it from a temporary table."""
    stage, sources = Chunks._stage, []

    async def noted(chunks: Chunks, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
        sources.append(await stage(chunks, pair, leads))
        return sources[-1]

    tables.live(lead_id)
    with monkeypatch.context() as patch:
        patch.setattr(Chunks, "_stage", noted)
        answer = api.archive({**api.ALL, "lead_ids": [lead_id], **where}).json()
    assert answer["delete_count"] == 1
    return sources != [None]


def test_only_a_trigger_that_uses_another_table_makes_insert_read_vicidial_list(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables that the conditions of the request read do not matter."""
    tables.execute("CREATE TABLE log_of_the_site (lead_id INT) ENGINE = MyISAM")
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id) VALUES (998, 'X')")
    where = {"where": {"campaign_ids": ["X"]}}

    assert staged(tables, api, monkeypatch, 1, {})
    assert staged(tables, api, monkeypatch, 2, where)
    tables.execute(f"CREATE TRIGGER of_the_site BEFORE INSERT ON {ARCHIVE} FOR EACH ROW SET @last_lead_id = NEW.lead_id")
    assert staged(tables, api, monkeypatch, 3, where)
    tables.execute(f"CREATE TRIGGER log AFTER INSERT ON {ARCHIVE} FOR EACH ROW INSERT INTO log_of_the_site VALUES (1)")
    assert not staged(tables, api, monkeypatch, 4, where)
    tables.execute("DROP TRIGGER log")
    assert staged(tables, api, monkeypatch, 5, {})
    tables.execute("FLUSH TABLES")
    assert staged(tables, api, monkeypatch, 6, {})


def test_a_trigger_that_is_created_between_two_chunks(tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FULL", Sizes(chunk=2, joined=2, delete=2))
    tables.live(1, 2, 3, 4)
    before, _ = tables.both()
    look = Looker.look
    looks = 0

    async def create_before_the_second(*arguments: Any, **named: Any) -> Seen:
        nonlocal looks
        looks += 1
        if looks == 2:
            make_trigger(tables, "itself", "BEFORE", "TRUE", LIST, ARCHIVE)
        return await look(*arguments, **named)

    monkeypatch.setattr(Looker, "look", create_before_the_second)

    answer = api.archive_all([1, 2, 3, 4]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 2, [3, 4])
    assert tables.both() == ({3: before[3], 4: before[4]}, {1: before[1], 2: before[2]})


def test_no_trigger_can_be_created_between_the_test_of_the_insert_and_the_insert(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither can a function that a trigger uses be replaced."""
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute("CREATE FUNCTION function_of_the_site(id INT) RETURNS INT RETURN id")
    tables.execute(
        f"CREATE TRIGGER of_the_site AFTER INSERT ON {ARCHIVE} FOR EACH ROW SET @last = function_of_the_site(NEW.lead_id)"
    )
    stage = Chunks._stage
    errors = []

    def create(statement: str) -> None:
        with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout = 1")
            with pytest.raises(pymysql.err.OperationalError) as error:
                cursor.execute(statement)
            errors.append(error.value.args[0])

    async def create_afterwards(chunks: Chunks, pair: TablePair, leads: LeadIDs) -> Mapping[str, str] | None:
        source = await stage(chunks, pair, leads)
        delete = f"DELETE FROM {LIST} WHERE lead_id"
        with ThreadPoolExecutor(2) as threads:
            for statement in (
                f"CREATE TRIGGER another AFTER INSERT ON {ARCHIVE} FOR EACH ROW {delete} = NEW.lead_id",
                "CREATE OR REPLACE FUNCTION function_of_the_site(id INT) RETURNS INT MODIFIES SQL DATA"
                f" BEGIN {delete} = id; RETURN 1; END",
            ):
                threads.submit(create, statement).result()
        return source

    monkeypatch.setattr(Chunks, "_stage", create_afterwards)

    answer = api.archive_all([1, 2]).json()

    assert errors == [1205, 1205]
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 2, [])
    assert tables.both() == ({}, before)
