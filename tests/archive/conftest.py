"""Fixtures of several files: the audit log, the server's max_allowed_packet, and searches that end at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.api import Api
from support.auditor import StuckDisk
from support.fixtures import ReadSettings
from support.tables import Tables

from service.api.context import AppContext
from service.app import create_context
from service.archive import failures


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """AUDIT_LOG. There is no such file yet."""
    folder = tmp_path / "audit"
    folder.mkdir()
    return folder / "audit.jsonl"


@pytest.fixture
def audited(new_api: Callable[..., Api], path: Path) -> Api:
    return new_api(AUDIT_LOG=str(path))


@pytest.fixture
def context(environment: dict[str, str], settings_from: ReadSettings, path: Path) -> AppContext:
    return create_context(settings_from({**environment, "AUDIT_LOG": str(path)}))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckDisk]:
    disk = StuckDisk()
    monkeypatch.setattr("os.fdatasync", disk.flush)
    yield disk
    disk.released.set()


@pytest.fixture
def packet(tables: Tables) -> Iterator[Callable[[int], None]]:
    """packet(bytes) sets max_allowed_packet for new connections. The tests' own can send and build what is longer."""

    def change(size: int) -> None:
        tables.execute(f"SET GLOBAL max_allowed_packet = {size}")

    yield change
    tables.execute("SET GLOBAL max_allowed_packet = 16777216")


@pytest.fixture
def shortest_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch lets go of everything after each lead that it has found."""
    monkeypatch.setattr(failures, "LONGEST_SEARCH", 0.0)
    monkeypatch.setattr(failures, "LONGEST_SEARCH_WITHOUT_ROLLBACK", 0.0)
    monkeypatch.setattr(failures, "MOST_SEARCHES", 1_000_000)
