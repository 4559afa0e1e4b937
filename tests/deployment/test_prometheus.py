"""The shipped alert rules, and the shipped dashboard on a real Prometheus that scrapes the service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mariadb import free_port
from support.api import Api
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

RULES = ROOT / "deploy/prometheus-rules.yml"
CASES = Path(__file__).parent / "prometheus-rules.yml"
DASHBOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text(encoding="utf-8"))

VARIABLES = {"$__rate_interval": "1m", "$job": "lead-archive"}
"""Values that Grafana substitutes."""

NEVER_HERE = {"sum by (code) (rate(database_retries_total"}
"""The first words of queries that return nothing until a batch was retried."""


def program(name: str) -> str:
    found = shutil.which(name, path=f"{ROOT}/.prometheus:{os.environ['PATH']}")
    assert found, f"{name} is not installed: run scripts/install --tests"
    return found


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_each_alert_fires_when_it_should() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(CASES)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    tests = [test for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"] for test in case["alert_rule_test"]]
    assert {test["alertname"] for test in tests if test["exp_alerts"]} == alerts().keys()


def test_each_alert_is_explained() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `(LeadArchive\w+)` \|", page, re.MULTILINE) == list(alerts())


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            assert "$" not in query, query
            yield query


@contextmanager
def prometheus(folder: Path, service_port: int) -> Iterator[httpx2.Client]:
    """A Prometheus with the shipped rules that scrapes the service ten times a second."""
    port = free_port()
    job = {"job_name": "lead-archive", "static_configs": [{"targets": [f"127.0.0.1:{service_port}"]}]}
    intervals = {"scrape_interval": "100ms", "scrape_timeout": "100ms"}
    configuration = {"global": intervals, "rule_files": [str(RULES)], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=PATIENCE) as client:
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ask(client: httpx2.Client, query: str) -> list[dict[str, Any]]:
    """Return the result of a query; empty before Prometheus has started."""
    try:
        response = client.get("/query", params={"query": query})
    except httpx2.TransportError:
        return []
    if response.status_code == 503:
        return []
    assert response.status_code == 200, f"{query}: {response.text}"
    return list(response.json()["data"]["result"])


def test_each_query_of_the_dashboard_finds_figures(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(1, 2)
    with (
        ServiceProcess(environment) as service,
        httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as caller,
        prometheus(tmp_path, service.port) as client,
    ):
        wanted = set(queries())
        found: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while missing := {query for query in wanted - found if not query.startswith(tuple(NEVER_HERE))}:
            assert time.monotonic() < deadline, missing
            # Some figures count only events between two scrapes.
            assert Api(caller).archive_all([1]).status_code == 200
            found |= {query for query in wanted if any(series["value"][1] != "NaN" for series in ask(client, query))}
            time.sleep(0.1)
        rules = client.get("/rules").json()["data"]["groups"][0]["rules"]
        known = client.get("/metadata").json()["data"].keys()

    assert {rule["name"]: rule["health"] for rule in rules if rule["health"] == "err"} == {}
    asked = {name for query in wanted for name in re.findall(r"([a-z_]+)\{", query)}
    assert {re.sub("_bucket$", "", name) for name in asked - {"up"}} <= known


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


@pytest.mark.parametrize("name", ["datasource", "job"])
def test_the_dashboard_asks_for_its_variables(name: str) -> None:
    assert name in [variable["name"] for variable in DASHBOARD["templating"]["list"]]
