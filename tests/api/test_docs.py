"""/docs, as a page in a browser: it needs no other host, breaks no rule of its own, and sends real requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import visibility_of_element_located
from selenium.webdriver.support.wait import WebDriverWait
from support.api import KEY, Api
from support.browser import browser
from support.paths import ROOT
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

from service.api.docs import FILES, PAGES

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def test_leads_are_archived_from_the_page(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(4711, 4712, 4713, 4714)
    live, _ = tables.both()
    with ServiceProcess(environment) as service, browser(tmp_path / "profile") as page:
        driver, wait = page.driver, WebDriverWait(page.driver, PATIENCE)

        def see(selector: str) -> str:
            return wait.until(visibility_of_element_located((By.CSS_SELECTOR, selector))).text

        def click(selector: str) -> None:
            see(selector)
            driver.find_element(By.CSS_SELECTOR, selector).click()

        driver.get(f"{service.base_url}/docs")
        assert see("h1, h2").startswith("Vicidial Lead Archive API")
        click("#operations-Leads-archive_leads .opblock-summary-control")
        click("#operations-Leads-archive_leads .execute")
        assert "unable to validate api user" in see("#operations-Leads-archive_leads .live-responses-table .microlight")
        assert tables.both() == (live, {})

        click(".btn.authorize")
        see(".auth-container input")
        driver.find_element(By.CSS_SELECTOR, ".auth-container input").send_keys(f"Key={KEY}")
        click(".auth-container .auth.authorize")
        click(".auth-container .btn-done")
        click("#operations-Leads-archive_leads .execute")
        answer = "#operations-Leads-archive_leads .live-responses-table .microlight"
        wait.until(lambda _: "remaining_lead_ids" in see(answer))
        assert json.loads(see(answer))["delete_count"] == 3
        stayed = {4714: live.pop(4714)}
        assert tables.both() == (stayed, live)

        kept = driver.execute_script(
            "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
        )
        assert KEY not in kept
        assert page.hosts(page.network()) == {f"127.0.0.1:{service.port}"}
        # The 401 that was asked for is one; everything else would be a defect of the page.
        assert [text for text in page.complaints if "401 (Unauthorized)" not in text] == []


def test_the_page_allows_scripts_and_requests_of_its_own_only(api: Api) -> None:
    response = api.get("/docs")

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy == POLICY
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("name", FILES)
def test_each_file_that_the_page_loads_is_served(api: Api, name: str) -> None:
    response = api.get(f"/docs/{name}")

    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == FILES[name]
    assert response.content == (PAGES / name).read_bytes()


@pytest.mark.parametrize("path", ["/docs/", "/docs/docs.html", "/docs/LICENSE", "/docs/..%2Fapp.py", "/docs/%2e%2e/app.py"])
def test_nothing_else_can_be_had(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404


def test_it_can_be_turned_off(new_api: Callable[..., Api]) -> None:
    api = new_api(DOCS="off")

    for path in ("/docs", "/docs/docs.js"):
        assert api.get(path).status_code == 404
        assert api.get(path).json() == api.get("/nowhere").json()
    assert api.get("/openapi.yaml").status_code == 200


@pytest.mark.parametrize("name", [path.name for path in PAGES.iterdir() if path.name not in {"docs.html", "docs.js"}])
def test_swagger_ui_is_what_the_lock_file_pins(name: str) -> None:
    assert (PAGES / name).read_bytes() == (ROOT / "node_modules/swagger-ui-dist" / name).read_bytes()
