"""Run Debian's Chromium, headless and with an empty profile, and read its console messages and its requests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,2000",
)


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: run scripts/install --tests"
    return found


class Browser:
    """A Chromium with one page."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    @property
    def complaints(self) -> list[str]:
        """Return the console messages since the last call: errors of scripts, of loading, and of the security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def network(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the network events since the last call: those of Chromium's Network domain, in order."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [(message["method"], message["params"]) for message in messages if message["method"].startswith("Network.")]

    @staticmethod
    def hosts(events: list[tuple[str, dict[str, Any]]]) -> set[str]:
        """Return the hosts to which these events sent requests. Other schemes (data:, chrome:) send nothing."""
        urls = [urlsplit(params["request"]["url"]) for method, params in events if method == "Network.requestWillBeSent"]
        return {url.netloc for url in urls if url.scheme in {"http", "https", "ws", "wss"}}


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(program("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
