"""`python -m service`: what prevents the start, with an error of one line, what does not, and how it stops."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mariadb import PrivateMariaDB, free_port
from support.databases import MARIADB_OPTIONS, create_database
from support.process import SLACK, ServiceProcess, run_service
from support.remedies import account
from support.tables import Tables

from service import __version__
from service.archive.readiness import MAX_AGE


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def assert_ends(environment: dict[str, str], message: str) -> None:
    """Assert that the service exits with status 2 and this one line, which contains no password."""
    result = run_service(environment)

    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    assert environment.get("DATABASE_URL", "//none:none@").split("@")[0].rpartition(":")[2] not in result.stderr
    assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DATABASE_URL": None}, "DATABASE_URL: is not set"),
        (
            {"DATABASE_URL": None, "API_KEYS_FILE": None, "OFFICE_HOURS": None},
            "DATABASE_URL: is not set; API_KEYS_FILE: is not set; OFFICE_HOURS: is not set\n",
        ),
        ({"DATABASE_URL": "mysql+asyncmy://cron:pass/word@h/d"}, "DATABASE_URL: not a URL; "),
        ({"API_KEYS_FILE": "/nowhere"}, "API_KEYS_FILE: cannot read /nowhere: No such file or directory\n"),
        ({"OFFICE_HOURS": "always", "PORT": "x"}, "OFFICE_HOURS: 'always' is not a window: "),
        ({"TLS_CERT_FILE": __file__, "TLS_KEY_FILE": __file__}, "TLS_KEY_FILE: TLS_CERT_FILE and it are not a PEM"),
    ],
)
def test_a_wrong_setting_prevents_the_start(environment: dict[str, str], changes: dict[str, str | None], message: str) -> None:
    merged = {**environment, **changes}
    assert_ends({name: value for name, value in merged.items() if value is not None}, message)


def test_a_database_that_cannot_be_used_prevents_the_start(tables: Tables, environment: dict[str, str]) -> None:
    cannot = "DATABASE_URL: cannot use the database: "
    url, server = tables.url, tables.mariadb
    for changed, message in {
        url.replace(str(server.port), str(free_port())): "Can't connect to MySQL server on '127.0.0.1'",
        url.replace(server.password, "wrong-password"): "Access denied for user 'vicidial'@",
        url.replace(tables.database, "nowhere"): "Unknown database 'nowhere'\n",
        url.replace(tables.database, "mysql"): "Table 'mysql.vicidial_list' doesn't exist\n",
    }.items():
        assert changed != url
        assert_ends({**environment, "DATABASE_URL": changed}, cannot + message)


@pytest.mark.parametrize(
    ("version", "said"),
    [("10.4.34-MariaDB", "10.4.34-MariaDB: this service needs"), ("8.0.36", "8.0.36, no MariaDB: this service needs")],
)
def test_a_server_that_is_too_old_or_another(environment: dict[str, str], tmp_path: Path, version: str, said: str) -> None:
    """A fake server that reports this version: none of these servers can be installed."""
    with PrivateMariaDB(tmp_path, (*MARIADB_OPTIONS, f"--version={version}")) as server:
        create_database(server, "asterisk")
        message = f"DATABASE_URL: the server is {said} MariaDB 10.5 or later"

        assert_ends({**environment, "DATABASE_URL": server.url("asterisk")}, message)
        check = run_service({**environment, "DATABASE_URL": server.url("asterisk")}, "check")
        assert check.returncode == 1
        assert said in check.stdout


def test_a_missing_table_prevents_the_start(tables: Tables, environment: dict[str, str]) -> None:
    tables.execute("DROP TABLE vicidial_list_archive")

    message = f"cannot use the database: Table '{tables.database}.vicidial_list_archive' doesn't exist\n"
    assert_ends(environment, f"DATABASE_URL: {message}")


def test_an_address_that_cannot_be_listened_on_prevents_the_start(environment: dict[str, str], taken_port: int) -> None:
    taken = {"HOST": "127.0.0.1", "PORT": str(taken_port)}
    assert_ends({**environment, **taken}, f"cannot listen on 127.0.0.1:{taken_port}: Address already in use\n")
    assert_ends({**environment, **taken, "WORKERS": "2"}, f"cannot listen on 127.0.0.1:{taken_port}: Address already")
    assert_ends({**environment, "HOST": "nowhere.invalid"}, "cannot listen on nowhere.invalid:8000: ")


def test_tables_that_do_not_fit_are_no_reason_not_to_start(tables: Tables, environment: dict[str, str]) -> None:
    tables.execute("ALTER TABLE vicidial_list_archive DROP PRIMARY KEY")

    with ServiceProcess(environment) as service:
        first, *_ = map(json.loads, service.log.splitlines())
        remedy = (
            "SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ALTER TABLE `vicidial_list_archive` ADD PRIMARY KEY (`lead_id`)"
        )
        assert (first["event"], first["level"], first["problems"]) == (
            "tables do not fit",
            "error",
            [
                {
                    "message": "lead_id is no unique key of vicidial_list_archive: a lead could be in it twice",
                    "remedy": remedy,
                }
            ],
        )
        assert service.get("/readyz")[0] == 503
        tables.execute(remedy)
        time.sleep(MAX_AGE)
        assert service.get("/readyz")[0] == 200


def test_a_server_that_is_read_only_is_no_reason_not_to_start(tables: Tables, environment: dict[str, str]) -> None:
    with account(tables) as service_account:
        service_account.grant("SELECT, INSERT, UPDATE, DELETE, REFERENCES, CREATE TEMPORARY TABLES", "*")
        tables.execute("SET GLOBAL read_only = 1")
        try:
            with ServiceProcess({**environment, "DATABASE_URL": service_account.url}) as service:
                first, *_ = map(json.loads, service.log.splitlines())
                ready = service.get("/readyz")[0]
        finally:
            tables.execute("SET GLOBAL read_only = 0")

    ((message, remedy),) = [(problem["message"], problem["remedy"]) for problem in first["problems"]]
    assert (first["event"], message.partition(":")[0]) == ("tables do not fit", "the server is read only")
    assert (remedy, ready) == ("SET GLOBAL read_only = OFF", 503)


def test_it_listens_on_ipv6_too(environment: dict[str, str]) -> None:
    with ServiceProcess(environment, host="::1") as service:
        assert service.base_url == f"http://[::1]:{service.port}"
        assert service.get("/livez")[0] == 200


def test_where_it_was_started_does_not_matter(environment: dict[str, str], tmp_path: Path) -> None:
    result = run_service(environment, "sql", "4711", folder=tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    assert "4711" in result.stdout


@pytest.mark.parametrize(
    ("argument", "status", "said"),
    [("--version", 0, f"vicidial-lead-archive-api, version {__version__}\n"), ("serve", 2, ""), ("--port=80", 2, "")],
)
def test_arguments_are_answered_and_do_not_start_the_service(argument: str, status: int, said: str) -> None:
    result = run_service({}, argument)

    assert (result.returncode, result.stdout) == (status, said)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_it_stops_with_status_0_and_leaves_nothing_behind(
    environment: dict[str, str], number: signal.Signals, workers: str
) -> None:
    with ServiceProcess({**environment, "WORKERS": workers}) as service:
        # Idle connections and incomplete requests do not delay the stop.
        with closing(http.client.HTTPConnection(service.host, service.port)) as idle:
            idle.request("GET", "/livez")
            idle.getresponse().read()
            with socket.create_connection((service.host, service.port)):
                started = time.monotonic()
                assert service.stop(number) == 0
                assert time.monotonic() - started < 1 + SLACK
        assert not service.anything_left()
        assert "Traceback" not in service.log


def test_workers_stop_when_the_process_that_started_them_is_killed(environment: dict[str, str]) -> None:
    with ServiceProcess({**environment, "WORKERS": "2"}) as service:
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        assert not service.anything_left()


def test_a_reload_does_not_end_a_service_whose_modules_are_not_loaded_yet(environment: dict[str, str], tmp_path: Path) -> None:
    """The first library that it imports sends itself SIGHUP, and ends the process if that survives."""
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nos._exit(7)\n"
    (tmp_path / "click.py").write_text(program)

    assert run_service({**environment, "PYTHONPATH": str(tmp_path)}).returncode == 7


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_threads_that_look_up_names_are_there_before_the_first_request(environment: dict[str, str], workers: str) -> None:
    """libuv starts them with the first look-up, and ends the process if the system has no thread left."""
    with ServiceProcess({**environment, "WORKERS": workers}) as service:
        for pid in service.workers or [service.pid]:
            threads = [task.joinpath("comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()]
            assert threads.count("libuv-worker") >= 4
