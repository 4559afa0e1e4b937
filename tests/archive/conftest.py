"""Fixtures of the tests of the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.api import Api
from support.auditor import StuckDisk
from support.fixtures import ReadSettings

from service.api.context import AppContext
from service.app import create_context


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
