"""Keys while the service runs: a file that changes, keys that expire, and keys that see the leads of some lists only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api import KEY, Api
from structlog.testing import capture_logs
from tables import Tables


def entry(key: str, more: str = "") -> str:
    return f'[[keys]]\nname = "tests"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n{more}\n'


def livestatus(api: Api, key: str = KEY) -> int:
    """The status of a comparison, which changes nothing."""
    body = json.dumps({"lead_ids": [1]})
    return api.post(body, "/vicidial/leads/compare", Authorization=f"Key={key}").status_code


def test_a_changed_file_counts_at_once(api: Api, keys_file: Path) -> None:
    assert (livestatus(api), livestatus(api, "new")) == (200, 401)

    keys_file.write_text(entry(KEY) + entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (200, 200)

    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


def test_a_file_that_is_put_in_the_others_place_counts_at_once(api: Api, keys_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(entry("new"))
    other.replace(keys_file)

    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.parametrize("content", ["", "keys = [", entry("new", "admin = true"), None], ids=["empty", "cut", "bad", "gone"])
def test_a_broken_file_keeps_the_old_keys_and_says_so_once(api: Api, keys_file: Path, content: str | None) -> None:
    assert livestatus(api) == 200
    with capture_logs() as log:
        if content is None:
            keys_file.unlink()
        else:
            keys_file.write_text(content)
        assert [livestatus(api) for _ in range(3)] == [200] * 3
        assert livestatus(api, "new") == 401

    (line,) = [line for line in log if line["event"] == "keys not reloaded"]
    assert line["log_level"] == "error"
    assert str(keys_file) in line["error"]

    keys_file.write_text(entry("new"))
    assert (livestatus(api), livestatus(api, "new")) == (401, 200)


@pytest.mark.parametrize(
    ("now", "status"), [("2027-01-30T23:59:59", 200), ("2027-01-31T00:00:00", 401), ("2028-01-01T12:00:00", 401)]
)
def test_a_key_expires(tables: Tables, new_api: Callable[..., Api], keys_file: Path, now: str, status: int) -> None:
    keys_file.write_text(entry(KEY, "expires = 2027-01-31"))
    tables.live(1)
    before = tables.both()

    api = new_api(lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))

    assert livestatus(api) == status
    assert tables.both() == before


@pytest.fixture
def restricted(tables: Tables, api: Api, keys_file: Path) -> Api:
    """An API whose key sees the leads of the lists 101 and 102, and leads: 1, 2 and 5 in these, 3, 4 and 6 in others."""
    keys_file.write_text(entry(KEY, "list_ids = [102, 101]"))
    tables.live(1, list_id=101)
    tables.live(3, list_id=103)
    tables.archived(3, list_id=101)  # an older copy: what counts is where the lead is now
    tables.live(5, list_id=102)
    tables.archived(5, list_id=103)
    tables.archived(2, list_id=102)
    tables.archived(4, list_id=999)
    tables.live(6, list_id=0)
    return api


@pytest.mark.parametrize("call", ["archive_all", "dearchive_all"])
def test_leads_of_other_lists_are_unknown(restricted: Api, tables: Tables, call: str) -> None:
    before = tables.both()

    response: httpx2.Response = getattr(restricted, call)([7, 6, 5, 4, 3, 2, 1])

    assert response.status_code == 404
    foreign = [7, 6, 4, 3] if call == "archive_all" else [7, 6, 5, 4]  # of 3 and 5, the row to be moved is of another list
    assert response.json() == {"message": "lead_ids does not exist", "lead_errors": 4, "lead_ids": foreign}
    assert tables.both() == before


def test_leads_of_the_keys_lists_are_archived(restricted: Api, tables: Tables) -> None:
    answer = restricted.archive_all([1, 2, 5]).json()

    assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (1, 1, 2)
    assert tables.ids() == ([3, 6], [1, 2, 3, 4, 5])
    assert restricted.dearchive_all([1, 2, 5]).json()["delete_count"] == 3
    assert tables.ids() == ([1, 2, 3, 5, 6], [3, 4])


def test_a_comparison_tells_nothing_of_leads_of_other_lists(restricted: Api) -> None:
    leads: list[dict[str, Any]] = restricted.compare([1, 2, 3, 4, 5, 6, 7]).json()["leads"]

    assert [lead["lead_id"] for lead in leads if lead["in_list"] or lead["in_archive"]] == [1, 2, 5]
