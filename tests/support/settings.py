"""Settings of a service, read from an environment that a test chooses, and its API_KEYS_FILE."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from service.settings import Settings, read_settings
from support.api import KEY


def key_entry(list_ids: Iterable[int] = (), name: str = "tests") -> str:
    """The entry of KEY in an API_KEYS_FILE. list_ids: of a limited key."""
    entry = f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\n'
    lists = list(list_ids)
    return f"{entry}list_ids = {lists}\n" if lists else entry


def write_keys_file(folder: Path) -> Path:
    """An API_KEYS_FILE with one key, KEY, named "tests"."""
    path = folder / "keys.toml"
    path.touch(mode=0o600)
    path.write_text(key_entry())
    return path


def read_from(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read_settings()
