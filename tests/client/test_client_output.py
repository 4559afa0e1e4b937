"""Standard output that is closed or cannot be written: what was done is still told, and the exit status stays true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.client import COMMAND, Client
from support.fake_service import FIND_OPENAPI, Reply, compared, fake, lead, moved, page
from support.tables import Tables

COMMANDS = {
    "archive leads --start-over": "all results are in the journal, --resume prints them again",
    "archive leads --start-over --json": "all results are in the journal, --resume prints them again",
    "dearchive leads --start-over": "all results are in the journal, --resume prints them again",
    "compare leads --start-over": "all results are in the journal, --resume prints them again",
    "archive --list 101": "find shows which leads are left",
    "run rules.toml": "run the same command again to continue",
}
OUTPUTS = {">&-": "standard output is closed", ">/dev/full": "No space left on device"}
every_command = pytest.mark.parametrize(("command", "otherwise"), COMMANDS.items(), ids=COMMANDS)
every_output = pytest.mark.parametrize(("output", "why"), OUTPUTS.items(), ids=OUTPUTS)


def answer(path: str, body: dict[str, Any]) -> Reply:
    if path.endswith("/find"):
        return page(1, 2)
    if path.endswith("/compare"):
        return compared(*(lead(lead_id, in_list=False, in_archive=True) for lead_id in body["lead_ids"]))
    return moved(body)


def client_of(folder: Path, url: str) -> Client:
    client = Client(folder, url)
    client.write("leads", 1, 2)
    client.write("rules.toml", "[[rules]]", 'name = "old"', "[rules.where]", "list_ids = [101]")
    return client


@every_command
@every_output
def test_a_summary_that_cannot_be_printed_has_status_2(
    tmp_path: Path, command: str, otherwise: str, output: str, why: str
) -> None:
    with fake(answer, FIND_OPENAPI) as url:
        result = client_of(tmp_path, url).shell(f"{COMMAND} {command} -q {output}")
    assert result.stderr.splitlines()[-1] == f"error: cannot write the summary: {why}; {otherwise}"
    assert "Traceback" not in result.stderr
    assert result.returncode == 2


@every_command
@every_output
def test_a_refusal_is_told_though_the_summary_cannot_be_printed(
    tmp_path: Path, command: str, otherwise: str, output: str, why: str
) -> None:
    with fake(lambda *_: Reply({"message": "no such key"}, 401), FIND_OPENAPI) as url:
        result = client_of(tmp_path, url).shell(f"{COMMAND} {command} -q {output}")
    *before, last = result.stderr.splitlines()
    assert "401 no such key" in "\n".join(before)
    assert last == f"error: cannot write the summary: {why}; {otherwise}"
    assert result.returncode == 3


@every_output
def test_how_to_go_on_is_told_though_the_summary_cannot_be_printed(tmp_path: Path, output: str, why: str) -> None:
    def refuse_the_second(_: str, body: dict[str, Any]) -> Reply:
        return moved(body) if body["lead_ids"] == [1] else Reply({"message": "no such key"}, 401)

    with fake(refuse_the_second, FIND_OPENAPI) as url:
        client = client_of(tmp_path, url)
        result = client.shell(f"{COMMAND} archive leads --jobs 1 --batch-size 1 -q {output}")
    assert "Go on with the same command and --resume.\nerror: cannot write the summary: " + why in result.stderr
    assert result.returncode == 3


def test_find_sends_nothing_if_standard_output_is_closed(tmp_path: Path) -> None:
    asked: list[str] = []

    def note(path: str, body: dict[str, Any]) -> Reply:
        asked.append(path)
        return answer(path, body)

    with fake(note, FIND_OPENAPI) as url:
        result = client_of(tmp_path, url).shell(f"{COMMAND} find --list 101 >&-")
    assert (result.returncode, result.stderr) == (2, "error: cannot write the ids: standard output is closed\n")
    assert not asked


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_closed_descriptors_change_nothing_but_the_summary(client: Client, leads: Tables, closed: str) -> None:
    leads.live(1, 2, 3)
    rows, _ = leads.both()
    client.write("leads", 1, 2)
    result = client.shell(f"{COMMAND} archive leads --json {closed}")
    printed = " >&-" not in f" {closed}"
    assert result.returncode == (0 if printed else 2)
    assert bool(result.stdout) == printed
    assert leads.both() == ({3: rows[3]}, {1: rows[1], 2: rows[2]})
    assert client.run("archive", "leads", "--resume", "--json").counts() == {"asked": 2, "moved": 2, "inserted": 2}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_needs_no_output(tmp_path: Path, option: str) -> None:
    assert Client(tmp_path, "http://127.0.0.1:1").shell(f"{COMMAND} {option} <&- >&- 2>&-").returncode == 0


def test_standard_input_that_is_closed_is_told(tmp_path: Path) -> None:
    result = Client(tmp_path, "http://127.0.0.1:1").shell(f"{COMMAND} archive - <&-")
    assert (result.returncode, result.stderr) == (2, "error: standard input is closed: name a file\n")
