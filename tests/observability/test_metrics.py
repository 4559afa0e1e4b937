"""/metrics: the figures move with what happens, are those of all workers, and the documentation names each of them."""

from __future__ import annotations

import itertools
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pymysql
import pytest
import yaml
from mariadb import PrivateMariaDB, free_port
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from support.api import PATHS, Api
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess, run_service
from support.tables import Tables
from support.waiting import wait_until

from service.api.metrics_app import create_metrics_app
from service.api.middleware import METHODS
from service.observability import metrics_text
from service.observability.metrics_files import SIZE, ReservedFile
from service.observability.metrics_folder import MetricsFolder

DOCUMENT = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
ALWAYS_NEW = (
    "-c",
    "from service.observability import metrics_text as m; m.KEPT_FOR = 0; from service.__main__ import main; main([])",
)
"""The arguments of Python that start a service whose /metrics is never a second old."""

NO_REUSE = httpx2.Limits(max_keepalive_connections=0)
WHAT = ("inserted", "updated", "deleted", "remaining")
POST = {"method": "POST", "route": "/vicidial/leads/archive"}


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for family in parse(text) for sample in family.samples
    }


class Figures:
    """The samples of /metrics, and their increase since this object was created."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._before = figures(ask())

    def now(self, name: str, **labels: str) -> float:
        return figures(self._ask()).get((name, frozenset(labels.items())), 0.0)

    def more(self, name: str, **labels: str) -> float:
        return self.now(name, **labels) - self._before.get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(autouse=True)
def always_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process of the tests, each request makes the text of /metrics anew."""
    monkeypatch.setattr(metrics_text, "KEPT_FOR", 0)


def test_the_figures_move_with_what_happens(tables: Tables, api: Api) -> None:
    tables.live(1, 2, 3, 4)
    tables.archived(2, status="NEW")
    tables.archived(3)
    tables.execute("INSERT INTO vicidial_hopper (lead_id) VALUES (4)")
    seen = Figures(lambda: api.get("/metrics").text)

    api.archive_all([1, 2, 3, 4])
    api.dearchive_all([1])
    api.archive_all([9])
    api.client.get("/made-up")

    moved = {
        operation: [
            seen.more(f"leads_{what}_total", operation=operation) for what in ("inserted", "updated", "deleted", "remaining")
        ]
        for operation in ("archive", "dearchive")
    }
    assert moved == {"archive": [1, 1, 3, 1], "dearchive": [1, 0, 1, 0]}
    assert seen.more("http_requests_total", **POST, status="200") == 1
    assert seen.more("http_requests_total", **POST, status="404") == 1
    assert seen.more("http_requests_total", method="GET", route="other", status="404") == 1
    assert seen.more("http_request_duration_seconds_count", **POST) == 2
    assert (seen.now("database_pool_in_use"), seen.now("database_pool_waiting")) == (0, 0)
    assert seen.now("office_hours_forbid", operation="archive") == 0
    assert tables.ids() == ([1, 4], [2, 3])


def test_what_callers_make_up_is_no_label(api: Api) -> None:
    """Each label value is a time series that is never removed."""
    seen = Figures(lambda: api.get("/metrics").text)
    paths = ("/vicidial/leads/archive", "/livez", "/made-up")
    methods = ("PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "other")
    for path in paths:
        for method in methods:
            assert api.client.request(method, path).status_code in (404, 405)

    for path in paths:
        route = "other" if path == "/made-up" else path
        status = "404" if path == "/made-up" else "405"
        assert seen.more("http_requests_total", method="other", route=route, status=status) == len(methods)
        assert seen.more("http_request_duration_seconds_count", method="other", route=route) == len(methods)
    labels = [dict(labels) for _, labels in figures(api.get("/metrics").text)]
    assert {label["method"] for label in labels if "method" in label} <= {"GET", "HEAD", "POST", "other"}
    contract = {method.upper() for path in PATHS.values() for method in path if method != "parameters"}
    assert contract | {"HEAD"} == METHODS


def test_retries_are_counted(tables: Tables, new_api: Callable[..., Api]) -> None:
    tables.live(1)
    api = new_api(REQUEST_TIMEOUT="3")
    seen = Figures(lambda: api.get("/metrics").text)
    with locked_row(tables):
        assert api.archive_all([1]).status_code == 503

    assert seen.more("database_retries_total", code="1205") >= 1
    assert tables.ids() == ([1], [])


def locked_row(tables: Tables) -> pymysql.connections.Connection[Any]:
    connection = tables.mariadb.connect(tables.database, autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
    return connection


def test_the_metrics_show_which_operation_office_hours_forbid(new_api: Callable[..., Api]) -> None:
    now = datetime(2025, 6, 2, 12, tzinfo=UTC)
    api = new_api(lambda: now, OFFICE_HOURS="Mon 08:00-17:00", OFFICE_HOURS_TIMEZONE="UTC")

    seen = Figures(lambda: api.get("/metrics").text)

    assert seen.now("office_hours_forbid", operation="archive") == 1
    assert seen.now("office_hours_forbid", operation="dearchive") == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_connections_in_use_and_the_figures_of_all_workers(tables: Tables, environment: dict[str, str], workers: str) -> None:
    tables.live(*range(1, 42))
    port = free_port()
    settings = {**environment, "WORKERS": workers, "METRICS_PORT": str(port), "DATABASE_POOL_SIZE": "1"}
    with (
        ThreadPoolExecutor(1) as executor,
        ServiceProcess(settings, ALWAYS_NEW) as service,
        httpx2.Client(
            base_url=service.base_url, timeout=PATIENCE, limits=httpx2.Limits(max_keepalive_connections=0)
        ) as client,
    ):
        # Each request on a connection of its own, so that both workers get some.
        seen = Figures(lambda: httpx2.get(f"http://127.0.0.1:{port}/metrics").text)
        api = Api(client)
        for lead_id in range(2, 42):
            assert api.archive_all([lead_id]).json()["delete_count"] == 1
        assert seen.more("leads_deleted_total", operation="archive") == 40
        assert seen.more("http_requests_total", **POST, status="200") == 40
        assert api.get("/metrics").status_code == 404

        tables.execute("CREATE TRIGGER site BEFORE DELETE ON vicidial_list FOR EACH ROW DO SLEEP(5)")
        request = executor.submit(api.archive_all, [1])
        tables.wait_for_a_trigger()
        wait_until(lambda: seen.now("database_pool_in_use") == 1)  # the text of /metrics may be a second old
        if workers == "2":  # a worker that is killed uses no connection any more
            for pid in service.workers:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: seen.now("database_pool_in_use") == 0)
            with pytest.raises(httpx2.TransportError):
                request.result()
        assert seen.more("leads_deleted_total", operation="archive") == 40 if workers == "2" else request.result()


@pytest.mark.parametrize("size", ["8k", "150k"])
def test_a_full_disk_costs_figures_and_no_worker(
    tables: Tables, environment: dict[str, str], tmp_path: Path, size: str
) -> None:
    """TMPDIR has room for nothing, or for some of the files only."""
    tables.live(*range(1, 9))
    folder = tmp_path / "full"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    command = ("--map-root-user", "--mount", "sh", "-c", mount, str(folder), sys.executable, "-m", "service")
    settings = {**environment, "WORKERS": "2", "TMPDIR": str(folder)}
    with ServiceProcess(settings, command, python="unshare") as service:
        before = service.workers
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE, limits=NO_REUSE) as client:
            api = Api(client)
            for lead_id in range(1, 9):
                assert api.archive_all([lead_id]).json()["delete_count"] == 1
            answer = api.get("/metrics")
            assert answer.status_code == 200
            assert "office_hours_forbid" in answer.text
        assert service.workers == before
        assert service.wait_for_line("figures not kept")[0]["error"] == "No space left on device"
        assert service.stop() == 0
        assert "worker ended" not in service.log
        assert "Traceback" not in service.log
    assert tables.ids() == ([], list(range(1, 9)))


@pytest.mark.parametrize("port", ["the API's", "its own"])
def test_the_text_is_made_once_for_all_who_ask_within_a_second(api: Api, monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """To make it costs far more than to ask for it a hundred times on one connection."""
    made = itertools.count(1)
    monkeypatch.setattr(metrics_text, "generate_latest", lambda _: b"text %d" % next(made))
    monkeypatch.setattr(metrics_text, "KEPT_FOR", 1)
    clock = [1000.0]
    monkeypatch.setattr(metrics_text, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    get = api.get if port == "the API's" else TestClient(create_metrics_app(dict)).get

    assert {get("/metrics").text for _ in range(5)} == {"text 1"}
    clock[0] += 0.9
    assert get("/metrics").text == "text 1"
    clock[0] += 0.1
    assert {get("/metrics").text for _ in range(5)} == {"text 2"}


def delete(folder: Path, what: str) -> None:
    """As programs do that tidy a folder for temporary files."""
    if what == "the folder":
        shutil.rmtree(folder)
    elif what == "the files":
        for path in folder.iterdir():
            path.unlink()
    else:  # the name is taken by something else
        shutil.rmtree(folder)
        folder.touch()


def use_both_workers(api: Api, folder: Path) -> None:
    """Send requests until each of two workers has figures to lose."""
    wait_until(lambda: api.get("/livez").status_code == 200 and len(list(folder.glob("histogram_*.db"))) == 2)


@pytest.mark.parametrize("what", ["the folder", "the files"])
def test_figures_that_somebody_deletes_from_tmpdir_are_restored(
    tables: Tables, environment: dict[str, str], tmp_path: Path, what: str
) -> None:
    tables.live(*range(1, 13))
    settings = {**environment, "WORKERS": "2", "TMPDIR": str(tmp_path)}
    with (
        ServiceProcess(settings, ALWAYS_NEW) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE, limits=NO_REUSE) as client,
    ):
        api = Api(client)
        (folder,) = tmp_path.glob("lead-archive-metrics-*")
        for lead_id in range(1, 9):
            assert api.archive_all([lead_id]).status_code == 200
        use_both_workers(api, folder)
        delete(folder, what)
        assert api.get("/metrics").status_code == 200
        service.wait_for_line("figures restored", 2)  # one of each worker

        for lead_id in range(9, 13):
            assert api.archive_all([lead_id]).status_code == 200
        text = api.get("/metrics").text
        assert figures(text)["leads_deleted_total", frozenset({("operation", "archive")})] == 12
        assert len([line for line in service.log_lines if line["event"] == "figures restored"]) == 2
        MetricsFolder.delete_stale(tmp_path)  # as another service does that is starting
        assert folder.exists()
        assert service.stop() == 0
        assert not folder.exists()
        assert "Traceback" not in service.log
    assert tables.ids() == ([], list(range(1, 13)))


def test_a_folder_that_cannot_be_restored_costs_figures_and_no_answer(
    tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1)
    with (
        ServiceProcess({**environment, "WORKERS": "2", "TMPDIR": str(tmp_path)}, ALWAYS_NEW) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE, limits=NO_REUSE) as client,
    ):
        (folder,) = tmp_path.glob("lead-archive-metrics-*")
        use_both_workers(Api(client), folder)
        delete(folder, "its name")
        service.wait_for_line("figures not kept", 2)
        assert Api(client).archive_all([1]).json()["delete_count"] == 1
        answers = [client.get("/metrics") for _ in range(4)]
        assert {answer.status_code for answer in answers} == {200}
        assert all("office_hours_forbid" in answer.text for answer in answers)
        assert len([line for line in service.log_lines if line["event"] == "figures not kept"]) == 2
        assert service.stop() == 0
        assert "Traceback" not in service.log
    assert folder.is_file()
    assert tables.ids() == ([], [1])


def test_a_damaged_file_costs_figures_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", b"\x40\0\0\0\0\0\0\0\xff\xff\0\0" + bytes(60), b"\x40\0\0\0\0\0\0\0\x08\0\0\0no JSON " + bytes(60)):
        (tmp_path / "counter_1.db").write_bytes(content)
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        with capture_logs() as log:
            text = metrics_text.MetricsText(lambda: {"archive": False})
            assert text.get() == text.get()
        assert b'office_hours_forbid{operation="archive"} 0.0' in text.get()
        assert [line["event"] for line in log] == ["figures not read"]


def test_figures_for_which_a_file_cannot_grow_are_counted_all_the_same(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = str(tmp_path / "counter_1.db")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = ReservedFile(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, limits[1]))  # Python ignores SIGXFSZ
    try:
        for number in range(3_000):
            assert file.read_value(f"key {number}") == (0, 0)
            file.write_value(f"key {number}", number, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        request.addfinalizer(file.close)

    assert [file.read_value(f"key {number}")[0] for number in range(3_000)] == list(range(3_000))
    kept = {key: value for key, value, _, _ in ReservedFile.read_all_values_from_file(path)}  # type: ignore[no-untyped-call]
    assert 500 < len(kept) < 3_000
    assert kept == {f"key {number}": number for number in range(len(kept))}
    file.write_value("x" * 3 * SIZE, 7, 0)  # there is room again
    assert {key: value for key, value, _, _ in ReservedFile.read_all_values_from_file(path)}["x" * 3 * SIZE] == 7  # type: ignore[no-untyped-call]


def test_a_port_that_is_taken(environment: dict[str, str], mariadb: PrivateMariaDB) -> None:
    result = run_service({**environment, "PORT": str(free_port()), "METRICS_PORT": str(mariadb.port)})

    assert result.returncode == 2
    assert f"error: cannot listen on 127.0.0.1:{mariadb.port}: Address already in use" in result.stderr


def test_the_documentation_names_each_metric_and_the_alerts_ask_for_no_other(api: Api) -> None:
    api.archive_all([1])
    families = {family.name: family for family in parse(api.get("/metrics").text)}
    own = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families.values()
        if not family.name.startswith(("process_", "python_"))
    }

    documented = set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE))
    assert documented == own

    rules = (ROOT / "deploy/prometheus-rules.yml").read_text(encoding="utf-8")
    for rule in yaml.safe_load(rules)["groups"][0]["rules"]:
        asked = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b(?=[\[{ ])", re.sub(r"\{.*?\}", "{", rule["expr"])))
        assert {re.sub("_bucket$", "", name) for name in asked - {"histogram_quantile"}} <= documented, rule["alert"]
