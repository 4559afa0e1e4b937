"""`check` and `grants`: what they say of good and bad installations, and that the service works with the privileges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from support.api import Api
from support.process import run_service
from support.remedies import account as new_account
from support.tables import Tables

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


@pytest.fixture
def account(tables: Tables) -> Iterator[str]:
    """An account that may do nothing, as SQL writes it. Its password is "secret"."""
    with new_account(tables) as made:
        yield made.name


@pytest.fixture
def granted(tables: Tables, account: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a service whose account has what `grants` prints."""
    result = run_service(environment, "grants", account)
    assert result.returncode == 0, result.stderr
    for statement in result.stdout.splitlines():
        tables.execute(statement.removesuffix(";"))
    url = re.sub("//.*@", f"//archive_{tables.database}:secret@", environment["DATABASE_URL"])
    return {**environment, "DATABASE_URL": url}


def check(environment: dict[str, str]) -> tuple[int, str]:
    """Run `check`, and return its status and its output without line folding."""
    result = run_service({**environment, "COLUMNS": "400"}, "check")
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout


def remedies(output: str) -> list[str]:
    return [line.removesuffix(";") for block in output.split("To fix it:\n")[1:] for line in block.strip().splitlines()]


def test_an_installation_that_is_as_it_should_be(granted: dict[str, str], tables: Tables) -> None:
    before = tables.both()

    status, output = check(granted)

    assert status == 0
    for said in ("MariaDB", "InnoDB", "all that it needs, and no more", "none: allowed at any time", "tests (", "plain HTTP"):
        assert said in output
    assert "PROBLEM" not in output
    assert "secret" not in output
    assert tables.both() == before


def test_the_admin_log_needs_one_privilege_more(granted: dict[str, str], tables: Tables) -> None:
    with_log = {**granted, "ADMIN_LOG": "on"}
    status, output = check(with_log)
    assert status == 0
    assert "the account may not write to vicidial_admin_log" in output
    (statement,) = [remedy for remedy in remedies(output) if "vicidial_admin_log" in remedy]
    account = statement.partition(" TO ")[2].rstrip(";")

    assert statement.rstrip(";") in run_service(with_log, "grants", account).stdout
    assert "vicidial_admin_log" not in run_service(granted, "grants", account).stdout

    tables.execute(statement)
    assert "all that it needs, and no more" in check(with_log)[1]
    assert "more than it needs on vicidial_admin_log: INSERT" in check(granted)[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"ALTER TABLE {LIST} ADD COLUMN tier INT", "vicidial_list_archive lacks the column tier"),
        (f"ALTER TABLE {ARCHIVE} DROP PRIMARY KEY", "lead_id is no unique key of vicidial_list_archive"),
    ],
)
def test_tables_that_do_not_fit_are_fixed_by_the_remedy(
    granted: dict[str, str], tables: Tables, change: str, said: str
) -> None:
    tables.execute(change)

    status, output = check(granted)
    assert status == 1
    assert said in output
    for statement in remedies(output):
        tables.execute(statement)

    assert check(granted)[0] == 0


def test_columns_that_are_made_otherwise_are_named_and_fixed(granted: dict[str, str], tables: Tables) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(20), MODIFY status VARCHAR(6) CHARACTER SET latin1")

    status, output = check(granted)
    assert status == 0  # leads that fit can be archived
    assert len(re.findall("leads that do not fit stay", output)) == 2
    for statement in remedies(output):
        if "ALTER TABLE" in statement:
            tables.execute(statement)

    assert "leads that do not fit stay" not in check(granted)[1]


def test_check_reports_missing_tables(granted: dict[str, str], tables: Tables) -> None:
    tables.execute("DROP TABLE vicidial_hopper")
    status, output = check(granted)
    assert status == 0
    assert "there is no table vicidial_hopper" in output

    tables.execute(f"DROP TABLE {ARCHIVE}")
    status, output = check(granted)
    assert status == 1
    assert "doesn't exist" in output


def test_a_database_that_does_not_answer_and_settings_that_are_wrong(granted: dict[str, str]) -> None:
    status, output = check({**granted, "DATABASE_URL": granted["DATABASE_URL"].replace("secret", "wrong")})
    assert status == 1
    assert "Access denied" in output

    status, output = check({**granted, "OFFICE_HOURS": "always", "PORT": "x"})
    assert status == 1
    assert "OFFICE_HOURS: 'always' is not a window" in output
    assert len(re.findall("PROBLEM +settings ", output)) == 2  # a message with a semicolon is one problem
    assert "PORT: " in output


# UPDATE of vicidial_list is needed on a cluster only.
PRIVILEGES = [
    *((LIST, privilege) for privilege in ("SELECT", "INSERT", "DELETE")),
    *((ARCHIVE, privilege) for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")),
    ("vicidial_hopper", "SELECT"),
    ("*", "CREATE TEMPORARY TABLES"),
]


def test_a_missing_privilege_is_named_and_granted_by_the_remedy(granted: dict[str, str], tables: Tables, account: str) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(200)")  # so that the way back makes a temporary table
    for table, privilege in PRIVILEGES:
        database = tables.database.replace("_", r"\_") if table == "*" else tables.database
        tables.execute(f"REVOKE {privilege} ON `{database}`.{table} FROM {account}")
        status, output = check(granted)
        assert status == 1, (table, privilege)
        assert privilege in output
        for statement in remedies(output):
            if statement.startswith("GRANT"):
                tables.execute(statement)
        assert check(granted)[0] == 0


def test_privileges_that_are_too_much_are_named(granted: dict[str, str], tables: Tables, account: str) -> None:
    tables.execute(f"GRANT DROP ON {tables.database}.{LIST} TO {account}")
    tables.execute(f"GRANT ALTER ON `{tables.database}`.* TO {account}")
    tables.execute(f"GRANT PROCESS ON *.* TO {account}")

    status, output = check(granted)

    assert status == 0
    for said in (f"on {LIST}: DROP", f"in {tables.database}: ALTER", "everywhere: PROCESS"):
        assert f"more than it needs {said}" in output


def test_the_service_works_with_these_privileges(
    granted: dict[str, str], tables: Tables, new_api: Callable[..., Api], account: str
) -> None:
    tables.execute(f"ALTER TABLE {ARCHIVE} MODIFY comments VARCHAR(200)")  # so that the way back makes a temporary table
    tables.live(1, 2, 3)
    tables.archived(2, status="NEW")
    before, _ = tables.both()
    api = new_api(DATABASE_URL=granted["DATABASE_URL"])

    assert api.get("/readyz").json() == {"message": "ready", "problems": [], "notes": [], "skipped_tables": []}
    assert api.compare([1]).status_code == 200
    assert api.archive_all([1, 2, 3]).json()["delete_count"] == 3
    assert api.dearchive_all([1, 2, 3]).json()["delete_count"] == 3
    assert tables.both() == (before, {})

    # Each of them is needed. UPDATE of vicidial_list is, on a cluster.
    for table, privilege in PRIVILEGES:
        database = tables.database.replace("_", r"\_") if table == "*" else tables.database
        tables.execute(f"REVOKE {privilege} ON `{database}`.{table} FROM {account}")
        tables.archived(2, status="NEW")
        api = new_api(DATABASE_URL=granted["DATABASE_URL"])  # a connection keeps the privileges on the database that it had
        answers = [api.archive_all([1, 2, 3]).status_code, api.dearchive_all([1, 2, 3]).status_code]
        assert 503 in answers, (table, privilege)
        tables.execute(f"GRANT {privilege} ON `{database}`.{table} TO {account}")
        tables.execute(f"DELETE FROM {LIST}")
        tables.execute(f"DELETE FROM {ARCHIVE}")
        tables.live(1, 2, 3)


@pytest.mark.parametrize("account", ["archive", "'a'@'b'; DROP TABLE x", "'a\\'@'b'", "'a'@'b' IDENTIFIED BY 'x'"])
def test_an_account_that_is_none_is_refused(environment: dict[str, str], account: str) -> None:
    result = run_service(environment, "grants", account)

    assert (result.returncode, result.stdout) == (2, "")
    assert "write the account as SQL does" in result.stderr


def test_office_hours_keys_and_certificate(environment: dict[str, str], keys_file: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    expired = (now - timedelta(days=1)).date()
    keys_file.write_text(
        keys_file.read_text()
        + f'[[keys]]\nname = "old"\nsha256 = "{"0" * 64}"\nexpires = {expired}\n'
        + f'[[keys]]\nname = "new"\nsha256 = "{"1" * 64}"\nlist_ids = [7]\n'
    )
    keys_file.chmod(0o644)
    certificate = trustme.CA().issue_cert("localhost", not_after=now + timedelta(days=5))
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    today = now.strftime("%a")
    hours = {"OFFICE_HOURS": f"{today} 00:00-24:00", "OFFICE_HOURS_TIMEZONE": "UTC"}
    files = {"TLS_CERT_FILE": str(tmp_path / "cert"), "TLS_KEY_FILE": str(tmp_path / "key")}

    _, output = check({**environment, **hours, **files})

    tomorrow = (now + timedelta(days=1)).strftime("%a %Y-%m-%d 00:00 UTC")
    assert f"forbidden now, until {tomorrow}" in output
    assert "old (00000000…): expired" in output
    assert "new (11111111…): valid; lists 7" in output
    assert "has mode 0644: others may read or change it" in output
    assert re.search(r"note +certificate .*, [45] days", output)

    certificate = trustme.CA().issue_cert("localhost", not_before=now - timedelta(9), not_after=now - timedelta(days=5))
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    status, output = check({**environment, **files})
    assert status == 1
    assert re.search("PROBLEM +certificate .*, expired", output)


def test_in_a_file_it_is_plain_text(environment: dict[str, str]) -> None:
    assert "\x1b" not in run_service(environment, "check").stdout
