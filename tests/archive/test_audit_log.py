"""The audit log: a line with the intent is on disk before a lead leaves its table, and a line with the outcome follows."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.api import KEY, Api
from support.auditor import BOTH, Line, answer, ask, events, read
from support.fixtures import ReadSettings
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

from service.files import must_have_name
from service.observability import audit_file

# --- what is recorded ----------------------------------------------------------------------------------------------------


def test_each_batch_leaves_its_intent_and_its_outcome(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(3, 1, comments="Secret-Comment")
    tables.archived(2)
    before, archived = tables.both()
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (3)")

    response = audited.archive_all([3, 2, 1])
    assert audited.dearchive_all([1]).status_code == 200

    assert tables.both() == (before, archived)
    intent, outcome, back, back_outcome = read(path)
    common = {"operation": "archive", "request_id": response.headers["X-Request-ID"], "key": "tests"}
    assert intent.pop("time") < outcome.pop("time") < back.pop("time") < back_outcome.pop("time")
    batch = intent.pop("batch_id")
    assert outcome.pop("batch_id") == batch
    assert intent == {"event": "intent", **common, **Api.ALL, "lead_ids": [3, 2, 1], "leaving_lead_ids": [1]}
    counts = {name: value for name, value in response.json().items() if name != "message"}
    facts = {"outcome": "committed", **counts, "deleted_lead_ids": [1], "gone_lead_ids": [], "pace": "full"}
    assert outcome == {"event": "outcome", **common, **facts}
    assert (back["event"], back["operation"], back["leaving_lead_ids"]) == ("intent", "dearchive", [1])
    assert (back_outcome["outcome"], back_outcome["deleted_lead_ids"]) == ("committed", [1])
    assert back["batch_id"] == back_outcome["batch_id"] != batch
    text = path.read_text()
    for secret in (KEY, hashlib.sha256(KEY.encode()).hexdigest(), tables.mariadb.password, "Secret", "2125550101"):
        assert secret not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_batch_that_is_refused_beforehand_leaves_no_line(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    before = tables.both()

    assert audited.archive_all([1, 2]).status_code == 404
    assert audited.archive_all([]).status_code == 400
    tables.execute("ALTER TABLE vicidial_list ADD COLUMN tier INT FIRST")
    assert audited.archive_all([1]).status_code == 503
    tables.execute("ALTER TABLE vicidial_list DROP COLUMN tier")

    assert tables.both() == before
    assert not path.exists()


def test_without_a_file_the_same_two_lines_go_to_the_log(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    with (
        ServiceProcess(environment) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
    ):
        assert Api(client).archive_all([2, 1]).json()["delete_count"] == 2
        assert Api(client).dearchive_all([2]).json()["delete_count"] == 1
        assert service.stop() == 0
        log, lines = service.log, [line for line in service.log_lines if "batch_id" in line]

    assert tables.ids() == ([2], [1])
    assert tables.rows("vicidial_list") | tables.rows("vicidial_list_archive") == before
    assert [(line["event"], line.get("outcome")) for line in lines] == [
        ("archive intended", None),
        ("leads archived", "committed"),
        ("dearchive intended", None),
        ("leads dearchived", "committed"),
    ]
    assert (lines[0]["leaving_lead_ids"], lines[1]["deleted_lead_ids"]) == ([1, 2], [1, 2])
    assert lines[1]["lead_ids"] == [2, 1]
    (tmp_path / "audit.jsonl").write_text(log)
    assert [(line["operation"], line["moved"]) for line in ask(tmp_path, 2)] == [("archive", True), ("dearchive", True)]
    assert [(line["operation"], line["moved"]) for line in ask(tmp_path, 1)] == [("archive", True)]


# --- the order of things -------------------------------------------------------------------------------------------------


def test_the_intent_is_on_disk_before_anything_is_changed(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1)
    before, _ = tables.both()
    tables.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    seen = []
    flush = os.fdatasync

    def look_first(descriptor: int) -> None:
        seen.append((events(path)[-1][0], tables.both()))
        flush(descriptor)

    monkeypatch.setattr("os.fdatasync", look_first)
    assert audited.archive_all([1]).json()["delete_count"] == 1

    assert seen == [("intent", (before, {})), ("outcome", ({}, before))]


def test_the_folder_of_a_new_file_is_on_disk_too(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.live(1, 2, 3, 4)
    synced = []
    flush = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    monkeypatch.setattr("os.fsync", remember)
    assert audited.archive_all([1]).status_code == 200
    assert synced == [str(path.parent)]
    assert audited.archive_all([2]).status_code == 200
    assert synced == [str(path.parent)]
    path.rename(path.with_suffix(".1"))
    assert audited.archive_all([3]).status_code == 200
    assert synced == [str(path.parent)] * 2
    path.unlink()
    assert audited.archive_all([4]).status_code == 200
    assert synced == [str(path.parent)] * 3
    assert tables.ids() == ([], [1, 2, 3, 4])


# --- the file ------------------------------------------------------------------------------------------------------------


def test_a_line_after_a_torn_one_is_whole(tables: Tables, audited: Api, path: Path) -> None:
    tables.live(1)
    path.write_bytes(b'{"event":"intent"}\n{"event":"inte')

    assert audited.archive_all([1]).status_code == 200

    first, torn, *rest = path.read_bytes().splitlines()
    assert (first, torn, len(rest)) == (b'{"event":"intent"}', b'{"event":"inte', 2)
    assert events(path)[1:] == BOTH
    assert tables.ids() == ([], [1])


@pytest.mark.parametrize(
    ("rotate", "kept"),
    [
        (lambda path: path.rename(path.with_name("audit.jsonl.1")), True),
        (lambda path: path.unlink(), False),
        (lambda path: os.truncate(path, 0), False),
    ],
    ids=["rename", "remove", "cut off"],
)
def test_the_file_may_be_replaced_at_any_moment(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch, rotate: Callable[[Path], object], kept: bool
) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    flush = os.fdatasync
    rotations = iter([rotate])

    def flush_and_rotate(descriptor: int) -> None:
        flush(descriptor)
        for rotation in rotations:
            rotation(path)

    monkeypatch.setattr("os.fdatasync", flush_and_rotate)
    assert audited.archive_all([1]).status_code == 200
    assert events(path) == BOTH  # the intent, though it was written just before
    rotate(path)
    assert audited.archive_all([2]).status_code == 200

    assert events(path) == BOTH
    assert tables.both() == ({}, before)
    if kept:
        assert [line["moved"] for line in ask(path.parent, 2)] == [True]


def test_a_search_during_which_the_files_are_rotated_says_so(tmp_path: Path) -> None:
    """A file that gets the name of the one that was just read is not read."""
    for number, name in enumerate(["audit.jsonl.2.gz", "audit.jsonl.1", "audit.jsonl"]):
        (tmp_path / name).write_bytes(gzip.compress(b"{}") if number == 0 else b"{}")
    line = {"event": "outcome", "outcome": "committed", "batch_id": "1", "deleted_lead_ids": [7]}
    (tmp_path / "audit.jsonl").write_text(json.dumps(line))
    assert len(ask(tmp_path, 7)) == 1
    programs = tmp_path / "programs"
    programs.mkdir()
    zcat = programs / "zcat"
    zcat.write_text(f"""#!/bin/sh
{shutil.which("zcat")} "$@"
[ "$2" != audit.jsonl.1 ] || {{ mv audit.jsonl.1 audit.jsonl.2; mv audit.jsonl audit.jsonl.1; : > audit.jsonl; }}
""")
    zcat.chmod(0o755)

    warning = "the files were rotated meanwhile: search again\n"
    assert ask(tmp_path, 7, warning=warning, PATH=f"{programs}:{os.environ['PATH']}") == []
    assert len(ask(tmp_path, 7)) == 1


@pytest.mark.parametrize("rotate", [lambda path: path.rename(path.with_name("audit.jsonl.1")), Path.unlink])
def test_the_file_may_be_replaced_just_when_it_was_opened(
    tables: Tables, audited: Api, path: Path, monkeypatch: pytest.MonkeyPatch, rotate: Callable[[Path], object]
) -> None:
    tables.live(1)
    before, _ = tables.both()
    times: list[Path] = []

    def rotate_and_look(opened: Path) -> None:
        times.append(opened)
        if len(times) in {1, 3}:  # of the intent, and of the outcome
            rotate(opened)
        must_have_name(opened)

    monkeypatch.setattr(audit_file, "must_have_name", rotate_and_look)

    answer = audited.archive_all([1])

    assert (answer.status_code, len(times)) == (200, 4)
    assert events(path)[-1:] == BOTH[-1:]
    if rotate is not Path.unlink:
        assert [line["moved"] for line in ask(path.parent, 1)] == [True]
    assert tables.both() == ({}, before)


def test_several_workers_append_whole_lines(tables: Tables, environment: dict[str, str], path: Path) -> None:
    leads = range(1, 301)
    tables.live(*leads)
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "AUDIT_LOG": str(path), "WORKERS": "2"}) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(8) as executor,
    ):
        answers = list(executor.map(lambda first: Api(client).archive_all(list(range(first, first + 10))), leads[::10]))
        assert [response.status_code for response in answers] == [200] * 30
        lines = read(path)

    assert tables.both() == ({}, before)
    assert len(lines) == len(path.read_bytes().splitlines()) == 60
    for kind in ("intent", "outcome"):
        of_kind = [line for line in lines if line["event"] == kind]
        assert {line["request_id"] for line in of_kind} == {answer.headers["X-Request-ID"] for answer in answers}
    assert sorted(lead_id for line in lines for lead_id in line.get("deleted_lead_ids", [])) == list(leads)


def test_reading_the_settings_makes_no_file(settings_from: ReadSettings, environment: dict[str, str], path: Path) -> None:
    """Commands run as root: the file would be root's, and the service could not write to it."""
    assert path == settings_from({**environment, "AUDIT_LOG": str(path)}).AUDIT_LOG

    assert not path.exists()


# --- the question --------------------------------------------------------------------------------------------------------

TIMES = (f"2026-01-01T00:00:{second:02}.000000Z" for second in range(60))


def line(event: str, batch: str, operation: str = "archive", **fields: Any) -> Line:
    common = {"event": event, "time": next(TIMES), "batch_id": batch, "operation": operation}
    return {**common, "request_id": batch, "key": "k", **fields}


def test_the_documented_question_is_answered_from_any_lines(tmp_path: Path) -> None:
    lines = [
        line("intent", "taken back", leaving_lead_ids=[1, 2]),
        line("outcome", "taken back", outcome="rolled back"),
        line("intent", "left alone", leaving_lead_ids=[1, 2]),
        line("outcome", "left alone", outcome="committed", deleted_lead_ids=[2]),
        line("intent", "deleted by others", leaving_lead_ids=[3, 4]),
        line("outcome", "deleted by others", outcome="committed", deleted_lead_ids=[3], gone_lead_ids=[4]),
        line("intent", "killed", leaving_lead_ids=[1]),
        line("intent", "repeated", leaving_lead_ids=[]),
        line("outcome", "repeated", outcome="committed", deleted_lead_ids=[]),
        line("intent", "back", "dearchive", leaving_lead_ids=[1]),
        line("writable again", ""),
        line("outcome", "back", "dearchive", outcome="committed", deleted_lead_ids=[1]),
        line("intent", "unconfirmed", leaving_lead_ids=[1]),
        line("outcome", "unconfirmed", outcome="not known"),
    ]
    texts = [json.dumps(line) for line in lines]
    texts.insert(3, '{"event":"outcome","batch_id":"killed","outcome":"rolled')
    (tmp_path / "audit.jsonl.1").write_text("\n".join(texts[:5]) + "\n17\n")
    (tmp_path / "audit.jsonl").write_text("\n".join(texts[5:]) + "\n")

    asked = {lead_id: ask(tmp_path, lead_id) for lead_id in (1, 2, 3, 4, 5)}

    assert [(line["request_id"], line["operation"], line["moved"]) for line in asked[1]] == [
        ("taken back", "archive", False),
        ("left alone", "archive", False),
        ("killed", "archive", None),
        ("back", "dearchive", True),
        ("unconfirmed", "archive", None),
    ]
    assert [(line["request_id"], line["moved"]) for line in asked[2]] == [("taken back", False), ("left alone", True)]
    assert [line["moved"] for line in asked[3] + asked[4]] == [True, "gone"]
    assert asked[5] == []
    assert all(line["key"] == "k" and line["time"] for line in asked[1])
    for lead_id, expected in asked.items():
        assert answer(lines, lead_id) == expected


@pytest.mark.parametrize(
    "rotated",
    [
        [],
        ["audit.jsonl.1"],
        ["audit.jsonl.10.gz", "audit.jsonl.9.gz", "audit.jsonl.1"],
        ["audit.jsonl-20260101.gz", "audit.jsonl-20260201.gz", "audit.jsonl-20260301"],
    ],
    ids=["one file", "two files", "many files", "files with dates"],
)
def test_the_answer_has_the_order_in_which_it_happened_whatever_the_clocks_say(tmp_path: Path, rotated: list[str]) -> None:
    """The clock is set back before each file, and the files were copied without their times. Each file ends in the middle of a
    line: a process was killed, and the file was renamed before the next line came."""
    expected = []
    for number, name in enumerate([*rotated, "audit.jsonl"]):
        first, second, third = (
            line("intent", f"{step} in {name}", leaving_lead_ids=[4711]) for step in ("first", "second", "third")
        )
        for seconds, intent in enumerate((first, second, third)):
            intent["time"] = f"2026-01-{20 - number}T00:00:0{seconds}.000000Z"
        lines = [first, second, third, {**second, "n": "again"}, line("outcome", second["batch_id"], outcome="rolled back")]
        text = "".join(f"{json.dumps(line)}\n" for line in lines).encode() + b'{"event":"intent","batch_id":"torn'
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        os.utime(tmp_path / name, (1000 - number, 1000 - number))
        expected += [first["batch_id"], third["batch_id"], second["batch_id"]]

    assert [line["request_id"] for line in ask(tmp_path, 4711)] == expected
