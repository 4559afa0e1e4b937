"""Statements that the server drops without a word, as MariaDB may do after a KILL QUERY.

The answer never comes, and the server waits for the next statement.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from support.api import Api
from support.faults import DELETE, Mute
from support.process import SLACK
from support.tables import Tables

from service.api.leads import LONGEST_LOOK
from service.archive.pace import LONGEST_REST
from service.archive.row_changes import LONGEST_WAIT
from service.database.statements import Statements
from service.observability import audit_file

LONGEST_SILENCE = int(re.findall(r"\bidle_transaction_timeout = ([0-9]+)", Statements.load().session.template)[0])
"""Seconds after which the server ends a transaction that sends it nothing."""

REQUEST_TIMEOUT = 60

LOOK = re.compile(rb"SELECT.*vicidial_list_archive", re.DOTALL)


@pytest.fixture
def mute(tables: Tables) -> Iterator[Mute]:
    with Mute("127.0.0.1", 0, tables.mariadb.port) as mute:
        yield mute


@pytest.fixture
def muted(tables: Tables, new_api: Callable[..., Api], mute: Mute) -> Api:
    tables.live(1, 2)
    api = new_api(DATABASE_URL=mute.over(tables.url), REQUEST_TIMEOUT=str(REQUEST_TIMEOUT))
    assert api.archive_all([2]).json()["delete_count"] == 1  # the connection is made
    return api


@pytest.mark.parametrize("statement", [LOOK, DELETE], ids=["look", "delete"])
@pytest.mark.parametrize("tables", ["InnoDB", "MyISAM"], indirect=True)
def test_a_batch_does_not_wait_for_an_answer_that_never_comes(
    tables: Tables, muted: Api, mute: Mute, statement: re.Pattern[bytes], request: pytest.FixtureRequest
) -> None:
    live, archived = tables.both()
    mute.from_now_on = statement
    began = time.monotonic()

    response = muted.archive_all([1])

    assert LONGEST_SILENCE < time.monotonic() - began < LONGEST_SILENCE + SLACK < REQUEST_TIMEOUT
    assert mute.from_now_on is None  # it was sent
    if statement is DELETE and "MyISAM" in request.node.name:
        assert response.status_code == 503
        assert "may have been applied" in response.json()["message"]
        assert muted.archive_all([1]).status_code == 200
    else:
        assert (response.status_code, response.json()["delete_count"]) == (200, 1)  # the transaction was retried
    assert tables.both() == ({}, archived | live)


@pytest.mark.parametrize("operation", ["find", "compare"])
def test_nor_does_a_request_that_only_reads(tables: Tables, muted: Api, mute: Mute, operation: str) -> None:
    before = tables.both()
    assert muted.compare([1]).status_code == 200
    mute.from_now_on = LOOK
    began = time.monotonic()

    response = muted.find(where={"list_ids": [0]}) if operation == "find" else muted.compare([1])

    assert time.monotonic() - began < LONGEST_SILENCE + SLACK < REQUEST_TIMEOUT
    assert mute.from_now_on is None
    assert response.status_code == 200
    assert tables.both() == before


def test_a_batch_that_is_silent_itself_is_left_alone() -> None:
    """While it writes its line to AUDIT_LOG, and rests, or waits for another batch and looks its key up before and after."""
    assert audit_file.TIMEOUT + LONGEST_REST < LONGEST_SILENCE
    assert audit_file.TIMEOUT + LONGEST_WAIT + 2 * LONGEST_LOOK < LONGEST_SILENCE
