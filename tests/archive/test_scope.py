"""Keys with list_ids: a lead of another list is answered like one that does not exist, by the same statements."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.api import Api
from support.settings import key_entry
from support.tables import Tables

from service.archive import chunks
from service.archive.chunks import Chunks, Sizes
from service.archive.finder import Finder
from service.archive.lead_ids import LeadIDs
from service.archive.scope import visible_leads as visible_leads_of
from service.database.transaction import Transaction
from service.tables.in_use import MOST_NEARBY

CALLS = ["archive_all", "dearchive_all", "compare"]

MOVES = CALLS[:2]

UNKNOWN = 900007

FOREIGN = {"live": 900003, "archived": 900004, "in no list": 900006, "reused": 900008}
"""Leads that the restricted key must not see, by where they are."""


@pytest.fixture
def restricted(tables: Tables, new_api: Callable[..., Api], keys_file: Path) -> Api:
    """An API whose key sees the leads of the lists 101 and 102, and leads: 1, 2 and 5 in these, FOREIGN in others."""
    keys_file.write_text(key_entry([102, 101]))
    tables.live(1, list_id=101)
    tables.archived(2, list_id=102)
    tables.live(5, list_id=102)
    tables.archived(5, list_id=103)
    tables.live(FOREIGN["live"], list_id=103)
    tables.archived(FOREIGN["archived"], list_id=999)
    tables.live(FOREIGN["in no list"], list_id=0)
    tables.live(FOREIGN["reused"], list_id=103)
    tables.archived(FOREIGN["reused"], list_id=101)  # an older copy: what counts is where the lead is now
    return new_api(REQUEST_TIMEOUT="3")


class Sent:
    """The statements that the service sends. `then` is called once, after the statement that looks at the lists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.round_trips: list[str] = []
        self.then: Callable[[], object] | None = None
        send = Transaction._send

        @asynccontextmanager
        async def watched(transaction: Transaction, statements: Sequence[str], **options: Any) -> AsyncIterator[Any]:
            self.round_trips.append(";\n".join(statements))
            async with send(transaction, statements, **options) as cursor:
                yield cursor
            if self.then and re.search(r"list_id\)? IN", self.round_trips[-1]):
                then, self.then = self.then, None
                then()

        monkeypatch.setattr(Transaction, "_send", watched)

    def taken(self) -> list[str]:
        """Return the statements of each round trip since the last call."""
        taken, self.round_trips = self.round_trips, []
        return taken


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


def call(api: Api, operation: str, lead_ids: list[int]) -> httpx2.Response:
    response: httpx2.Response = getattr(api, operation)(lead_ids)
    return response


@pytest.mark.parametrize("operation", MOVES)
def test_leads_of_other_lists_are_unknown(restricted: Api, tables: Tables, operation: str) -> None:
    before = tables.both()
    hidden = [UNKNOWN, *FOREIGN.values()]

    response = call(restricted, operation, [*hidden, 5, 2, 1])

    assert response.status_code == 404
    # 5 has rows in two lists: what counts is the live one.
    assert response.json() == {"message": "lead_ids does not exist", "lead_errors": len(hidden), "lead_ids": hidden}
    assert tables.both() == before


@pytest.mark.parametrize("operation", CALLS)
def test_a_lead_of_another_list_takes_the_same_statements_as_an_unknown_one(
    restricted: Api, tables: Tables, sent: Sent, operation: str
) -> None:
    before = tables.both()
    call(restricted, operation, [UNKNOWN])  # the first batch reads the definitions of the tables
    sent.taken()

    def answer(lead_id: int) -> tuple[int, str, list[str]]:
        response = call(restricted, operation, [lead_id])
        texts = [text.replace(str(lead_id), "ID") for text in (response.text, *sent.taken())]
        return response.status_code, texts[0], texts[1:]

    expected = answer(UNKNOWN)
    assert {place: answer(lead_id) for place, lead_id in FOREIGN.items()} == dict.fromkeys(FOREIGN, expected)
    assert tables.both() == before


@pytest.mark.parametrize("operation", CALLS)
def test_only_the_look_at_lists_names_leads_of_other_lists(
    restricted: Api, tables: Tables, sent: Sent, operation: str
) -> None:
    before = tables.both()

    call(restricted, operation, [1, 2, 5, UNKNOWN, *FOREIGN.values()])

    statements = sent.taken()
    for lead_id in (UNKNOWN, *FOREIGN.values()):
        naming = [statement for statement in statements if str(lead_id) in statement]
        assert len(naming) == 2  # the same statement, asked once more
        for statement in naming:
            assert "FOR UPDATE" not in statement
            assert "list_id IN" in statement
    assert tables.both() == before


def test_a_lead_that_goes_to_another_list_in_the_middle_of_a_search_is_not_found(
    restricted: Api, tables: Tables, sent: Sent
) -> None:
    tables.archived(2002, list_id=101, status="SALE")
    assert restricted.find(where={"statuses": ["NEW"]}, **{"in": "archive"}).json()["lead_ids"] == []
    sent.then = lambda: tables.execute("UPDATE vicidial_list_archive SET list_id = 103, status = 'NEW' WHERE lead_id = 2002")

    assert restricted.find(where={"statuses": ["NEW"]}, **{"in": "archive"}).json()["lead_ids"] == []
    assert sent.then is None


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("row", ["live", "archived"])
@pytest.mark.parametrize("operation", ["compare", "find"])
def test_nothing_is_told_of_a_lead_while_it_is_in_another_list_for_a_moment(
    restricted: Api, tables: Tables, monkeypatch: pytest.MonkeyPatch, operation: str, row: str
) -> None:
    """It is visible at both looks at its list, and somebody else's at the look at the lead itself."""
    table = "vicidial_list" if row == "live" else "vicidial_list_archive"
    tables.archived(1001, list_id=101, status="DNC")
    if row == "live":
        tables.live(1001, list_id=101)
    changes = [f"UPDATE {table} SET list_id = {list_id} WHERE lead_id = 1001" for list_id in (103, 101)]
    look_at_list, look_at_stretch = visible_leads_of, Finder._visible

    async def visible_leads(*arguments: Any) -> LeadIDs:
        if operation == "find" or len(changes) == 1:
            tables.execute(changes.pop(0))
        visible = await look_at_list(*arguments)
        if len(changes) == 2:
            tables.execute(changes.pop(0))
        return visible

    async def visible_in_stretch(*arguments: Any) -> list[int]:
        visible = await look_at_stretch(*arguments)
        if 1001 in visible:
            tables.execute(changes.pop(0))
        return visible

    monkeypatch.setattr(f"service.archive.{'comparer' if operation == 'compare' else 'finder'}.visible_leads", visible_leads)
    monkeypatch.setattr(Finder, "_visible", visible_in_stretch)

    if operation == "compare":
        (lead,) = restricted.compare([1001]).json()["leads"]
        assert (lead["in_list"], lead["in_archive"], lead["different_columns"]) == (False, False, [])
    else:
        assert restricted.find(where={"statuses": ["DNC"]}, **{"in": "archive"}).json()["lead_ids"] == []
    assert len(changes) == (operation == "find")  # no lead was found whose list could be looked at again


@pytest.mark.parametrize("place", ["list", "archive"])
def test_a_search_sends_the_same_statements_whatever_leads_of_other_lists_are_like(
    restricted: Api, tables: Tables, sent: Sent, place: str
) -> None:
    """Neither the answer nor its time may tell which of them meet the conditions."""
    (tables.live if place == "list" else tables.archived)(*range(2001, 2051), list_id=103, status="DNC")
    restricted.find(where={"statuses": ["NONE"]}, **{"in": place})  # the definitions are read
    sent.taken()

    def search(status: str) -> tuple[Any, list[str]]:
        answer = restricted.find(where={"statuses": [status]}, **{"in": place}).json()
        return answer, [statement.replace(status, "?") for statement in sent.taken()]

    assert search("DNC") == search("XYZ")
    assert not any("2001" in statement for statement in search("DNC")[1])


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("pace", ["auto", "full"])
@pytest.mark.parametrize("hopper", ["one", "very many", "not committed"])
def test_a_batch_sends_the_same_statements_whatever_leads_of_other_lists_are_in_use(
    restricted: Api, tables: Tables, new_api: Callable[..., Api], sent: Sent, hopper: str, pace: str
) -> None:
    """Those between its own ids. Neither the answer nor its time may tell whether they are in use."""
    del restricted  # only for its leads and its key
    api = new_api(PACE=pace, REQUEST_TIMEOUT="6")
    tables.execute("ALTER TABLE vicidial_hopper ENGINE = InnoDB")
    if pace == "auto":
        tables.execute("INSERT INTO vicidial_live_agents (lead_id) VALUES (0)")
    foreign = range(2001, 2002 + 2 * MOST_NEARBY)
    tables.live(*foreign, list_id=103)
    batches = {"free": [3000, 1001], "in use": [3001, 1002]}  # each with all these leads between its ids
    for batch in batches.values():
        tables.live(*batch, list_id=101)
    api.archive_all([1])  # the first batch reads the definitions of the tables
    sent.taken()

    def statements(batch: list[int]) -> list[str]:
        assert api.archive_all(batch).json()["delete_count"] == 2
        # Each session counts the temporary tables of the batches that it has processed.
        own = re.compile("|".join([*map(str, batch), "[0-9a-f]{32}", r"variable_value = \d+"]))
        return [own.sub("?", statement) for statement in sent.taken()]

    expected = statements(batches["free"])
    assert not any("BETWEEN" in statement for statement in expected)
    other = tables.mariadb.connect(tables.database, autocommit=False)
    with other.cursor() as cursor:
        for lead_id in foreign if hopper == "very many" else foreign[:1]:
            cursor.execute(f"INSERT INTO vicidial_hopper (lead_id) VALUES ({lead_id})")
        if hopper != "not committed":
            other.commit()
        assert statements(batches["in use"]) == expected
    other.close()


@pytest.mark.parametrize("tables", ["InnoDB"], indirect=True)
@pytest.mark.parametrize("delete", [True, False], ids=["delete", "insert only"])
def test_a_lead_that_comes_back_in_another_list_while_it_is_dearchived_is_unknown(
    restricted: Api, tables: Tables, sent: Sent, delete: bool
) -> None:
    """Its live row is committed after the second look at its list. Nobody can lock a row that is not there."""
    tables.archived(7, list_id=101)
    before = tables.both()[1]

    def after_first_look() -> None:
        sent.then = lambda: tables.live(7, list_id=103)

    sent.then = after_first_look
    answer = restricted.dearchive({"insert_leads": True, "delete_leads": delete, "lead_ids": [2, 7]})

    assert sent.then is None
    assert (answer.status_code, answer.json()["lead_ids"]) == (404, [7])
    live, archived = tables.both()
    assert (7 in live, 2 in live, archived) == (True, False, before)


@pytest.mark.parametrize("operation", MOVES)
def test_nobody_locks_or_waits_for_a_lead_of_another_list(restricted: Api, tables: Tables, operation: str) -> None:
    before = tables.both()
    leads = [*FOREIGN.values()]
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with holder.cursor() as cursor:
        for table in ("vicidial_list", "vicidial_list_archive"):
            cursor.execute(f"SELECT lead_id FROM {table} WHERE lead_id IN ({', '.join(map(str, leads))}) FOR UPDATE")
            cursor.fetchall()

        response = call(restricted, operation, [*leads, 1])

        assert (response.status_code, response.json()["lead_ids"]) == (404, leads)
        cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        assert cursor.fetchall() == ((0,),)
    holder.close()
    assert tables.both() == before


@pytest.mark.parametrize("operation", CALLS)
def test_nobody_waits_for_a_lead_whose_insert_is_not_committed(restricted: Api, tables: Tables, operation: str) -> None:
    before = tables.both()
    leads = [11, 12, 13, 14]
    places = [(table, list_id) for table in ("vicidial_list", "vicidial_list_archive") for list_id in (101, 103)]
    holder = tables.mariadb.connect(tables.database, autocommit=False)
    with holder.cursor() as cursor:
        for lead_id, (table, list_id) in zip(leads, places, strict=True):
            cursor.execute(f"INSERT INTO {table} (lead_id, phone_number, list_id) VALUES ({lead_id}, 1, {list_id})")

        response = call(restricted, operation, leads)

        if operation == "compare":
            assert [lead["in_list"] or lead["in_archive"] for lead in response.json()["leads"]] == [False] * 4
        else:
            assert (response.status_code, response.json().get("lead_ids")) == (404, leads)
        holder.rollback()
    holder.close()
    assert tables.both() == before


@pytest.mark.parametrize("operation", CALLS)
def test_a_lead_that_is_moved_to_another_list_meanwhile_is_unknown(
    restricted: Api, tables: Tables, sent: Sent, operation: str
) -> None:
    unknown = call(restricted, operation, [UNKNOWN]).text.replace(str(UNKNOWN), "5")
    sent.then = lambda: tables.execute("UPDATE vicidial_list SET list_id = 103 WHERE lead_id = 5")
    tables.execute("UPDATE vicidial_list_archive SET list_id = 102 WHERE lead_id = 5")
    archived = tables.rows("vicidial_list_archive")

    response = call(restricted, operation, [5])

    assert sent.then is None
    assert response.text == unknown
    assert tables.ids()[0] == sorted([1, 5, *(FOREIGN[place] for place in ("live", "in no list", "reused"))])
    assert tables.rows("vicidial_list_archive") == archived


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
@pytest.mark.parametrize(
    "fields", [{}, {"delete_leads": False}, {"where": {"statuses": ["SALE"]}}], ids=["move", "copy", "where"]
)
def test_a_lead_that_is_moved_to_another_list_in_mid_batch_is_answered_like_one_that_is_deleted(
    restricted: Api, tables: Tables, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """Its new row would be in remaining_lead_ids, or in unmatched_lead_ids."""
    monkeypatch.setattr(chunks, "FULL", Sizes(chunk=1, joined=1, delete=1))
    stage = Chunks._stage

    def answers(meanwhile: str) -> list[tuple[int, str]]:
        tables.execute("DELETE FROM vicidial_list")
        tables.execute("DELETE FROM vicidial_list_archive")
        tables.live(1, 5, list_id=101)
        before, _ = tables.both()

        async def staged(*arguments: Any) -> Any:
            source = await stage(*arguments)
            tables.execute(meanwhile)
            return source

        monkeypatch.setattr(Chunks, "_stage", staged)
        found = [restricted.archive({**Api.ALL, "lead_ids": [1, 5], **fields}) for _ in range(2)]
        live, archived = tables.both()
        assert archived == {1: before[1]}
        assert (1 in live) == ("delete_leads" in fields)
        return [(response.status_code, response.text) for response in found]

    moved = answers("UPDATE vicidial_list SET list_id = 103, status = 'NEW' WHERE lead_id = 5")

    assert [status for status, _ in moved] == [503, 404]
    assert moved == answers("DELETE FROM vicidial_list WHERE lead_id = 5")


def test_leads_of_the_keys_lists_are_archived(restricted: Api, tables: Tables) -> None:
    live, archived = tables.ids()

    answer = restricted.archive_all([1, 2, 5]).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (1, 1, 2)
    assert tables.ids() == ([lead_id for lead_id in live if lead_id > 5], sorted({1, *archived}))
    assert restricted.dearchive_all([1, 2, 5]).json()["delete_count"] == 3
    assert tables.ids() == (sorted({2, *live}), [lead_id for lead_id in archived if lead_id > 5])


def test_a_comparison_tells_nothing_of_leads_of_other_lists(restricted: Api) -> None:
    hidden = [UNKNOWN, *FOREIGN.values()]

    leads: list[dict[str, Any]] = restricted.compare([1, *hidden, 2, 5]).json()["leads"]

    assert [lead["lead_id"] for lead in leads if lead["in_list"] or lead["in_archive"]] == [1, 2, 5]
    shown = [{**lead, "lead_id": 0} for lead in leads if lead["lead_id"] in hidden]
    assert shown == [shown[0]] * len(hidden)


@pytest.mark.parametrize("operation", CALLS)
def test_a_copy_that_is_there_twice_makes_no_other_lead_visible(restricted: Api, tables: Tables, operation: str) -> None:
    """The service refuses such an archive, and names no lead."""
    tables.execute("ALTER TABLE vicidial_list_archive DROP PRIMARY KEY, ADD KEY (lead_id)")
    tables.archived(2, list_id=102)

    answers = [call(restricted, operation, lead_ids) for lead_ids in ([2, FOREIGN["live"]], [2], [UNKNOWN])]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("kind", ["VARCHAR(20)", "ENUM('101-OLD', '102', '101')"])
@pytest.mark.parametrize("altered", [["vicidial_list"], ["vicidial_list_archive"], ["vicidial_list", "vicidial_list_archive"]])
def test_lists_that_mariadb_may_confuse_are_not_told_apart_for_a_limited_key(
    restricted: Api, tables: Tables, altered: list[str], kind: str
) -> None:
    """It takes '101-OLD' for 101, and a member of an ENUM for its position. The columns are altered while the service runs."""
    assert restricted.archive_all([1]).status_code == 200
    for table in altered:
        tables.execute(f"ALTER TABLE {table} MODIFY list_id VARCHAR(20) NOT NULL")
        tables.execute(f"UPDATE {table} SET list_id = '102' WHERE list_id <> '101'")
        tables.execute(f"UPDATE {table} SET list_id = '101-OLD' WHERE lead_id IN ({FOREIGN['live']}, {FOREIGN['archived']})")
        tables.execute(f"ALTER TABLE {table} MODIFY list_id {kind} NOT NULL")
    before = tables.both()

    answers = [call(restricted, operation, [lead_id]) for operation in CALLS for lead_id in (*FOREIGN.values(), UNKNOWN)]
    answers.append(restricted.find(where={"statuses": ["SALE"]}))

    assert [answer.status_code for answer in answers] == [503] * len(answers)
    said = "the condition list_ids of the key cannot be used until an administrator mends this: vicidial_list"
    assert {answer.json()["message"][: len(said)] for answer in answers} == {said}
    assert tables.both() == before
    state = restricted.get("/readyz").json()
    noted = [note["message"] for note in state["notes"] if "list_ids" in note["message"]]
    assert state["problems"] == []
    told = kind.replace("VARCHAR", "varchar").replace("ENUM", "enum").replace(", ", ",")
    assert noted == [f"keys with list_ids cannot be used: {table}.list_id is {told}, no integer" for table in altered]

    for table in altered:
        tables.execute(f"UPDATE {table} SET list_id = '102' WHERE list_id <> '101'")
        tables.execute(f"ALTER TABLE {table} MODIFY list_id VARCHAR(20) NOT NULL")
        tables.execute(f"ALTER TABLE {table} MODIFY list_id BIGINT(14) UNSIGNED NOT NULL DEFAULT 0")
    assert restricted.archive_all([5]).status_code == 200
