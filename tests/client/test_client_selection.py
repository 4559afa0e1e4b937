"""archive, dearchive and compare with conditions instead of a file, against the real service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.client import IN_USE, Client
from support.selections import fill, hopper
from support.tables import Tables

CALLED = [2, 4, 6, 8, 10]
"""The leads of list 101 that were called."""


def test_archive_moves_the_leads_that_meet_the_conditions(client: Client, leads: Tables) -> None:
    fill(leads)
    before, _ = leads.both()

    result = client.run("archive", "--list", 101, "--called")

    assert result.status == 0
    assert result.output.splitlines() == [
        "leads found                            5",
        "archived                               5",
        "archived before                        0",
        "remained                               0",
        "unknown                                0",
        "failed                                 0",
        "not sent                               0",
        "(inserted into vicidial_list_archive)  5",
        "(updated in vicidial_list_archive)     0",
    ]
    assert result.errors == "archive: 5 found, 5 archived, 0 left\n"
    assert leads.both() == (
        {lead_id: row for lead_id, row in before.items() if lead_id not in CALLED},
        {lead_id: before[lead_id] for lead_id in CALLED},
    )
    assert list(client.folder.iterdir()) == []  # no journal, and no file of leads left behind


def test_dearchive_finds_them_in_the_archive(client: Client, leads: Tables) -> None:
    fill(leads)
    before, _ = leads.both()
    assert client.invoke("archive", "--campaign", "SPRING", "-q").status == 0

    result = client.invoke("dearchive", "--list", 102, "--never-called", "--json")

    assert (result.status, result.counts()) == (0, {"asked": 5, "moved": 5, "inserted": 5})
    assert result.summary["complete"] is True
    assert result.summary["where"] == {"list_ids": [102], "never_called": True}
    back = [11, 13, 15, 17, 19]
    assert leads.both() == (
        {lead_id: row for lead_id, row in before.items() if lead_id > 20 or lead_id in back},
        {lead_id: row for lead_id, row in before.items() if lead_id <= 20 and lead_id not in back},
    )


def test_nothing_found_is_well_and_said(client: Client, leads: Tables) -> None:
    fill(leads)
    before = leads.both()

    for arguments in (["archive"], ["archive", "--dry-run"], ["dearchive"], ["compare"]):
        result = client.invoke(*arguments, "--list", 999)
        assert (result.status, result.output, result.errors) == (0, "No lead meets the conditions.\n", ""), arguments
    assert client.invoke("archive", "--list", 999, "--json").counts() == {}
    assert leads.both() == before


def test_compare_takes_what_is_found(client: Client, leads: Tables) -> None:
    fill(leads)
    before = leads.both()

    result = client.invoke("compare", "--list", 101, "--json")

    assert (result.status, result.counts()) == (1, {"asked": 10, "list_only": 10})
    assert client.read("found.compare.left.csv")[1:] == [f"{lead_id},not in vicidial_list_archive" for lead_id in range(1, 11)]
    assert leads.both() == before
    client.invoke("archive", "--list", 101)
    result = client.invoke("compare", "--list", 101, "--in", "archive", "--json", "--at-most", 7)
    assert (result.status, result.counts()) == (0, {"asked": 7, "archive_only": 7})
    assert result.summary["complete"] is False
    assert not (client.folder / "found.compare.left.csv").exists()


def test_leads_that_stay_are_named_and_the_others_go(client: Client, leads: Tables) -> None:
    fill(leads)
    hopper(leads, 2, 4, 6, 14)

    result = client.invoke("archive", "--campaign", "SPRING", "--called", "--json", "--jobs", 1)

    assert (result.status, result.counts()) == (1, {"asked": 10, "moved": 6, "remained": 4, "inserted": 6})
    assert leads.ids()[1] == [8, 10, 12, 16, 18, 20]
    assert client.read(result.summary["left_file"])[1:] == [f"{lead_id},{IN_USE}" for lead_id in (2, 4, 6, 14)]


@pytest.mark.parametrize("jobs", [1, 4])
def test_at_most_counts_those_that_go_and_not_those_that_stay(client: Client, leads: Tables, jobs: int) -> None:
    fill(leads)
    hopper(leads, 2, 4, 6, 14)

    result = client.invoke("archive", "--status", "NA", "--at-most", 5, "--jobs", jobs)

    assert leads.ids()[1] == [8, 10, 12, 16, 18]
    assert result.status == 1
    assert "--at-most is reached; other leads may meet the conditions." in result.errors
    again = client.invoke("archive", "--status", "NA", "--at-most", 5, "--json", "--jobs", jobs)
    assert again.counts() == {"asked": 9, "moved": 5, "remained": 4, "inserted": 5}
    assert leads.ids()[1] == [8, 10, 12, 16, 18, 20, 22, 24, 26, 28]
    last = client.invoke("archive", "--status", "NA", "--at-most", 5, "--json", "--jobs", jobs)
    assert last.counts() == {"asked": 5, "moved": 1, "remained": 4, "inserted": 1}
    assert last.summary["complete"] is True


def test_a_dry_run_changes_nothing_and_foresees_the_same(client: Client, leads: Tables) -> None:
    fill(leads)
    hopper(leads, 2)
    before = leads.both()

    foreseen = client.invoke("archive", "--list", 101, "--called", "--dry-run", "--json")

    assert (foreseen.status, foreseen.counts()) == (1, {"asked": 5, "moved": 4, "remained": 1})
    assert client.read("found.archive-dry-run.left.csv")[1:] == [f"2,{IN_USE}"]
    assert leads.both() == before
    assert client.invoke("archive", "--list", 101, "--called", "--json").counts() == {
        "asked": 5,
        "moved": 4,
        "remained": 1,
        "inserted": 4,
    }


def test_the_flags_hold_for_conditions_too(client: Client, leads: Tables) -> None:
    fill(leads)
    before, _ = leads.both()

    result = client.invoke("archive", "--list", 101, "--called", "--no-delete", "--json")

    assert (result.status, result.counts()) == (0, {"asked": 5, "kept": 5, "inserted": 5})
    assert leads.both() == (before, {lead_id: before[lead_id] for lead_id in CALLED})


def test_the_file_of_those_left_behind_can_be_named(client: Client, leads: Tables, tmp_path: Path) -> None:
    fill(leads)
    hopper(leads, 2)
    mine = client.write("mine.csv", "lead_id,name", "1,John")

    refused = client.invoke("archive", "--list", 101, "--left", mine)
    assert (refused.status, client.read(mine)) == (2, ["lead_id,name", "1,John"])
    assert leads.ids()[1] == []
    assert client.invoke("archive", "--list", 101, "--left", "new.csv").status == 1
    assert client.read("new.csv")[1:] == [f"2,{IN_USE}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "new.csv"]


def test_a_condition_that_the_database_cannot_check_ends_it_at_once(client: Client, leads: Tables) -> None:
    fill(leads)
    before: Any = leads.both()
    leads.execute("RENAME TABLE vicidial_lists TO vicidial_lists_away")
    try:
        for command in (["find"], ["archive"], ["archive", "--dry-run"], ["dearchive"], ["compare"]):
            for condition in (["--campaign", "SPRING"], ["--inactive-lists"]):
                # Otherwise it would retry for 300 seconds.
                result = client.invoke(*command, *condition)
                assert result.status == 3, result.errors
                assert "the server refuses these conditions: 503 " in result.errors
                assert "vicidial_lists" in result.errors
        assert client.invoke("find", "--list", 101).status == 0
    finally:
        leads.execute("RENAME TABLE vicidial_lists_away TO vicidial_lists")
    assert leads.both() == before
