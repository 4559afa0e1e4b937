"""The complete programs of docs/integration.md, in six languages, against the service: with answers that are lost or are a
proxy's, with ids that are refused, with conditions, within office hours."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import KEY
from support.generated import DOCUMENT, EXAMPLES, NODE, run
from support.process import ServiceProcess
from support.refusals import every_day_but_the_one_in_three_days
from support.tables import Tables

PROGRAMS = EXAMPLES / "programs"

COMMANDS = {
    "archive_leads.sh": "bash",
    "archive_leads.php": "php",
    "archive_leads.py": sys.executable,
    "archive_leads.mjs": NODE,
    "archive_leads.go": "",
    "ArchiveLeads.java": "java",
}

LARGEST = 4294967295

IDS = [1, 2, 2, 3, 4, 5, 6, LARGEST, 8, 9]
"""2 twice; 5 is in use, 6 and 9 do not exist."""


@pytest.fixture(scope="module", params=COMMANDS)
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of a program."""
    name = request.param
    if name != "archive_leads.go":
        return [COMMANDS[name], str(PROGRAMS / name)]
    folder = tmp_path_factory.mktemp("go")
    built = run("go", "build", "-o", str(folder / "program"), name, folder=PROGRAMS, GOCACHE=str(folder / "cache"))
    assert built.returncode == 0, built.stderr
    return [str(folder / "program")]


@contextlib.contextmanager
def unreliable(service: ServiceProcess) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy that loses an answer, and has answers of its own; and the faults that it has not had yet.
    An empty fault is none: each wait is short."""
    faults = ["404", "", "200", "", "403", "", "502", "", "429", "lose the answer"]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            fault = faults.pop() if faults and self.path.endswith("/archive") else ""
            if fault.isdigit():
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(int(fault), b"<html>the proxy is busy</html>", {"Retry-After": "1"} if fault == "429" else {})
            else:
                self.forward(lose=fault != "")

        def forward(self, *, lose: bool = False) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port)
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            connection.request(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))), headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if lose:
                self.close_connection = True
            else:
                self.answer(response.status, content, {})

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", faults
        server.shutdown()


def archive(command: list[str], url: str, *arguments: str, folder: Path, key: str = KEY) -> tuple[int, list[str], str]:
    """Run a program: its status, the sorted lines of its output, and what it says on standard error."""
    done = run(*command, *arguments, folder=folder, LEAD_ARCHIVE_URL=url, LEAD_ARCHIVE_KEY=key)
    assert KEY not in done.stdout + done.stderr
    return done.returncode, sorted(done.stdout.splitlines()), done.stderr


def test_a_program_archives_a_file_of_leads_whatever_happens_to_the_answers(
    command: list[str], tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1, 2, 3, 4, 5, 8, LARGEST)
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (5, 'READY')")
    live, _ = tables.both()
    (tmp_path / "leads").write_text("".join(f"{lead_id}\n" for lead_id in IDS))

    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "3"}) as service, unreliable(service) as (url, faults):
        status, lines, errors = archive(command, url, "leads", folder=tmp_path)

    assert (status, lines) == (0, ["5 stayed", "6 lead_ids does not exist", "9 lead_ids does not exist"]), errors
    assert not faults
    # The answer to the first batch was lost: its repetition says that nothing was left to do.
    assert re.search(r"^3 leads left vicidial_list$", errors, re.MULTILINE), errors
    stayed = {5: live.pop(5)}
    assert tables.both() == (stayed, live)


def test_a_program_archives_the_leads_that_match_conditions(
    command: list[str], tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1, 2, 3, LARGEST, status="DNC")
    tables.live(4, 5, status="NEW")
    tables.execute("INSERT INTO vicidial_hopper (lead_id, status) VALUES (2, 'READY')")
    live, _ = tables.both()

    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "3"}) as service:
        status, lines, errors = archive(command, service.base_url, "--where", '{"statuses": ["DNC"]}', folder=tmp_path)
        refused = archive(command, service.base_url, "--where", '{"status": "DNC"}', folder=tmp_path)

    assert (status, lines) == (0, ["2 stayed"]), errors
    assert re.search(r"^3 leads left vicidial_list$", errors, re.MULTILINE), errors
    assert refused[:2] == (2, [])
    assert "status" in refused[2]
    stayed = {lead_id: live.pop(lead_id) for lead_id in (2, 4, 5)}
    assert tables.both() == (stayed, live)


def test_a_program_archives_nothing_from_a_file_with_a_line_that_is_no_id(
    command: list[str], tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1, 7, 2024)
    before = tables.both()
    with ServiceProcess(environment) as service:
        for line in ("2024-01-01", "7,8", "0x7", "7x"):
            (tmp_path / "leads").write_text(f"1\n{line}\n")
            status, lines, errors = archive(command, service.base_url, "leads", folder=tmp_path)

            assert (status > 0, lines, tables.both()) == (True, [], before), (line, errors)
        status, lines, errors = archive(command, service.base_url, "no such file", folder=tmp_path)
    assert (status > 0, lines) == (True, []), errors


def test_a_program_without_arguments_or_settings_shows_its_usage(command: list[str], tmp_path: Path) -> None:
    done = run(*command, folder=tmp_path, LEAD_ARCHIVE_URL="", LEAD_ARCHIVE_KEY="")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY ")


def test_a_program_ends_with_a_word_within_office_hours_and_where_it_is_refused(
    command: list[str], tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1)
    before = tables.both()
    (tmp_path / "leads").write_text("1\n")
    within = {"OFFICE_HOURS": every_day_but_the_one_in_three_days(), "OFFICE_HOURS_TIMEZONE": "UTC"}

    with ServiceProcess({**environment, **within}) as service:
        status, lines, errors = archive(command, service.base_url, "leads", folder=tmp_path)
        wrong_key = archive(command, service.base_url, "leads", folder=tmp_path, key="wrong")

    assert (status, lines) == (3, [])
    message = r"api cannot be executed during office hours time condition; start again in [1-9]\d* seconds"
    assert re.fullmatch(message, errors.strip())
    assert (wrong_key[0], wrong_key[2].strip()) == (2, "unable to validate api user")
    assert tables.both() == before


def test_every_program_is_linked() -> None:
    assert {path.name for path in PROGRAMS.iterdir()} == set(COMMANDS)
    assert [name for name in COMMANDS if f"](examples/programs/{name})" not in DOCUMENT] == []
