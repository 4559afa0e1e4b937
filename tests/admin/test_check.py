"""`check` for accounts other than the one that `grants` makes, and what it prints where there is no terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from support.api import Api
from support.paths import ROOT
from support.process import PATIENCE, run_service
from support.remedies import ARCHIVE, LIST, Account, account, problems
from support.tables import Tables

from service.admin.check import Finding, State

NewApi = Callable[..., Api]

STOCK = "SELECT, INSERT, UPDATE, DELETE, LOCK TABLES"
"""What Vicidial's installers grant on the whole database."""


@pytest.fixture
def bare(tables: Tables) -> Iterator[Account]:
    """Create an account without privileges."""
    with account(tables) as bare:
        yield bare


def check(environment: dict[str, str], someone: Account) -> tuple[int, str]:
    """Status and output in a pipe, of a shell as narrow as any."""
    result = run_service({**environment, "DATABASE_URL": someone.url, "COLUMNS": "40"}, "check")
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout


def test_the_account_that_vicidial_has_will_do(
    tables: Tables, bare: Account, environment: dict[str, str], new_api: NewApi
) -> None:
    """It lacks CREATE TEMPORARY TABLES, which the service needs only if the two tables differ."""
    bare.grant(STOCK, "*")
    tables.live(1)
    status, output = check(environment, bare)
    assert status == 0, output
    assert "PROBLEM" not in output
    api = new_api(DATABASE_URL=bare.url)
    assert problems(api) == []
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert api.dearchive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([1], [])

    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(300)")
    status, output = check(environment, bare)
    assert status == 1
    assert "CREATE TEMPORARY TABLES" in output


@pytest.mark.parametrize("granted", ["database", "tables", "nested"])
def test_what_a_role_grants_is_seen(tables: Tables, bare: Account, environment: dict[str, str], granted: str) -> None:
    role = f"archivists_{tables.database}"
    tables.execute(f"CREATE ROLE {role}")
    tables.execute(f"CREATE ROLE {role}_outer")
    try:
        if granted == "tables":
            for (table,) in tables.execute("SHOW TABLES"):
                name = (table or b"").decode()
                what = "SELECT, INSERT, UPDATE, DELETE" if name in {LIST, ARCHIVE} else "SELECT"
                tables.execute(f"GRANT {what} ON {tables.database}.{name} TO {role}")
            tables.execute(f"GRANT REFERENCES ON {tables.database}.* TO {role}")
        else:
            tables.execute(f"GRANT {STOCK} ON {tables.database}.* TO {role}")
        tables.execute(f"GRANT {role} TO {role}_outer")
        given = f"{role}_outer" if granted == "nested" else role
        tables.execute(f"GRANT {given} TO {bare.name}")
        tables.execute(f"SET DEFAULT ROLE {given} FOR {bare.name}")
        status, output = check(environment, bare)
        assert (status, "PROBLEM" in output) == (0, False), output
    finally:
        tables.execute(f"DROP ROLE {role}")
        tables.execute(f"DROP ROLE {role}_outer")


@pytest.mark.parametrize(
    ("leads_in_use", "found"),
    [
        ("keep", "PROBLEM +archive, dearchive +another session has locked a table or the server for writing"),
        ("ignore", "note +pace +gentle now: another session has locked vicidial_live_agents"),
    ],
)
def test_a_lock_on_the_agents_is_told(
    tables: Tables, bare: Account, environment: dict[str, str], leads_in_use: str, found: str
) -> None:
    bare.grant(STOCK, "*")
    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_live_agents WRITE")
        status, output = check({**environment, "LEADS_IN_USE": leads_in_use}, bare)

    assert (status, re.search(found, output) is not None) == (int("PROBLEM" in found), True), output


@pytest.mark.parametrize(("workers", "engine", "found"), [("2", "MyISAM", 1), ("1", "MyISAM", 0), ("2", "InnoDB", 0)])
def test_several_processes_without_rollback_are_noted(
    tables: Tables, bare: Account, environment: dict[str, str], workers: str, engine: str, found: int
) -> None:
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {engine}")
    bare.grant(STOCK, "*")
    status, output = check({**environment, "WORKERS": workers}, bare)
    assert (status, output.count("set WORKERS=1")) == (0, found), output


@pytest.mark.parametrize(
    ("settings", "state", "found"),
    [
        ({"LEAD_IDS_LIMIT": "1000"}, "ok", "none: the records of batches go to the log"),
        (
            {"LEAD_IDS_LIMIT": "1001"},
            "note",
            "none: the records of batches go to the log, and journald may cut those of more than 1000 leads: set AUDIT_LOG",
        ),
        ({"LEAD_IDS_LIMIT": "1001", "AUDIT_LOG": "{folder}/audit.jsonl"}, "ok", "{folder}/audit.jsonl"),
    ],
)
def test_it_says_where_the_records_of_batches_go(
    environment: dict[str, str], tmp_path: Path, settings: dict[str, str], state: str, found: str
) -> None:
    settings = {name: value.format(folder=tmp_path) for name, value in settings.items()}
    result = run_service({**environment, **settings}, "check", "--json")
    findings = [each for each in json.loads(result.stdout)["findings"] if each["what"] == "audit log"]
    assert [(each["state"], each["found"]) for each in findings] == [(state, found.format(folder=tmp_path))]


def test_nothing_is_cut_off_where_there_is_no_terminal(tables: Tables, bare: Account, environment: dict[str, str]) -> None:
    name = "a_column_of_the_site_whose_name_is_as_long_as_names_of_columns_get"[:64]
    bare.grant(STOCK, "*")
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN {name} ENUM('{'x' * 200}')")
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD COLUMN other INT")

    status, output = check(environment, bare)

    assert status == 1
    assert re.search(rf"^ +PROBLEM +archive +vicidial_list_archive lacks the column {name} *$", output, re.MULTILINE)
    assert re.search(r"^ +PROBLEM +dearchive +vicidial_list lacks the column other *$", output, re.MULTILINE)
    assert "…  " not in output


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_cut_off_in_a_narrow_terminal(environment: dict[str, str], tables: Tables, width: int) -> None:
    name = "a_column_of_the_site_whose_name_is_as_long_as_names_of_columns_get"[:64]
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN {name} INT")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "check"], cwd=ROOT, env={**inherited, **environment}, stdout=theirs, stdin=theirs
    )
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(PATIENCE) == 1
    table = output.decode().split("To fix it:")[0]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", table)
    assert name in "".join(line.strip() for line in plain.splitlines())
    assert "…  " not in plain
    assert max(map(len, plain.splitlines())) <= width


def test_the_findings_are_also_an_object_of_json(tables: Tables, bare: Account, environment: dict[str, str]) -> None:
    bare.grant(STOCK, "*")
    settings = {**environment, "DATABASE_URL": bare.url}
    well = run_service(settings, "check", "--json")
    tables.execute(f"ALTER TABLE {LIST} ADD COLUMN tier INT")
    unwell = run_service(settings, "check", "--json")
    unset = run_service({**environment, "DATABASE_URL": "x"}, "check", "--json")

    assert (well.returncode, unwell.returncode, unset.returncode) == (0, 1, 1)
    answers = [json.loads(done.stdout) for done in (well, unwell, unset)]
    assert [answer["ok"] for answer in answers] == [True, False, False]
    assert {"state": "ok", "what": "office hours, archive", "found": "none: allowed at any time", "remedy": None} in answers[
        0
    ]["findings"]
    (problem,) = [finding for finding in answers[1]["findings"] if finding["state"] == "problem"]
    assert problem["found"] == "vicidial_list_archive lacks the column tier"
    assert problem["remedy"].startswith("ALTER TABLE `vicidial_list_archive` ADD COLUMN `tier`")
    assert [finding["what"] for finding in answers[2]["findings"]] == ["settings"]
    for answer in answers:
        assert all(set(finding) == {"state", "what", "found", "remedy"} for finding in answer["findings"])
        assert {finding["state"] for finding in answer["findings"]} <= {"ok", "note", "problem"}


def test_the_documented_object_has_the_fields_of_the_real_one() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^    (\{\"ok\": .*\})$", page, re.MULTILINE)

    answer = json.loads(example)
    assert set(answer) == {"ok", "findings"}
    for finding in answer["findings"]:
        assert set(finding) == {field.name for field in fields(Finding)}
        assert finding["state"] in {state.value.lower() for state in State}
