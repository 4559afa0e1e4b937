"""The messages and the behaviour of the bulk client when it cannot or must not continue."""

from __future__ import annotations

import http.server
import json
import os
import pty
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trustme
from support.api import KEY
from support.client import COMMAND, Client
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

NOWHERE = "http://127.0.0.1:1"
"""A server that no test may reach."""


@pytest.fixture
def client(environment: dict[str, str], tmp_path: Path) -> Iterator[Client]:
    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "2"}) as service:
        yield Client(tmp_path, service.base_url)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["archive", "nofile"], {}, "error: cannot read nofile: No such file or directory"),
        (["archive", "."], {}, "error: cannot read .: Is a directory"),
        (["archive", "empty"], {}, "error: empty: there are no lead ids in it"),
        (["archive", "wrong"], {}, "error: wrong, line 2: 'abc' is not a lead id: write one lead id a line"),
        (["archive", "leads"], {"LEAD_ARCHIVE_URL": ""}, "error: no server is given: set LEAD_ARCHIVE_URL, or give --url"),
        (["archive", "leads", "--url", "127.0.0.1:80"], {}, "error: the URL of the server is https://HOST or"),
        (["archive", "leads", "--url", "http://user:pw@h"], {}, "error: the URL of the server is https://HOST or"),
        (["archive", "leads"], {"LEAD_ARCHIVE_KEY": ""}, "error: no key is given: set LEAD_ARCHIVE_KEY, or give --key-file"),
        (["archive", "leads", "--key-file", "nokey"], {}, "error: cannot read the key: "),
        (["archive", "leads", "--key-file", "wrong"], {}, "error: the key is not one line of ASCII letters"),
        (
            ["archive", "leads", "--resume"],
            {},
            "error: there is no journal leads.archive.journal",
        ),
        (["archive", "leads", "--resume", "--start-over"], {}, "error: --resume and --start-over are opposites"),
        (["archive", "leads", "--left", "leads"], {}, "error: FILE and --left are the same file, leads: name another"),
        (["archive", "leads", "--journal", "wrong"], {}, "error: wrong is not a journal of lead-archive"),
        (["archive", "leads", "--journal", "other.db"], {}, "error: other.db is not a journal of lead-archive"),
        (["archive", "leads", "--journal", "no/such"], {}, "error: cannot write the journal no/such: "),
        (["archive", "leads", "--key", KEY[:5]], {}, "No such option"),
        (["archive", "leads", "--jobs", "0"], {}, "--jobs"),
        (["archive"], {}, "error: name either a FILE of lead ids or conditions such as --list 101"),
        (["compare", "leads", "--dry-run"], {}, "No such option"),
        (["steal", "leads"], {}, "No such command 'steal'"),
    ],
)
def test_wrong_usage_is_refused_with_status_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    client = Client(tmp_path, NOWHERE)
    client.write("leads", 1)
    client.write("empty")
    client.write("wrong", 1, "abc")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE mine (my INTEGER)")

    result = client.invoke(*arguments, environment=environment)

    assert message in result.errors
    assert (result.status, result.output) == (2, "")
    assert client.read("leads") == ["1"]
    assert client.read("wrong") == ["1", "abc"]


def test_a_wrong_key_stops_at_once(client: Client, tables: Tables) -> None:
    tables.live(1, 2, 3)
    before = tables.both()
    file = client.write("leads", "1-3")

    result = client.invoke("archive", file, "--json", environment={"LEAD_ARCHIVE_KEY": "wrong"})

    assert (result.status, result.counts()) == (3, {"asked": 3, "not_sent": 3})
    assert "401 unable to validate api user" in result.summary["error"]
    assert tables.both() == before
    again = client.invoke("archive", file)
    assert again.status == 0, again.errors


def test_a_wrong_path_or_another_service_stops_at_once(client: Client) -> None:
    file = client.write("leads", 1)
    url = client.environment["LEAD_ARCHIVE_URL"]

    result = client.invoke("archive", file, "--url", f"{url}/v2/")
    assert result.status == 3
    assert f"{url}/v2/openapi.yaml does not say how many lead ids a request may have" in result.errors

    result = client.invoke("archive", file, "--url", f"{url}/v2", "--batch-size", 10)
    assert result.status == 3
    assert "the server refuses: 404 there is nothing at this path" in result.errors


@contextmanager
def imposter(status: int, **headers: str) -> Iterator[str]:
    """Yield the URL of a server that answers every request with a status and a page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            for name, value in {"Content-Length": "14", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"<html>Welcome!")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, {}, "/openapi.yaml of the server is no OpenAPI document"),
        (
            301,
            {"Location": "https://elsewhere.example/"},
            "301 Moved Permanently, and nothing that this API says; it points",
        ),
        (404, {}, "404 Not Found, and nothing that this API says. Is the address right"),
        (407, {}, "407 Proxy Authentication Required"),
        (500, {}, "the server cannot process leads, tried for 0 s: 500 Internal Server Error"),
    ],
)
def test_what_is_not_the_service_is_told(tmp_path: Path, status: int, headers: dict[str, str], message: str) -> None:
    with imposter(status, **headers) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", 1), "--batch-size", 5, "--retry-for", 0)

    assert result.status == 3
    assert message in result.errors


def test_resume_wants_the_same_ids_flags_and_server(client: Client, tables: Tables) -> None:
    tables.live(1, 2, 3)
    file = client.write("leads", "1-3")
    journal = client.folder / "leads.archive.journal"
    assert client.invoke("archive", file, "--jobs", 1).status == 0
    with closing(sqlite3.connect(journal, isolation_level=None)) as database:
        database.execute("DELETE FROM batch WHERE number = 1")

    for arguments, message in {
        ("--no-update",): "update_leads is false and was true",
        ("--url", "http://localhost:1"): 'url is "http://localhost:1" and was',
    }.items():
        result = client.invoke("archive", file, "--resume", *arguments)
        assert result.status == 2
        assert message in result.errors
    client.write("leads", "1-4")
    result = client.invoke("archive", file, "--resume")
    assert result.status == 2
    assert "the lead ids are not those of the run that the journal" in result.errors

    # Another notation of the same ids.
    client.write("leads", "lead_id", 3, 2, 1)
    assert client.invoke("archive", file, "--resume", "--json").counts() == {
        "asked": 3,
        "moved": 2,
        "already": 1,
        "inserted": 2,
    }
    client.write("leads", "1-4")
    assert client.invoke("archive", file, "--json").counts() == {"asked": 4, "already": 3, "unknown": 1}


def test_a_run_that_was_not_finished_can_be_started_over(client: Client, tables: Tables) -> None:
    tables.live(1, 2, 3)
    file = client.write("leads", "1-3")
    client.invoke("archive", file)
    with closing(sqlite3.connect(client.folder / "leads.archive.journal", isolation_level=None)) as database:
        database.execute("DELETE FROM batch WHERE number = 1")

    assert client.invoke("archive", file).status == 2
    assert client.invoke("archive", file, "--start-over", "--json").counts() == {"asked": 3, "already": 3}


def test_a_journal_serves_one_client_at_a_time(client: Client) -> None:
    file = client.write("leads", 1)
    client.invoke("archive", file)
    with closing(sqlite3.connect(client.folder / "leads.archive.journal", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        result = client.invoke("archive", file)

    assert result.status == 2
    assert "another lead-archive uses the journal leads.archive.journal" in result.errors


def test_a_limit_that_was_lowered_meanwhile(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(*range(1, 11))
    before, _ = tables.both()
    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "4"}) as service:
        client = Client(tmp_path, service.base_url)
        file = client.write("leads", "1-10")
        client.invoke("archive", file)
    with closing(sqlite3.connect(tmp_path / "leads.archive.journal", isolation_level=None)) as database:
        database.execute("DELETE FROM batch WHERE number > 0")
        tables.execute("INSERT INTO vicidial_list SELECT * FROM vicidial_list_archive WHERE lead_id > 4")
        (identity,) = database.execute("SELECT value FROM run WHERE name = 'identity'").fetchone()
        with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "3"}) as service:
            changed = json.dumps({**json.loads(identity), "url": service.base_url})
            database.execute("UPDATE run SET value = ? WHERE name = 'identity'", (changed,))
            database.close()
            result = Client(tmp_path, service.base_url).invoke("archive", file, "--resume", "--json")

    assert (result.status, result.counts()) == (0, {"asked": 10, "moved": 10, "inserted": 4})
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("name", ["127.0.0.1", "elsewhere.example"])
def test_tls_is_verified(tables: Tables, environment: dict[str, str], tmp_path: Path, name: str) -> None:
    tables.live(1)
    ca = trustme.CA()
    issued = ca.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = {"TLS_CERT_FILE": str(tmp_path / "cert.pem"), "TLS_KEY_FILE": str(tmp_path / "key.pem")}
    trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    with ServiceProcess({**environment, **tls}) as service:
        client = Client(tmp_path, service.base_url)
        file = client.write("leads", 1)
        refused = client.invoke("archive", file, environment=trusted if name == "elsewhere.example" else {})

        assert refused.status == 3
        assert f"the certificate of {service.base_url} cannot be verified" in refused.errors
        assert tables.ids() == ([1], [])
        if name == "elsewhere.example":
            assert client.invoke("archive", file, "-k").status == 0
        else:
            assert client.invoke("archive", file, environment=trusted).status == 0
    assert tables.ids() == ([], [1])


def test_on_a_terminal_there_is_a_bar(client: Client, tables: Tables) -> None:
    tables.live(*range(1, 12))
    near, far = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "archive", client.write("leads", "1-11"), "--json"],
        cwd=client.folder,
        env={**client.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=far,
    )
    os.close(far)
    output, _ = process.communicate(timeout=PATIENCE)
    seen = b""
    with closing(os.fdopen(near, "rb", buffering=0)) as terminal:
        try:
            while more := terminal.read(65536):
                seen += more
        except OSError:  # the other end of the pipe was closed
            pass

    assert process.returncode == 0
    assert json.loads(output)["moved"] == 11
    assert "━━━".encode() in seen
    assert b"11 of 11 leads (100 %)" in seen
