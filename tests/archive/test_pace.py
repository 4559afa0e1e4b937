"""The dialler comes first: while agents are logged in, batches rest as long as they work, and one runs at a time."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.api import Api
from support.tables import Tables

from service.archive import mover
from service.archive.caller import Caller
from service.archive.pace import Pace, Turn
from service.archive.turns import Turns
from service.errors import DatabaseError

AGENT = "INSERT INTO vicidial_live_agents (lead_id) VALUES (0)"

SETTINGS = {
    "agents are logged in": ({}, AGENT, "gentle"),
    "nobody is logged in": ({}, "DO 0", "full"),
    "the table of agents is missing": ({}, "DROP TABLE vicidial_live_agents", "gentle"),
    "gentle, and nobody is logged in": ({"PACE": "gentle"}, "DO 0", "gentle"),
    "full, and agents are logged in": ({"PACE": "full"}, AGENT, "full"),
    "leads in use are ignored, and agents are logged in": ({"LEADS_IN_USE": "ignore"}, AGENT, "gentle"),
}


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize(("settings", "state", "pace"), SETTINGS.values(), ids=SETTINGS.keys())
def test_the_audit_and_the_metrics_tell_the_pace(
    tables: Tables, new_api: Callable[..., Api], path: Path, settings: dict[str, str], state: str, pace: str
) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    tables.execute(state)
    api = new_api(AUDIT_LOG=str(path), **settings)

    there = api.archive_all([1, 2])
    assert tables.both() == ({}, before)
    back = api.dearchive_all([1, 2])

    assert (there.json()["delete_count"], back.json()["delete_count"]) == (2, 2)
    assert "pace" not in there.json() | back.json()
    assert [response.headers["X-Lead-Archive-Pace"] for response in (there, back)] == [pace, pace]
    outcomes = [json.loads(line) for line in path.read_text().splitlines()][1::2]
    assert [outcome["pace"] for outcome in outcomes] == [pace, pace]
    assert f"\npace_gentle {float(pace == 'gentle')}\n" in api.get("/metrics").text
    assert tables.both() == (before, {})


@pytest.mark.parametrize("settings", [{}, {"LEADS_IN_USE": "ignore"}], ids=["keep", "ignore"])
@pytest.mark.parametrize("way", ["archive_all", "dearchive_all"])
def test_the_agents_are_seen_as_soon_as_their_table_is_there(
    tables: Tables, new_api: Callable[..., Api], settings: dict[str, str], way: str
) -> None:
    (tables.live if way == "archive_all" else tables.archived)(1, 2)
    tables.execute("RENAME TABLE vicidial_live_agents TO away")
    api = new_api(**settings)
    paces = [getattr(api, way)([1]).headers["X-Lead-Archive-Pace"]]

    tables.execute("RENAME TABLE away TO vicidial_live_agents")
    paces += [getattr(api, way)([2]).headers["X-Lead-Archive-Pace"] for _ in range(2)]

    assert paces[::2] == ["gentle", "full"]
    assert tables.ids() == (([], [1, 2]) if way == "archive_all" else ([1, 2], []))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["archive_all", "dearchive_all"])
def test_a_table_of_agents_that_cannot_be_read_makes_batches_gentle(
    tables: Tables, new_api: Callable[..., Api], way: str, when: str
) -> None:
    """For example a damaged MyISAM table. Here, a view of which each look fails."""
    (tables.live if way == "archive_all" else tables.archived)(1, 2)
    api = new_api(LEADS_IN_USE="ignore")
    if when == "after":
        assert getattr(api, way)([1]).headers["X-Lead-Archive-Pace"] == "full"
    tables.execute("RENAME TABLE vicidial_live_agents TO agents")
    tables.execute("INSERT INTO agents (lead_id) VALUES (0)")
    tables.execute("CREATE FUNCTION damaged() RETURNS INT BEGIN SIGNAL SQLSTATE '45000'; RETURN 1; END")
    tables.execute("CREATE VIEW vicidial_live_agents AS SELECT * FROM agents WHERE damaged()")

    answers = [getattr(api, way)([lead_id]) for lead_id in (1, 2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.headers["X-Lead-Archive-Pace"] for answer in answers} == {"gentle"}
    assert tables.ids() == (([], [1, 2]) if way == "archive_all" else ([1, 2], []))


def test_the_pace_follows_the_agents(tables: Tables, new_api: Callable[..., Api], path: Path) -> None:
    tables.live(1, 2, 3)
    api = new_api(AUDIT_LOG=str(path))

    for lead_id, state in ((1, "DO 0"), (2, AGENT), (3, "DELETE FROM vicidial_live_agents")):
        tables.execute(state)
        assert api.archive_all([lead_id]).json()["delete_count"] == 1

    outcomes = [json.loads(line) for line in path.read_text().splitlines()][1::2]
    assert [outcome["pace"] for outcome in outcomes] == ["full", "gentle", "full"]
    assert tables.ids() == ([], [1, 2, 3])


@pytest.mark.parametrize(("pace", "longest_locked", "rests"), [("gentle", 60, 7), ("gentle", 0, 0), ("full", 60, 0)])
def test_in_one_transaction_a_gentle_batch_rests_between_a_few_leads_unless_they_are_locked_for_too_long(
    tables: Tables,
    new_api: Callable[..., Api],
    monkeypatch: pytest.MonkeyPatch,
    pace: str,
    longest_locked: float,
    rests: int,
) -> None:
    monkeypatch.setattr(mover, "GENTLE_PART", 2)
    monkeypatch.setattr(mover, "LONGEST_LOCKED", longest_locked)
    taken = []
    rest = Turn.rest

    async def counted(turn: Turn, until: float) -> None:
        taken.append(turn)
        await rest(turn, until)

    monkeypatch.setattr(Turn, "rest", counted)
    tables.live(*range(1, 8))
    tables.archived(2, status="NEW")
    tables.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 5 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    before, _ = tables.both()

    answer = new_api(PACE=pace).archive_all(list(range(1, 8))).json()

    counts = [answer[name] for name in ("insert_count", "update_count", "delete_count", "remaining_lead_ids")]
    assert counts == [5, 1, 6, [5]]
    assert tables.both() == ({5: before[5]}, {lead_id: row for lead_id, row in before.items() if lead_id != 5})
    assert len(taken) == rests


def test_a_lead_that_gets_into_use_while_a_batch_rests_is_not_touched(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the batch has deleted it already: its deletion is not committed yet."""
    monkeypatch.setattr(mover, "GENTLE_PART", 1)
    tables.live(1, 2)
    before, _ = tables.both()
    rests = itertools.count(1)

    async def rest(_: Turn, until: float) -> None:  # noqa: ARG001
        if next(rests) == 3:  # after INSERT of each lead, and DELETE of the first one
            tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (1)")

    monkeypatch.setattr(Turn, "rest", rest)

    answer = new_api(PACE="gentle").archive_all([1, 2]).json()

    assert (answer["select_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 1, [1])
    assert tables.both() == ({1: before[1]}, {2: before[2]})


class Clock:
    """A clock that only sleeping and working move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.now = 0.0
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr("service.archive.pace.asyncio.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("agents", "rests"), [(True, [0.2, 0.5, 1.0]), (False, [0, 0, 0])])
def test_a_rest_is_as_long_as_the_work_before_it(monkeypatch: pytest.MonkeyPatch, agents: bool, rests: list[float]) -> None:
    async def scene() -> list[float]:
        clock = Clock(monkeypatch)
        async with Pace("auto", Turns(8)).turn(Caller("key"), 60) as turn:
            turn.look(agents=agents, table_locks=True)
            for work in (0.2, 0.5, 7.0):
                clock.now += work
                await turn.rest()
            return clock.slept

    assert asyncio.run(scene()) == pytest.approx(rests)


def test_no_rest_is_taken_that_would_cost_the_batch_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> list[float]:
        clock = Clock(monkeypatch)
        async with Pace("gentle", Turns(8)).turn(Caller("key"), 4) as turn:
            for _ in range(3):
                clock.now += 0.9
                await turn.rest()
            return clock.slept

    assert asyncio.run(scene()) == pytest.approx([0.9])


def test_the_next_batch_waits_for_the_rest_and_the_answer_does_not() -> None:
    async def scene() -> list[str]:
        events: list[str] = []
        pace = Pace("gentle", Turns(8))
        async with pace.turn(Caller("key"), 60):
            await asyncio.sleep(0.05)
        events.append("answered")

        async def follow() -> None:
            async with pace.turn(Caller("key"), 60):
                events.append("next")

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.01)
        events.append("still resting")
        await following
        return events

    assert asyncio.run(scene()) == ["answered", "still resting", "next"]


def test_who_gets_no_turn_in_time_is_told_that_nothing_was_changed() -> None:
    async def scene() -> None:
        pace = Pace("auto", Turns(8))
        async with pace.turn(Caller("one"), 60):
            with pytest.raises(DatabaseError, match=r"no turn within 0\.01 seconds") as raised:
                async with pace.turn(Caller("other"), 0.01):
                    pass
        assert raised.value.outcome_known

    asyncio.run(scene())


def test_a_turn_that_comes_when_the_time_is_over_is_none() -> None:
    async def scene() -> None:
        pace = Pace("full", Turns(8))
        for seconds in (0, -1):
            with pytest.raises(DatabaseError, match="no turn within") as raised:
                async with pace.turn(Caller("late"), seconds):
                    pytest.fail("it has a turn")
            assert raised.value.outcome_known

        async def wait() -> None:
            async with pace.turn(Caller("late"), 0.05):
                pytest.fail("it has a turn")

        async with pace.turn(Caller("one"), 60):
            late = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
            over = time.monotonic() + 0.1
            while time.monotonic() < over:  # the loop gives the turn, and sees that the time is over, in the same moment
                pass
        with pytest.raises(DatabaseError, match="no turn within"):
            await late
        async with asyncio.timeout(60), pace.turn(Caller("next"), 60):
            pass

    asyncio.run(scene())


def test_who_passes_a_turn_on_and_gets_no_other_one_in_time_ends_none() -> None:
    async def scene() -> list[str]:
        turns = Turns(8)
        pace = Pace("full", turns)
        events: list[str] = []

        async def stay() -> None:
            async with pace.turn(Caller("other"), 60):
                events.append("other")
                await asyncio.sleep(0.2)
                events.append("other ends")

        async def pass_on() -> None:
            async with pace.turn(Caller("one"), 0.1) as turn:
                await asyncio.sleep(0.01)
                await turn.pass_on()

        passing, staying = asyncio.create_task(pass_on()), asyncio.create_task(stay())
        with pytest.raises(DatabaseError, match="no turn within"):
            await passing
        third = asyncio.create_task(turns.take("third"))
        await asyncio.sleep(0.01)
        events.append(f"third has a turn: {third.done()}")
        await staying
        await third
        return events

    assert asyncio.run(scene()) == ["other", "third has a turn: False", "other ends"]


def test_who_pauses_before_the_next_turn_keeps_nobody_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.database.pauses.SHORTEST_PAUSE", 60.0)

    async def scene() -> None:
        pace = Pace("gentle", Turns(1))

        async def pass_on() -> None:
            async with pace.turn(Caller("one"), 600) as turn:
                await turn.pass_on()

        pausing = asyncio.create_task(pass_on())
        await asyncio.sleep(0)
        async with asyncio.timeout(30), pace.turn(Caller("other"), 600):
            pass
        pausing.cancel()
        await asyncio.wait([pausing])
        async with asyncio.timeout(30), pace.turn(Caller("other"), 600):
            pass

    asyncio.run(scene())


def test_a_rest_while_leads_are_locked_counts_work_only_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    async def scene() -> None:
        clock = asyncio.get_running_loop().time
        async with Pace("gentle", Turns(1)).turn(Caller("one"), 600) as turn:
            await sleep(0.3)  # it waits for a table
            turn.begin_work()
            monkeypatch.setattr("service.archive.pace.asyncio.sleep", note)
            await turn.rest()
            turn._worked_since = clock() - 1
            await turn.rest(clock() + 0.1)
            turn._worked_since = clock() - 1
            await turn.rest(clock() - 1)
        monkeypatch.undo()

    asyncio.run(scene())

    first, second, third = rests
    assert first < 0.3
    assert second <= 0.1
    assert third == 0
