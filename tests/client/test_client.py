"""The bulk client against the real service: what it archives, what it prints, and which files it writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from support.api import KEY
from support.client import IN_USE, Client
from support.paths import ROOT
from support.process import ServiceProcess
from support.tables import Tables

from lead_archive.cli import main
from lead_archive.files import HEADER
from lead_archive.operations import UNKNOWN

StartClient = Callable[..., Client]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[StartClient]:
    """start(SETTING="value", ...) -> a client of a service with these settings."""
    services = []

    def start(**settings: str) -> Client:
        service = ServiceProcess({**environment, **settings})
        service.__enter__()
        services.append(service)
        return Client(tmp_path, service.base_url)

    yield start
    for service in services:
        service.__exit__(None, None, None)


def test_it_archives_what_a_file_says_in_batches_of_the_servers_limit(start: StartClient, tables: Tables) -> None:
    tables.live(*range(1, 31))
    tables.archived(40)
    before, archived = tables.both()
    client = start(LEAD_IDS_LIMIT="4")
    file = client.write("leads.txt", "11-20", 5, "1-3", 40, 12, 999)

    result = client.run("archive", file)

    assert result.status == 1
    assert result.output.splitlines() == [
        "leads asked                            16",
        "archived                               14",
        "archived before                         1",
        "remained                                0",
        "unknown                                 1",
        "failed                                  0",
        "not sent                                0",
        "(inserted into vicidial_list_archive)  14",
        "(updated in vicidial_list_archive)      0",
        "Those left behind, each with its reason: leads.txt.archive.left.csv",
    ]
    assert "1 id was given before, and will be sent once" in result.errors
    assert "16 of 16 leads (100 %)" in result.errors
    assert client.read("leads.txt.archive.left.csv") == [",".join(HEADER), f"999,{UNKNOWN}"]
    moved = {*range(11, 21), 1, 2, 3, 5}
    assert tables.both() == (
        {lead_id: row for lead_id, row in before.items() if lead_id not in moved},
        {**archived, **{lead_id: before[lead_id] for lead_id in moved}},
    )


def test_leads_in_use_remain_and_their_file_can_be_fed_in_again(start: StartClient, tables: Tables) -> None:
    tables.live(1, 2, 3, 4)
    before, _ = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY'), (4, 'READY')")
    client = start()

    result = client.run("archive", "-", "--json", "--quiet", stdin=b"1-4\n")

    assert result.errors == ""
    assert result.counts() == {"asked": 4, "moved": 2, "remained": 2, "inserted": 2}
    assert result.summary["left_file"] == "stdin.archive.left.csv"
    header, *left = client.read("stdin.archive.left.csv")
    assert header == "lead_id,reason"
    assert left == [f"2,{IN_USE}", f"4,{IN_USE}"]
    assert tables.ids() == ([2, 4], [1, 3])

    tables.execute("DELETE FROM vicidial_hopper")
    again = client.run("archive", "stdin.archive.left.csv", "--json")

    assert (again.status, again.counts()) == (0, {"asked": 2, "moved": 2, "inserted": 2})
    assert again.summary["left_file"] is None
    assert tables.both() == ({}, before)


def test_no_update_and_no_delete_are_sent_as_flags(start: StartClient, tables: Tables) -> None:
    tables.live(1, 2)
    tables.archived(2, status="NEW")
    live, archived = tables.both()
    client = start()
    file = client.write("leads", 1, 2)

    result = client.invoke("archive", file, "--json", "--no-update", "--no-delete")

    assert (result.status, result.counts()) == (0, {"asked": 2, "kept": 2, "inserted": 1})
    assert tables.both() == (live, {1: live[1], 2: archived[2]})

    result = client.invoke("archive", file, "--json", "--no-insert", "--no-update")

    assert (result.status, result.counts()) == (1, {"asked": 2, "moved": 1, "remained": 1})
    assert tables.both() == ({2: live[2]}, {1: live[1], 2: archived[2]})
    assert client.invoke("archive", file, "--json").counts() == {"asked": 2, "moved": 1, "already": 1, "updated": 1}
    assert tables.both() == ({}, live)


def test_the_file_of_those_left_behind_goes_away_when_none_is(start: StartClient, tables: Tables) -> None:
    tables.live(1)
    client = start()
    file = client.write("leads", 1, 2)
    left = client.folder / "leads.archive.left.csv"

    assert client.invoke("archive", file).status == 1
    assert left.exists()
    tables.archived(2)
    assert client.invoke("archive", file).status == 0
    assert not left.exists()

    mine = client.write("mine.csv", "lead_id,name", "1,John")
    refused = client.invoke("archive", file, "--left", mine)
    assert (refused.status, client.read(mine)) == (2, ["lead_id,name", "1,John"])
    assert "--left mine.csv is there and was not written by lead-archive: name another" in refused.errors


def test_the_key_may_be_in_a_file(start: StartClient, tables: Tables) -> None:
    tables.live(1)
    client = start()
    file = client.write("leads", 1)
    client.write("key", KEY)

    assert client.invoke("archive", file, "--key-file", "key", environment={"LEAD_ARCHIVE_KEY": "wrong"}).status == 0
    assert tables.ids() == ([], [1])


def test_batch_size_and_jobs_make_smaller_batches_that_are_sent_one_at_a_time(start: StartClient, tables: Tables) -> None:
    tables.live(*range(1, 8))
    client = start()
    file = client.write("leads", "1-7")

    result = client.invoke("archive", file, "--batch-size", 3, "--jobs", 1)

    assert result.status == 0
    assert tables.ids() == ([], [1, 2, 3, 4, 5, 6, 7])


def test_every_option_is_documented() -> None:
    documented = (ROOT / "docs" / "client.md").read_text()
    options = {
        name
        for command in [main, *main.commands.values()]
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name not in {"--insert", "--update", "--delete"}
    }

    assert {"--resume", "--no-delete", "-k"} <= options
    assert {name for name in options if f"`{name}" not in documented} == set()


def test_neither_the_client_nor_the_service_needs_what_only_the_other_does() -> None:
    for module, others in {
        "lead_archive.cli": ["service", "starlette", "uvicorn", "databases", "sqlalchemy", "asyncmy", "pydantic", "structlog"],
        "service.__main__": ["lead_archive", "httpx2"],
    }.items():
        missing = "".join(f"sys.modules[{name!r}] = None; " for name in others)
        subprocess.run([sys.executable, "-c", f"import sys; {missing}import {module}"], check=True)


def test_without_its_extra_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['httpx2'] = None; from lead_archive.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: lead-archive needs the module httpx2: run pip install .\n"
