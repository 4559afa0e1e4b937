"""A table that is altered or renamed while it is read is not taken for one that an administrator must mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.api import Api
from support.tables import Tables

from service.database import pool
from service.database.transaction import Transaction

DDL = dict[str, list[str]]

ADDED = ["ALTER TABLE vicidial_list ADD COLUMN zz INT", "ALTER TABLE vicidial_list_archive ADD COLUMN zz INT"]
DROPPED = ["ALTER TABLE vicidial_list DROP COLUMN zz", "ALTER TABLE vicidial_list_archive DROP COLUMN zz"]
AWAY = ["RENAME TABLE vicidial_list TO away"]
BACK = ["RENAME TABLE away TO vicidial_list"]


def run_before(monkeypatch: pytest.MonkeyPatch, tables: Tables, ddl: DDL) -> None:
    """Run DDL before the first statement that reads from each of these views of information_schema, or begins like this."""
    select_each = Transaction.select_each
    waiting = dict(ddl)

    async def alter_and_select(transaction: Transaction, *statements: str, **options: Any) -> Any:
        for name in [name for name in waiting if any(name in statement.lower() for statement in statements)]:
            for statement in waiting.pop(name):
                tables.execute(statement)
        return await select_each(transaction, *statements, **options)

    monkeypatch.setattr(Transaction, "select_each", alter_and_select)


@pytest.mark.parametrize(
    ("before", "ddl"),
    [
        (ADDED, {"information_schema.columns": DROPPED}),
        ([], {"information_schema.tables": AWAY, "information_schema.table_constraints": BACK}),
        ([], {"information_schema.tables": AWAY, "information_schema.columns": BACK}),
        ([], {"information_schema.columns": AWAY, "information_schema.statistics": BACK}),
        (AWAY, {"something else": []}),
    ],
    ids=["drop column", "rename", "rename for the tables", "rename for the columns", "rename beforehand"],
)
@pytest.mark.parametrize("what", ["batch", "readyz"])
def test_what_is_read_around_ddl_is_read_again(
    tables: Tables,
    new_api: Callable[..., Api],
    monkeypatch: pytest.MonkeyPatch,
    before: list[str],
    ddl: DDL,
    what: str,
) -> None:
    tables.live(1)
    for statement in before:
        tables.execute(statement)
    if before == AWAY:
        sleep = asyncio.sleep

        async def rename_and_sleep(seconds: float, *rest: Any) -> Any:
            if seconds == pool.CONFIRM_PAUSE and tables.execute("SHOW TABLES LIKE 'away'"):
                tables.execute(*BACK)
            return await sleep(seconds, *rest)

        monkeypatch.setattr(asyncio, "sleep", rename_and_sleep)
    run_before(monkeypatch, tables, ddl)
    api = new_api()

    with capture_logs() as log:
        if what == "readyz":
            assert api.get("/readyz").json()["problems"] == []
        answer = api.archive_all([1])

    assert (answer.status_code, answer.json().get("delete_count")) == (200, 1), answer.json()
    assert tables.ids() == ([], [1])
    assert not [line for line in log if line["event"] == "tables do not fit"]


def test_tables_that_are_altered_all_the_time_are_said_to_be(
    tables: Tables, new_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look finds another reason to refuse."""
    tables.live(1)
    rows = tables.both()
    count = 0
    select_each = Transaction.select_each

    async def alter_and_select(transaction: Transaction, *statements: str, **options: Any) -> Any:
        nonlocal count
        if any("information_schema.tables" in statement.lower() for statement in statements):
            count += 1
            tables.execute(f"ALTER TABLE vicidial_list DROP COLUMN IF EXISTS c{count - 1}, ADD COLUMN c{count} INT")
        return await select_each(transaction, *statements, **options)

    monkeypatch.setattr(Transaction, "select_each", alter_and_select)
    api = new_api()

    with capture_logs() as log:
        answer = api.archive_all([1])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["message"] == "the database could not process the batch; nothing was changed, repeat the request"
    assert not [line for line in log if line["event"] == "tables do not fit"]
    (problem,) = api.get("/readyz").json()["problems"]
    assert (problem["message"], problem["remedy"]) == ("the tables are being altered", None)
    tables.execute(f"ALTER TABLE vicidial_list DROP COLUMN c{count}")
    assert tables.both() == rows
