"""The largest request that the contract allows is sent to the smallest server that /readyz accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.remedies import problems
from support.settings import key_entry
from support.tables import Tables

from service.database.results import Results
from service.tables.preconditions.server import LEAST_PACKET

LISTS = [9007199254740991 - number for number in range(999)]
"""One list less than a condition may name."""


def texts(character: str, *others: str) -> list[str]:
    """As many texts as a condition may have, each as long as it may be: there is no longer SQL of a condition."""
    return [*(character * 97 + f"{number:03}" for number in range(100 - len(others))), *others]


WHERE = {
    "list_ids": [*LISTS, 101],
    "campaign_ids": texts("😀", "SPRING"),
    "list_active": True,
    "statuses": texts("😁", "SALE"),
    "not_statuses": texts("😂"),
    "entered_before": "9999-12-31T23:59:59",
    "called_before": "9999-12-31T23:59:59",
    "entered_at_least_days_ago": 1,
    "called_at_least_days_ago": 1,
    "never_called": False,
    "called_count_at_least": 0,
}
"""All conditions."""

LEADS = 500
"""More are not changed in one round trip where that makes a difference."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each packet that was sent, in bytes."""
    lengths: list[int] = []
    send = Results.send

    async def watched(results: Results) -> None:
        lengths.append(len(results.text.encode()) + 1)
        await send(results)

    monkeypatch.setattr(Results, "send", watched)
    return lengths


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
@pytest.mark.parametrize("way", ["with a temporary table", "without"])
def test_the_largest_batch_fits_into_the_smallest_packet_that_readyz_accepts(
    tables: Tables,
    new_api: Callable[..., Api],
    keys_file: Path,
    packet: Callable[[int], None],
    sent: list[int],
    way: str,
) -> None:
    keys_file.write_text(key_entry([*LISTS, 101]))
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (101, 'SPRING', 'Y')")
    if way == "without":  # of a trigger that uses another table
        body = "SET @lists = (SELECT COUNT(*) FROM vicidial_lists)"
        tables.execute(f"CREATE TRIGGER counts BEFORE INSERT ON vicidial_list_archive FOR EACH ROW {body}")
    lead_ids = [4294960000 + number for number in range(LEADS)]
    moment = "2024-01-01 00:00:00"
    common = {"list_id": 101, "status": "SALE", "entry_date": moment, "last_local_call_time": moment}
    tables.live(*lead_ids, **common)
    before, _ = tables.both()
    packet(LEAST_PACKET)
    api = new_api(PACE="full")
    assert problems(api) == []

    def move(call: Callable[[Any], Any], **flags: bool) -> tuple[int, int]:
        response = call({"insert_leads": True, "delete_leads": True, **flags, "lead_ids": lead_ids, "where": WHERE})
        return response.status_code, response.json().get("delete_count")

    found = api.find(
        where=WHERE, limit=LEADS, after_lead_id=lead_ids[0] - 1
    )  # the search of such a key takes a range of ids a page
    assert found.json()["lead_ids"] == lead_ids
    assert move(api.archive, update_leads=True) == (200, LEADS)
    assert tables.both() == ({}, before)
    assert move(api.dearchive) == (200, LEADS)
    assert tables.both() == (before, {})
    # Now half of them have an older copy: as many statements as there can be.
    tables.archived(*lead_ids[::2], **{**common, "status": "NEW"})
    assert move(api.archive, update_leads=True) == (200, LEADS)
    assert tables.both() == ({}, before)
    assert problems(api) == []
    assert max(sent) < LEAST_PACKET / 2  # the rest is for columns and lists of a site


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_batch_that_is_too_long_for_the_server_is_refused_with_the_remedy(
    tables: Tables,
    new_api: Callable[..., Api],
    keys_file: Path,
    packet: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No setting limits how many lists a key has."""
    monkeypatch.setattr("service.app.LEAST_PACKET", 1024 * 1024)
    keys_file.write_text(key_entry(range(9007199254700000, 9007199254740991)))
    tables.live(1, list_id=9007199254700000)
    before = tables.both()
    packet(1024 * 1024)
    api = new_api()
    assert problems(api) == []

    response = api.archive_all([1])

    told = "max_allowed_packet is too small for a batch: for its lead ids, its conditions, and the lists of its key"
    message = f"leads cannot be moved until an administrator mends this: {told}; nothing was changed"
    assert (response.status_code, response.json()) == (503, {"message": message})
    assert tables.both() == before
    (problem,) = problems(api)
    assert (problem["message"], problem["remedy"]) == (told, "SET GLOBAL max_allowed_packet = 67108864")

    tables.execute(problem["remedy"])

    assert api.archive_all([1]).json()["delete_count"] == 1
    assert problems(api) == []
    assert tables.both() == ({}, before[0])
