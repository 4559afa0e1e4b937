"""Requests that must change nothing. They share one application, one clock and one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from starlette.testclient import TestClient

from service.access.office_hours import DAYS
from service.app import create_app
from service.settings import Settings
from support.api import Api
from support.tables import Tables

OUTSIDE = datetime(2025, 6, 1, 12, tzinfo=UTC)
"""A Sunday."""

OFFICE_HOURS = {"OFFICE_HOURS": "Mon 08:00-17:00", "OFFICE_HOURS_TIMEZONE": "UTC"}

UNKNOWN = 4712
"""A lead that is in neither table."""


class Refusals:
    """An API on tables with leads in every state. `now` is the time of its clock."""

    def __init__(self, tables: Tables, settings: Settings) -> None:
        tables.live(0, 1, 2, 4711, 4294967295)
        tables.archived(2, 3)
        self.tables = tables
        self.before = tables.both()
        self.now = OUTSIDE
        self.app = create_app(settings, lambda: self.now)

    @contextmanager
    def served(self) -> Iterator[None]:
        with TestClient(self.app, raise_server_exceptions=False) as client:
            self.api = Api(client)
            yield

    def check(self) -> None:
        """Assert that nothing was changed."""
        assert self.tables.both() == self.before


def every_day_but_the_one_in_three_days() -> str:
    """Return office hours that include the current time and the next days."""
    free = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
    return f"{','.join(day for day in DAYS if day != free)} 00:00-24:00"
