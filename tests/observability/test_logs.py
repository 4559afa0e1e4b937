"""The log: names of keys, request ids, what went wrong; never a key, a password, or the values of variables."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys

import httpx2
import pytest
from support.api import KEY, Api
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

BREAK_WHAT_ASKS_FOR_IT = """
from service.api import leads
from service.__main__ import main

read_body = leads.read_body

async def break_if_asked(request, *rest):
    if "x-break" in request.headers:
        raise RuntimeError("the defect")
    return await read_body(request, *rest)

leads.read_body = break_if_asked
main([])
"""


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_defect_leaves_its_trace_in_the_log_and_none_in_the_answer(
    tables: Tables, environment: dict[str, str], level: str
) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    command = ("-c", BREAK_WHAT_ASKS_FOR_IT)
    with (
        ServiceProcess({**environment, "LOG_LEVEL": level}, command) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        api = Api(client)
        body = json.dumps({**api.ALL, "lead_ids": [1, 2]})

        broken = api.post(body, **{"X-Break": "", "X-Request-ID": "broken"})
        assert broken.status_code == 500
        assert broken.json() == {"message": "internal error; no lead is lost, and the request can be repeated"}
        assert tables.both() == (before, {})

        assert api.post(body, **{"X-Request-ID": "works"}).json()["delete_count"] == 2
        assert api.post(body, Authorization="Key=stolen-key").status_code == 401
        assert service.stop() == 0
        log, lines = service.log, service.log_lines

    (error,) = [line for line in lines if line["event"] == "internal error"]
    assert (error["request_id"], error["key"], error["level"]) == ("broken", "tests", "error")
    assert error["exception"].startswith("Traceback (most recent call last):")
    assert error["exception"].endswith("RuntimeError: the defect")
    (archived,) = [line for line in lines if line["event"] == "leads archived"]
    assert (archived["request_id"], archived["key"], archived["lead_ids"]) == ("works", "tests", [1, 2])
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/livez"]
    assert [(line.get("key"), line["method"], line["path"], line["status"]) for line in requests] == [
        ("tests", "POST", "/vicidial/leads/archive", 500),
        ("tests", "POST", "/vicidial/leads/archive", 200),
        (None, "POST", "/vicidial/leads/archive", 401),
    ]
    assert all(line["timestamp"] and line["level"] for line in lines)
    for secret in (KEY, "stolen-key", tables.mariadb.password):
        assert secret not in log
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_level_above_info_leaves_only_what_is_wrong(environment: dict[str, str], level: str) -> None:
    with ServiceProcess({**environment, "LOG_LEVEL": level.upper()}) as service:
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
        assert service.log == ""


ERROR_WITH_A_SECRET = """
import structlog
from service.observability import logs

def check(secret):
    try:
        raise RuntimeError("the defect")
    except RuntimeError:
        structlog.get_logger().exception("internal error")

logs.configure("info")
check("-".join(["correct", "horse"]))
"""


def test_on_a_terminal_too_no_variables_are_shown() -> None:
    terminal, other_end = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", ERROR_WITH_A_SECRET], cwd=ROOT, stderr=other_end, timeout=PATIENCE, check=True)
        shown = os.read(terminal, 1_000_000).decode()
    finally:
        os.close(other_end)
        os.close(terminal)

    assert "internal error" in shown
    assert "RuntimeError" in shown
    assert "correct-horse" not in shown


# --- docs/logs.md --------------------------------------------------------------------------------------------------------

DOCUMENT = (ROOT / "docs/logs.md").read_text(encoding="utf-8")


def logged() -> list[tuple[str, str, set[str]]]:
    """Every line that the code can log: event, level, and the fields that are named there."""
    found = []
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=level), args=[event]):
                    fields = {keyword.arg for keyword in node.keywords if keyword.arg}
                    found += [(text, {"exception": "error"}.get(level, level), fields) for text in texts(event)]
    return found


def texts(event: ast.expr) -> list[str]:
    """The texts that an event can be: those with a variable in them have the name of the operation there."""
    match event:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return [
                "".join(str(part.value) if isinstance(part, ast.Constant) else operation for part in parts)
                for operation in ("archive", "dearchive")
            ]
        case _:
            return []


def test_each_line_of_the_code_is_documented_with_its_fields_and_no_other_is() -> None:
    rows = {
        event: (level, fields)
        for event, level, fields in re.findall(r"^\| `([a-z ]+)` \| (\w+) \| (.*?) \|", DOCUMENT, re.MULTILINE)
    }
    assert rows.keys() == {event for event, _, _ in logged()}
    for event, level, fields in logged():
        assert rows[event][0] == level
        assert fields - {"key"} <= set(re.findall(r"`(\w+)`", rows[event][1])), event


def test_the_lines_of_a_running_service_are_documented_and_hold_no_lead_data(
    tables: Tables, environment: dict[str, str]
) -> None:
    tables.execute("ALTER TABLE vicidial_list_archive MODIFY comments VARCHAR(5), ADD UNIQUE KEY (first_name)")
    leads = {"first_name": "Secret-Name", "comments": "Secret-Comment", "phone_number": "2125559999"}
    tables.live(1, 2, **leads)
    tables.archived(3, **{**leads, "comments": "", "first_name": "Secret-Other"})
    with (
        ServiceProcess({**environment, "LOG_LEVEL": "debug", "WORKERS": "2"}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        api = Api(client)
        assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [1, 2]
        assert api.dearchive_all([3]).status_code == 200
        assert api.compare([1, 2, 3]).status_code == 200
        tables.execute("ALTER TABLE vicidial_list ADD COLUMN tier INT")
        assert api.archive_all([1, 2]).status_code == 503
        tables.execute("RENAME TABLE vicidial_list TO gone")
        assert api.archive_all([1, 2]).status_code == 503
        assert service.stop() == 0
        lines = service.log_lines

    documented = [
        ".*".join(map(re.escape, event.split("…")))
        for event in re.findall("`([^`]+)`", "".join(re.findall(r"(?m)^\|(.*?)\|", DOCUMENT)))
    ]
    events = {line["event"] for line in lines if line["level"] != "debug"}
    assert {event for event in events if not any(re.fullmatch(pattern, event) for pattern in documented)} == set()
    for secret in (*leads.values(), "Secret", KEY, tables.mariadb.password):
        assert secret not in json.dumps(lines)
