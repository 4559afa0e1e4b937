"""Types of the fixtures in conftest.py that are factories."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from service.settings import Settings
from support.process import ServiceProcess
from support.tables import Tables

NewDatabase = Callable[..., str]
"""new_database(engine="InnoDB") -> the name of a new database with Vicidial's tables, all of them empty."""

NewService = Callable[..., AbstractContextManager[tuple[ServiceProcess, Tables]]]

ReadSettings = Callable[[dict[str, str]], Settings]
