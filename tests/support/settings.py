"""Settings of a service, read from an environment that a test chooses, and its API_KEYS_FILE."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.settings import Settings, read_settings
from support.api import KEY


def write_keys_file(folder: Path) -> Path:
    """An API_KEYS_FILE with one key, KEY, named "tests"."""
    path = folder / "keys.toml"
    path.touch(mode=0o600)
    path.write_text(f'[[keys]]\nname = "tests"\nsha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\n')
    return path


def read_from(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read_settings()
