"""A real service with many leads, for the tests of conditions and rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.client import Client
from support.fixtures import NewService
from support.process import ServiceProcess
from support.selections import LIMIT
from support.tables import Tables

Selections = tuple[ServiceProcess, Tables]


@pytest.fixture(scope="module")
def selections(new_service: NewService) -> Iterator[Selections]:
    with new_service(LEAD_IDS_LIMIT=str(LIMIT)) as pair:
        yield pair


@pytest.fixture
def leads(selections: Selections) -> Tables:
    """Return empty tables."""
    _, tables = selections
    for table in ("vicidial_list", "vicidial_list_archive", "vicidial_hopper", "vicidial_lists"):
        tables.execute(f"TRUNCATE {table}")
    return tables


@pytest.fixture
def client(selections: Selections, leads: Tables, tmp_path: Path) -> Client:  # noqa: ARG001  # the tables are empty
    service, _ = selections
    return Client(tmp_path, service.base_url)
