"""docs/integration.md: what it shows are the files in docs/examples, and they do against the service what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support.api import KEY
from support.generated import DOCUMENT, EXAMPLES, NODE, run
from support.process import ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.tables import Tables

LANGUAGES = {"archive.sh": "bash", "archive.py": "python", "archive.ts": "typescript"}

COMMANDS = {"archive.sh": "bash", "archive.py": sys.executable, "archive.ts": NODE}


def test_the_examples_are_shown_as_they_are() -> None:
    shown = re.findall(r"^```(\w+)\n(.*?)^```\n", DOCUMENT, re.MULTILINE | re.DOTALL)

    assert shown == [(language, (EXAMPLES / name).read_text(encoding="utf-8")) for name, language in LANGUAGES.items()]
    assert set(LANGUAGES) == {path.name for path in EXAMPLES.glob("archive.*")}


class Example:
    """One of them, with the service that it is to call."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self._name = name
        self._folder = folder
        self._url = url

    def run(self, *lead_ids: int, key: str = KEY) -> tuple[int, str]:
        """Its status, and what it says: on standard output or, where it says nothing there, on standard error."""
        environment = {"LEAD_ARCHIVE_URL": self._url, "LEAD_ARCHIVE_KEY": key}
        done = run(COMMANDS[self._name], self._name, *map(str, lead_ids), folder=self._folder, **environment)
        return done.returncode, done.stdout or done.stderr


@pytest.mark.parametrize("name", LANGUAGES)
def test_an_example_archives_leads(tables: Tables, environment: dict[str, str], generated: Path, name: str) -> None:
    tables.live(1, 2, 3, 4)
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (3, 'READY')")
    live, _ = tables.both()
    with ServiceProcess(environment) as service:
        example = Example(name, generated, service.base_url)
        done, again, unknown, twice = [example.run(*lead_ids) for lead_ids in ([1, 2, 3], [1, 2, 3], [1, 5], [4, 4])]
        unauthorized = example.run(4, key="wrong")

    assert tables.both() == ({number: live[number] for number in (3, 4)}, {number: live[number] for number in (1, 2)})
    if name == "archive.sh":
        processed = '{"message":"lead_ids batch was successfully processed",'
        remaining = '"remaining_lead_ids":[3],"reused_lead_ids":[],"unmatched_lead_ids":[]}'
        assert done == (0, f'{processed}"select_count":3,"insert_count":2,"update_count":0,"delete_count":2,{remaining}')
        assert again == (0, f'{processed}"select_count":1,"insert_count":0,"update_count":0,"delete_count":0,{remaining}')
        assert unknown == (22, '{"message":"lead_ids does not exist","lead_errors":1,"lead_ids":[5]}')
        assert twice == (22, '{"message":"lead_ids cannot contain duplicate values","lead_errors":1,"lead_ids":[4]}')
        assert unauthorized == (22, '{"message":"unable to validate api user"}')
    else:
        assert done == (0, "2 leads left vicidial_list, these did not: [3]\n")
        assert again == (0, "0 leads left vicidial_list, these did not: [3]\n")
        assert unknown == (1, "lead_ids does not exist: [5]\n")
        assert twice == (1, "lead_ids cannot contain duplicate values: [4]\n")
        assert unauthorized == (1, "unable to validate api user; try again after - seconds\n")


@pytest.mark.parametrize("name", LANGUAGES)
def test_an_example_says_that_it_was_refused(tables: Tables, environment: dict[str, str], generated: Path, name: str) -> None:
    tables.live(1)
    before = tables.both()
    office_hours = {"OFFICE_HOURS": every_day_but_the_one_in_three_days(), "OFFICE_HOURS_TIMEZONE": "UTC"}
    with ServiceProcess({**environment, **office_hours}) as service:
        status, said = Example(name, generated, service.base_url).run(1)

    assert status == (22 if name == "archive.sh" else 1)
    assert "api cannot be executed during office hours time condition" in said
    assert name == "archive.sh" or re.search(r"; try again after \d+ seconds\n$", said)
    assert tables.both() == before
