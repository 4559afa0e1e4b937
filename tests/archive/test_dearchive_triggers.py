"""Dearchiving where a trigger changes the row that is inserted: no damaged copy stays in vicidial_list, and the archived row
is the lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.remedies import ARCHIVE, LIST, problems
from support.tables import Tables

from service.archive import mover
from service.archive.whole_copies import WholeCopies

PAIRS = [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("InnoDB", "MyISAM"), ("Aria", "InnoDB"), ("InnoDB", "Aria")]


@pytest.fixture
def pair(tables: Tables, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The engines of vicidial_list and of the archive."""
    pair: tuple[str, str] = getattr(request, "param", ("InnoDB", "InnoDB"))
    tables.set_engines(*pair)
    return pair


def test_a_batch_begins_again_once_for_all_its_damaged_copies(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its INSERT is run for a few leads at a time, and a table of Aria prevents savepoints."""
    monkeypatch.setattr(mover, "GENTLE_PART", 3)
    tables.execute("ALTER TABLE vicidial_live_agents ENGINE = Aria")
    tables.execute("INSERT INTO vicidial_live_agents (user) VALUES ('6666')")
    leads = list(range(1, 21))
    tables.archived(*leads)
    _, before = tables.both()
    on_insert(tables, "IF NEW.lead_id IN (2, 3, 8, 14) THEN SET NEW.called_count = NEW.called_count + 1; END IF")
    rollbacks = tables.rollbacks()

    answer = new_api().dearchive_all(leads).json()

    assert tables.rollbacks() - rollbacks == 1
    bad = [2, 3, 8, 14]
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (16, 16, bad)
    assert tables.both() == ({i: before[i] for i in leads if i not in bad}, {i: before[i] for i in bad})


def on_insert(tables: Tables, body: str, when: str = "BEFORE INSERT") -> None:
    tables.execute(f"CREATE TRIGGER of_the_site {when} ON {LIST} FOR EACH ROW BEGIN {body}; END")


@pytest.mark.parametrize("bad", [[], [2], [1, 2, 3]], ids=["none", "one", "all"])
@pytest.mark.parametrize("table", ["vicidial_live_agents", "vicidial_lists"])
def test_a_damaged_copy_is_undone_where_a_table_of_aria_prevents_savepoints(
    tables: Tables, api: Api, table: str, bad: list[int]
) -> None:
    tables.execute(f"ALTER TABLE {table} ENGINE = Aria")
    tables.execute("INSERT INTO vicidial_lists (list_id, active) VALUES (101, 'Y')")
    tables.archived(1, 2, 3, list_id=101)
    _, before = tables.both()
    ids = ", ".join(map(str, bad)) or "NULL"
    on_insert(tables, f"IF NEW.lead_id IN ({ids}) THEN SET NEW.called_count = NEW.called_count + 1; END IF")
    body = {"insert_leads": True, "delete_leads": True, "lead_ids": [1, 2, 3], "where": {"list_active": True}}

    answer = api.dearchive(body).json()

    good = [lead_id for lead_id in before if lead_id not in bad]
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (len(good), len(good), bad)
    assert tables.both() == ({i: before[i] for i in good}, {i: before[i] for i in bad})
    assert problems(api) == []


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.parametrize("damaged", [[3, 4], [3, 60], [3, 60, 120]], ids=str)
@pytest.mark.usefixtures("pair")
def test_damaged_copies_are_undone_if_a_later_statement_is_refused(tables: Tables, api: Api, damaged: list[int]) -> None:
    """An INSERT takes 50 leads. The one of lead 70 is rolled back, and run again for each half of its leads."""
    leads = list(range(1, 131))
    tables.archived(*leads)
    _, before = tables.both()
    on_insert(
        tables,
        "IF NEW.lead_id = 70 THEN SIGNAL SQLSTATE '45000'; END IF;"
        f" IF NEW.lead_id IN ({str(damaged)[1:-1]}) THEN SET NEW.called_count = NEW.called_count + 1; END IF",
    )

    answer = api.dearchive_all(leads).json()

    stay = sorted([*damaged, 70])
    good = [lead_id for lead_id in leads if lead_id not in stay]
    assert tables.both() == ({i: before[i] for i in good}, {i: before[i] for i in stay})
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (len(good), len(good), stay)


@pytest.mark.parametrize(
    "pair", [("InnoDB", archive) for archive in ("InnoDB", "MyISAM", "Aria")], ids="-".join, indirect=True
)
@pytest.mark.parametrize("pace", ["auto", "full", "gentle"])
@pytest.mark.usefixtures("pair", "shortest_search")
def test_a_damaged_copy_is_undone_also_if_a_trigger_refuses_to_delete_it(
    tables: Tables, new_api: Callable[..., Api], pace: str
) -> None:
    """A table of Aria prevents savepoints."""
    tables.execute("ALTER TABLE vicidial_live_agents ENGINE = Aria")
    tables.archived(1, 2, 3)
    _, before = tables.both()
    on_insert(tables, "IF NEW.lead_id = 2 THEN SET NEW.called_count = NEW.called_count + 1; END IF")
    tables.execute(f"CREATE TRIGGER keep BEFORE DELETE ON {LIST} FOR EACH ROW SIGNAL SQLSTATE '45000'")

    answer = new_api(PACE=pace).dearchive_all([1, 2, 3]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 2, [2])
    assert tables.both() == ({1: before[1], 3: before[3]}, {2: before[2]})


CHANGES = [
    "SET NEW.called_count = NEW.called_count + 1",
    "SET NEW.first_name = 'JOSE'",  # the collation calls it equal
    "SET NEW.owner = NULL",  # it was an empty text
    "SET NEW.modify_date = NOW()",
    "SET NEW.last_name = CONCAT(NEW.last_name, ' ')",  # a generated column follows
]


@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_leads_that_a_trigger_changes_stay_in_the_archive(tables: Tables, api: Api) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN full_name VARCHAR(61) AS (CONCAT(first_name, last_name)) VIRTUAL")
    tables.live(99)
    on_insert(tables, "; ".join(f"IF NEW.lead_id = {2 * at} THEN {change}; END IF" for at, change in enumerate(CHANGES, 1)))
    leads = list(range(1, 12))
    for lead_id in leads:
        tables.archived(lead_id, phone_number=str(lead_id), called_count=7)
    before, archived = tables.both()
    assert problems(api) == []

    answer = api.dearchive_all(leads).json()

    assert (answer["select_count"], answer["insert_count"], answer["delete_count"]) == (11, 6, 6)
    assert answer["remaining_lead_ids"] == leads[1::2]
    assert tables.both() == (
        {**{lead_id: archived[lead_id] for lead_id in leads[::2]}, **before},
        {lead_id: archived[lead_id] for lead_id in leads[1::2]},
    )
    # The next archiving finds the archived rows as they were.
    assert api.archive_all(leads).json()["delete_count"] == 6
    assert tables.both() == (before, archived)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_trigger_that_changes_every_row_brings_no_lead_back(tables: Tables, api: Api) -> None:
    tables.archived(*range(1, 8), called_count=5)
    tables.live(4, called_count=5)  # it is in both tables
    on_insert(tables, "SET NEW.called_count = 0")
    before = tables.both()

    for delete in (False, True):
        with capture_logs() as lines:
            answer = api.dearchive({"insert_leads": True, "delete_leads": delete, "lead_ids": [*range(1, 8)]}).json()

        assert (answer["insert_count"], answer["delete_count"]) == (0, int(delete))
        assert answer["remaining_lead_ids"] == ([1, 2, 3, 5, 6, 7] if delete else [])
        live, archived = before
        assert tables.both() == (live, {number: row for number, row in archived.items() if number != 4 or not delete})
        (line,) = [line for line in lines if line["event"] == "damaged copies undone"]
        assert (line["lead_ids"], line["log_level"]) == ([1, 2, 3, 5, 6, 7], "warning")


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_trigger_that_refuses_some_rows_and_changes_others(tables: Tables, api: Api) -> None:
    on_insert(
        tables,
        "IF NEW.lead_id IN (5, 11) THEN SIGNAL SQLSTATE '45000'; END IF;"
        " IF NEW.lead_id IN (2, 4, 9) THEN SET NEW.status = 'X'; END IF",
    )
    leads = list(range(1, 14))
    tables.archived(*leads)
    _, archived = tables.both()

    with capture_logs() as lines:
        answer = api.dearchive_all(leads).json()

    kept = [2, 4, 5, 9, 11]
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (8, 8, kept)
    assert tables.both() == (
        {number: archived[number] for number in leads if number not in kept},
        {number: archived[number] for number in kept},
    )
    assert sorted(line["lead_id"] for line in lines if line["event"] == "lead left alone") == [5, 11]
    events = {line["event"]: line["lead_ids"] for line in lines if "damaged copies" in line["event"]}
    assert events == {"damaged copies undone": [2, 4, 9]}


@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("InnoDB", "Aria")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_damaged_copies_of_a_statement_that_failed_do_not_count(tables: Tables, api: Api) -> None:
    """InnoDB has rolled them back. The copies that the next statement makes are whole."""
    on_insert(
        tables,
        "IF @has_failed IS NULL AND NEW.lead_id = 3 THEN SET @has_failed = 1; SIGNAL SQLSTATE '45000'; END IF;"
        " IF @has_failed IS NULL THEN SET NEW.status = 'X'; END IF",
    )
    leads = list(range(1, 6))
    tables.archived(*leads)
    _, archived = tables.both()

    with capture_logs() as lines:
        answer = api.dearchive_all(leads).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (5, 5, [])
    assert tables.both() == (archived, {})
    assert not [line for line in lines if "damaged copies" in line["event"]]


@pytest.mark.parametrize("pair", PAIRS[:2], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_trigger_that_gives_another_lead_id_makes_no_lead(tables: Tables, api: Api) -> None:
    on_insert(tables, "IF NEW.lead_id = 2 THEN SET NEW.lead_id = 77; ELSEIF NEW.lead_id = 3 THEN SET NEW.lead_id = 8; END IF")
    tables.archived(1, 2, 3, 8)
    tables.live(9)
    before, archived = tables.both()

    answer = api.dearchive_all([1, 2, 3]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (1, 1, [2, 3])
    assert tables.both() == ({1: archived[1], **before}, {number: archived[number] for number in (2, 3, 8)})


@pytest.mark.parametrize("pair", [("MyISAM", "MyISAM"), ("Aria", "InnoDB")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("whole", [False, True])
def test_a_damaged_copy_that_another_trigger_has_refused_too_late_is_named(tables: Tables, api: Api, whole: bool) -> None:
    """The INSERT fails, and RETURNING does not see the row. Without rollback it is there."""
    if not whole:
        on_insert(tables, "IF NEW.lead_id = 2 THEN SET NEW.status = 'BAD'; END IF")
    tables.execute(
        f"CREATE TRIGGER late AFTER INSERT ON {LIST} FOR EACH ROW IF NEW.lead_id = 2 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    tables.archived(1, 2, 3)
    _, archived = tables.both()

    with capture_logs() as lines:
        answer = api.dearchive_all([1, 2, 3]).json()

    kept = [] if whole else [2]
    assert (answer["insert_count"], answer["remaining_lead_ids"]) == (3, kept)
    live, left = tables.both()
    assert (sorted(live), left) == ([1, 2, 3], {lead_id: archived[lead_id] for lead_id in kept})
    named = [(line["lead_ids"], line["count"]) for line in lines if line["event"] == "damaged copies left"]
    assert named == [([lead_id], 1) for lead_id in kept]


@pytest.mark.parametrize("pair", [("MyISAM", "MyISAM"), ("Aria", "InnoDB")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_damaged_copy_that_somebody_has_written_to_is_not_deleted(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rollback, the dialler may write to the copy before it is deleted. Its write would be lost."""
    on_insert(tables, "SET NEW.called_count = 0")
    tables.execute(
        f"CREATE TRIGGER keep BEFORE DELETE ON {LIST} FOR EACH ROW IF OLD.lead_id = 3 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    tables.archived(1, 2, 3, called_count=5)
    _, archived = tables.both()
    insert = WholeCopies._insert

    async def insert_and_write(*arguments: Any) -> Any:
        result = await insert(*arguments)
        tables.execute(f"UPDATE {LIST} SET status = 'CALLED' WHERE lead_id = 1")
        return result

    monkeypatch.setattr(WholeCopies, "_insert", insert_and_write)

    with capture_logs() as lines:
        answer = api.dearchive_all([1, 2, 3]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 0, [1, 2, 3])
    live, after = tables.both()
    assert (list(live), after) == ([1, 3], archived)
    assert b"CALLED" in live[1]
    events = {line["event"]: line["lead_ids"] for line in lines if "damaged copies" in line["event"]}
    assert events == {"damaged copies undone": [2], "damaged copies left": [1, 3]}


@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_trigger_that_deletes_the_archived_row_with_the_live_one_harms_none(tables: Tables, api: Api) -> None:
    on_insert(tables, "SET NEW.called_count = 0")
    tables.execute(
        f"CREATE TRIGGER both_ways AFTER DELETE ON {LIST} FOR EACH ROW DELETE FROM {ARCHIVE} WHERE lead_id = OLD.lead_id"
    )
    tables.archived(1, 2, called_count=5)
    _, archived = tables.both()

    answer = api.dearchive_all([1, 2]).json()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (0, [1, 2])
    assert tables.both()[1] == archived


def test_what_a_trigger_wrote_for_a_copy_that_is_undone_is_undone_too(tables: Tables, api: Api) -> None:
    tables.execute("CREATE TABLE inserted (lead_id INT UNSIGNED PRIMARY KEY)")
    on_insert(tables, "INSERT INTO inserted VALUES (NEW.lead_id); IF NEW.lead_id = 2 THEN SET NEW.status = 'X'; END IF")
    tables.archived(1, 2, 3)

    assert api.dearchive_all([1, 2, 3]).json()["remaining_lead_ids"] == [2]

    assert [int(number or b"") for (number,) in tables.execute("SELECT lead_id FROM inserted ORDER BY 1")] == [1, 3]
    assert tables.ids() == ([1, 3], [2])


@pytest.mark.parametrize("when", ["BEFORE INSERT", "BEFORE UPDATE"])
@pytest.mark.parametrize("pair", [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_copy_that_a_trigger_of_the_archive_changes_keeps_the_lead_in_the_list(tables: Tables, api: Api, when: str) -> None:
    tables.live(1, 2, 3)
    tables.archived(2, 3, status="OLD")
    before, _ = tables.both()
    lead_id = 1 if when == "BEFORE INSERT" else 2
    tables.execute(
        f"CREATE TRIGGER of_the_site {when} ON {ARCHIVE} FOR EACH ROW"
        f" BEGIN IF NEW.lead_id = {lead_id} THEN SET NEW.owner = 'archive'; END IF; END"
    )

    answer = api.archive_all([1, 2, 3]).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (1, 2, 2)
    assert answer["remaining_lead_ids"] == [lead_id]
    live, archived = tables.both()
    assert live == {lead_id: before[lead_id]}
    assert sorted(archived) == [1, 2, 3]
    assert {number: row for number, row in archived.items() if number != lead_id} == {
        number: row for number, row in before.items() if number != lead_id
    }


@pytest.mark.parametrize("pair", [("MyISAM", "MyISAM"), ("MyISAM", "InnoDB")], ids="-".join, indirect=True)
@pytest.mark.usefixtures("pair")
def test_a_lead_that_another_program_inserts_when_its_damaged_copy_was_deleted_is_not_taken_for_one(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_insert(tables, "IF NEW.lead_id = 2 AND @whole IS NULL THEN SET NEW.owner = 'T'; END IF")
    tables.archived(1, 2)
    _, archived = tables.both()
    delete = WholeCopies._delete_damaged

    async def delete_and_insert(*arguments: Any) -> int:
        count = await delete(*arguments)
        tables.execute("SET @whole = 1")
        tables.execute(f"INSERT INTO {LIST} SELECT * FROM {ARCHIVE} WHERE lead_id = 2")
        return count

    monkeypatch.setattr(WholeCopies, "_delete_damaged", delete_and_insert)

    with capture_logs() as lines:
        answer = api.dearchive({"insert_leads": True, "delete_leads": False, "lead_ids": [1, 2]}).json()

    assert answer["insert_count"] == 1
    assert [line["event"] for line in lines if line["event"].startswith("damaged")] == ["damaged copies undone"]
    assert tables.both() == (archived, archived)
