"""The SQL files: what the loader refuses, and that the output of `python -m service sql` does the same as the service."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from click.testing import CliRunner
from support.process import run_service
from support.tables import Tables

from service import resource_path
from service.__main__ import main
from service.database.statements import PLACEHOLDERS, Statements, identifier, integers
from service.errors import StatementError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's sql/, which the loader accepts."""
    copy = tmp_path / "sql"
    copytree(resource_path("sql"), copy)
    Statements.load(copy)
    return copy


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("new.sql", "", "holds no statement"),
        ("new.sql", " \n\n", "holds no statement"),
        ("new.sql", "-- SELECT 1\n  -- nothing yet\n", "holds no statement"),
        ("new.sql", "SELECT {lead_id}", "unknown placeholder lead_id"),
        ("new.sql", "SELECT {b}, {a}, {source}", "unknown placeholder a, b"),
        ("new.sql", "SELECT {}", "unknown placeholder "),
        ("new.sql", "SELECT {0}", "unknown placeholder 0"),
        ("new.sql", "SELECT {source.__class__}", "unknown placeholder source.__class__"),
        ("new.sql", "SELECT {source[0]}", "unknown placeholder source[0]"),
        ("new.sql", "SELECT {Source}", "unknown placeholder Source"),
        ("new.sql", "SELECT { source }", "unknown placeholder  source "),
        ("new.sql", "SELECT {lead_ids:>20}", "a placeholder is a name in braces and nothing else"),
        ("new.sql", "SELECT {lead_ids!r}", "a placeholder is a name in braces and nothing else"),
        ("new.sql", "SELECT {lead_ids", "expected '}' before end of string"),
        ("new.sql", "SELECT 1 }", "Single '}' encountered in format string"),
        ("new.sql", "SELECT 1;", "holds a semicolon"),
        ("new.sql", "DELETE FROM {source}; DROP TABLE {source}", "holds a semicolon"),
        ("new.sql", "SELECT 1", "no code uses it"),
        ("INSERT_LEADS.sql", "SELECT 1", "no code uses it"),
        ("leads_in_use/vicidial_hopper.sql", "SELECT 1", "no code uses it"),
        ("deeper/delete_leads.sql", "SELECT 1", "no code uses it"),
    ],
)
def test_the_loader_refuses_a_file(folder: Path, file: str, content: str, problem: str) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)

    with pytest.raises(StatementError) as caught:
        Statements.load(folder)

    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.parametrize("placeholder", sorted(PLACEHOLDERS))
def test_the_loader_refuses_a_placeholder_that_no_statement_uses(folder: Path, placeholder: str) -> None:
    for path in folder.rglob("*.sql"):
        path.write_text(path.read_text().replace("{" + placeholder + "}", "1"))

    with pytest.raises(StatementError) as caught:
        Statements.load(folder)

    assert str(caught.value) == f"no statement uses the placeholder {placeholder}"


def test_the_loader_refuses_a_folder_without_statements(tmp_path: Path) -> None:
    with pytest.raises(StatementError):
        Statements.load(tmp_path)


def test_comments_are_not_sent_and_other_files_are_not_read(folder: Path) -> None:
    (folder / "notes.txt").write_text("{nonsense};")
    (folder / "prepare.sql").write_text("-- It's {not} sent; really.\nSELECT '{{}}',\n\n    {statement} -- this is\n")

    filled = Statements.load(folder).prepare.fill({"statement": "1, 2"})

    assert filled == "SELECT '{}',\n    1, 2 -- this is"


@pytest.mark.parametrize("name", ["delete_leads", "session"])
def test_the_loader_refuses_a_folder_that_lacks_a_statement(folder: Path, name: str) -> None:
    (folder / f"{name}.sql").unlink()

    with pytest.raises(StatementError) as caught:
        Statements.load(folder)

    assert str(caught.value) == f"{folder}/{name}.sql: is missing"


def test_a_value_that_is_not_there_is_an_error(folder: Path) -> None:
    statements = Statements.load(folder)
    with pytest.raises(KeyError):
        statements.delete_leads.fill({"source": "a", "target": "b", "lead_ids": "1", "not_in_use": "TRUE"})


def test_what_is_filled_in_is_not_looked_at_again(folder: Path) -> None:
    with (folder / "update_leads.sql").open("a") as file:
        file.write("\n/* {assignments} FROM {source} */")

    statement = Statements.load(folder).update_leads
    values = defaultdict(str, assignments="`{source}`", source="`{assignments}`")
    filled = statement.template.format_map(values).rsplit("/* ", 1)[1].removesuffix(" */")

    assert filled == "`{source}` FROM `{assignments}`"


@pytest.mark.parametrize(("name", "quoted"), [("a", "`a`"), ("a`b", "`a``b`"), ("`", "````"), ("a b;--", "`a b;--`")])
def test_identifiers_are_quoted(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


def test_integers_are_written_as_a_list() -> None:
    assert integers([4711]) == "4711"
    assert integers([3, 1, 4294967295, 0]) == "3, 1, 4294967295, 0"


class Sly(int):
    """An int whose text is not its number."""

    def __str__(self) -> str:
        return "1) OR (1=1"


@pytest.mark.parametrize("value", ["1", "1) OR (1=1", True, 1.0, None, b"1", [1], Sly(1)], ids=repr)
def test_nothing_but_integers_gets_into_a_statement(value: Any) -> None:
    for values in ([value], [1, value], [value, 1]):
        with pytest.raises(TypeError, match="only integers"):
            integers(values)


def test_an_empty_list_of_integers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        integers([])


@pytest.fixture
def run_script(tables: Tables) -> Callable[[str], str]:
    """run_script(sql) -> the output of the mariadb client."""

    def run(script: str) -> str:
        server = tables.mariadb
        login = ["--host=127.0.0.1", f"--port={server.port}", f"--user={server.user}", f"--password={server.password}"]
        result = subprocess.run(
            ["mariadb", "--no-defaults", "--batch", "--skip-column-names", *login, tables.database],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    return run


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_the_printed_statements_archive_the_leads_that_are_named_and_no_others(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    for table in ("vicidial_list", "vicidial_list_archive"):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN `a ``b;c` ENUM('x;', 'y') DEFAULT 'x;'")
    tables.live(4710, 4711, 4712, 4713, 4714)
    tables.archived(4711, 4712, comments="another")
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (4714)")
    live, archived = tables.both()

    printed = run_service(environment, "sql", "4711", "4714", "4713")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert tables.both() == (live, archived)  # printing runs nothing
    rows = run_script(printed.stdout)

    gone = {lead_id: live.pop(lead_id) for lead_id in (4711, 4713)}
    assert tables.both() == (live, {**gone, 4712: archived[4712]})
    # The leads that exist, the one that was archived before, and whether its copy belongs to the same lead. 4714 is in use.
    assert rows.split() == ["4711", "4713", "4711", "NULL"]
    assert "-- 4714 is in use (vicidial_hopper.lead_id): left alone." in printed.stdout


def test_a_lead_in_use_between_those_that_are_named_does_not_keep_them(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    tables.live(1, 2, 3, 4, 5)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (2), (3)")
    live, _ = tables.both()

    run_script(run_service(environment, "sql", "1", "3", "5").stdout)

    assert tables.both() == ({number: live[number] for number in (2, 3, 4)}, {number: live[number] for number in (1, 5)})


@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_lead_that_gets_into_use_after_the_statements_were_printed_stays(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    """The table has no key on the lead. A script does not look at it before COMMIT, as a batch does."""
    tables.live(1, 2)
    live, _ = tables.both()
    printed = run_service(environment, "sql", "1", "2").stdout
    tables.execute("INSERT INTO vicidial_live_agents (lead_id) VALUES (1)")

    run_script(printed)

    assert tables.both() == ({1: live[1]}, live)


def test_one_lead_is_archived_by_piping_its_statements_into_the_client(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    tables.live(471, 4711, 47110)
    live, _ = tables.both()

    run_script(run_service(environment, "sql", "4711").stdout)

    lead = live.pop(4711)
    assert tables.both() == (live, {4711: lead})


def test_whoever_pastes_the_printed_statements_one_by_one_may_pause(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    """Otherwise the server would end the transaction in its middle, and the client connect again and go on without one."""
    tables.live(1)
    printed = run_service(environment, "sql", "4711").stdout

    for name in ("idle_transaction_timeout", "wait_timeout"):
        assert run_script(f"{printed}SELECT @@{name} = @@GLOBAL.{name};").split()[-1] == "1"


def test_without_a_lead_the_statements_are_printed_for_lead_0(
    tables: Tables, environment: dict[str, str], run_script: Callable[[str], str]
) -> None:
    tables.live(1)
    before = tables.both()

    assert run_script(run_service(environment, "sql").stdout) == "NULL\tNULL\n"
    assert tables.both() == before


@pytest.mark.parametrize("argument", ["x", "1,2", "1.0", "-1", "4294967296", "1) OR (1=1", "", "--drop"])
def test_what_is_no_lead_id_is_refused_by_the_command_line(argument: str) -> None:
    result = CliRunner().invoke(main, ["sql", argument])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: ")
