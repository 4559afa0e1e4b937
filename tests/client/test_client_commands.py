"""The commands of the bulk client on leads in every state, and whether --dry-run predicts the result."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.client import IN_USE, Client
from support.process import ServiceProcess
from support.tables import Tables

from lead_archive.operations import UNKNOWN

KINDS = {"moved", "kept", "already", "remained", "identical", "archive_only", "list_only", "different", "unknown", "failed"}
"""The kinds of leads. Each lead is counted as one of them."""

Run = Callable[..., tuple[dict[str, Any], dict[str, str]]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """run("archive", ...) -> the summary, and the leads left behind with their reasons."""

    def run(command: str, *options: str) -> tuple[dict[str, Any], dict[str, str]]:
        result = client.invoke(command, client.write("leads", "1-6"), "--json", "--left", "left.csv", *options)
        left = csv.DictReader(client.read("left.csv") if result.summary["left_file"] else [])
        return result.summary, {row["lead_id"]: row["reason"] for row in left}

    with ServiceProcess(environment) as service:
        client = Client(tmp_path, service.base_url)
        yield run


def fill(tables: Tables) -> None:
    """1 is in vicidial_list, 2 in both tables, 3 in both with other data, 4 in the archive, 5 in neither, 6 in use."""
    for table in ("vicidial_list", "vicidial_list_archive", "vicidial_hopper"):
        tables.execute(f"TRUNCATE {table}")
    tables.live(1, 2, 3, 6)
    tables.archived(2, 4)
    tables.archived(3, status="NEW", first_name="Ana")
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (6, 'READY')")


def test_compare_counts_each_kind_of_lead(run: Run, tables: Tables) -> None:
    fill(tables)
    before = tables.both()

    summary, left = run("compare")

    numbers = {name: value for name, value in summary.items() if name in KINDS and value}
    assert numbers == {"identical": 1, "archive_only": 1, "list_only": 2, "different": 1, "unknown": 1}
    assert summary["in_use"] == 1
    assert left == {
        "1": "not in vicidial_list_archive",
        "3": "the tables differ in status, first_name",
        "5": UNKNOWN,
        "6": "not in vicidial_list_archive",
    }
    assert tables.both() == before


DIFFER = {"3": "the tables differ in status, first_name"}
"""Leads in use that are copied and not deleted."""
Ids = tuple[list[int], list[int]]

FORESEEN: list[tuple[list[str], dict[str, int], dict[str, str], Ids]] = [
    # what is run, the numbers, the reasons, and the leads that are then in vicidial_list and in vicidial_list_archive
    (
        ["archive"],
        {"moved": 3, "already": 1, "remained": 1},
        {"6": IN_USE},
        ([6], [1, 2, 3, 4]),
    ),
    (
        ["archive", "--no-update"],
        {"moved": 2, "already": 1, "remained": 2},
        {**DIFFER, "6": IN_USE},
        ([3, 6], [1, 2, 3, 4]),
    ),
    (
        ["archive", "--no-insert"],
        {"moved": 2, "already": 1, "remained": 2},
        {"1": "not in vicidial_list_archive", "6": IN_USE},
        ([1, 6], [2, 3, 4]),
    ),
    (["archive", "--no-delete"], {"kept": 4, "already": 1}, {}, ([1, 2, 3, 6], [1, 2, 3, 4, 6])),
    (["dearchive"], {"moved": 2, "already": 2, "remained": 1}, DIFFER, ([1, 2, 3, 4, 6], [3])),
    (
        ["dearchive", "--no-insert"],
        {"moved": 1, "already": 2, "remained": 2},
        {**DIFFER, "4": "not in vicidial_list"},
        ([1, 2, 3, 6], [3, 4]),
    ),
    (["dearchive", "--no-delete"], {"kept": 3, "already": 2}, {}, ([1, 2, 3, 4, 6], [2, 3, 4])),
]


def test_a_dry_run_foresees_what_comes_of_it(run: Run, tables: Tables) -> None:
    for arguments, numbers, reasons, after in FORESEEN:
        fill(tables)
        before = tables.both()

        for options in (["--dry-run"], []):
            summary, left = run(*arguments, *options)

            said = {name: value for name, value in summary.items() if name in KINDS and value}
            assert said == {**numbers, "unknown": 1}, (arguments, options)
            assert left == {**reasons, "5": UNKNOWN}, (arguments, options)
            if options:
                assert tables.both() == before

        assert tables.ids() == after, arguments


def test_leads_that_are_archived_and_dearchived_are_unchanged(run: Run, tables: Tables) -> None:
    tables.live(1, 2, 3, 4, 5, 6)
    live, _ = tables.both()

    assert run("archive")[0]["moved"] == 6
    assert tables.both() == ({}, live)
    assert run("compare")[0]["archive_only"] == 6
    assert run("dearchive")[0]["moved"] == 6
    assert tables.both() == (live, {})
    assert run("compare")[0]["list_only"] == 6
