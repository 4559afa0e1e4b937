"""A dialler writes while several clients archive overlapping batches through two services, and bring some back: no lead is
lost, and the counts are what happened."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import httpx2
import pytest
from support.api import Api
from support.dialler import Dialler, assert_no_lead_is_lost
from support.process import ServiceProcess
from support.tables import Tables

LEADS = range(1, 1201)
SECONDS = 3.0
REQUEST_TIMEOUT = 75


def archive_at_random(
    service: ServiceProcess, seed: int, until: float, answers: list[tuple[int, dict[str, Any]]], dearchives: float
) -> None:
    """dearchives: how many of the requests are for the way back."""
    rng = random.Random(seed)
    with httpx2.Client(base_url=service.base_url, timeout=2 * REQUEST_TIMEOUT) as client:
        api = Api(client)
        while time.monotonic() < until:
            first = rng.randrange(LEADS.start, LEADS.stop - 60)
            lead_ids = rng.sample(range(first, first + 60), 40)
            response = api.dearchive_all(lead_ids[:10]) if rng.random() < dearchives else api.archive_all(lead_ids)
            answers.append((response.status_code, response.json()))


@pytest.mark.parametrize(
    "engines",
    [("InnoDB", "InnoDB"), ("MyISAM", "MyISAM"), ("Aria", "Aria"), ("MyISAM", "InnoDB"), ("InnoDB", "MyISAM")],
    ids="-".join,
)
@pytest.mark.parametrize("dearchives", [0, 0.3], ids=["archive", "both ways"])
def test_a_dialler_and_clients_with_overlapping_batches(
    tables: Tables, environment: dict[str, str], engines: tuple[str, str], dearchives: float
) -> None:
    tables.execute(f"ALTER TABLE vicidial_list ENGINE = {engines[0]}")
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {engines[1]}")
    tables.live(*LEADS)
    if not dearchives:
        tables.archived(*LEADS[::3], status="NEW")  # older copies, as the scripts that lose data leave them
    answers: list[tuple[int, dict[str, Any]]] = []
    settings = {**environment, "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT)}
    # A lead that the dialler deleted would come back with the data that it had when it was archived, if it was.
    dialler = Dialler(tables.mariadb, tables.database, LEADS, deletes=not dearchives)
    with ServiceProcess(settings) as one, ServiceProcess(settings) as other, dialler:
        until = time.monotonic() + SECONDS
        clients = [
            threading.Thread(target=archive_at_random, args=((one, other)[number % 2], number, until, answers, dearchives))
            for number in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    at_least, at_most = assert_no_lead_is_lost(tables, dialler)

    # A lead that the dialler itself deleted can be in neither table: then the whole batch is answered 404.
    assert {status for status, _ in answers} <= {200, 404}
    done = [answer for status, answer in answers if status == 200]
    deleted = sum(answer["delete_count"] for answer in done if "update_count" in answer)
    back = sum(answer["insert_count"] for answer in done if "update_count" not in answer)
    assert at_least <= deleted - back <= at_most
    assert deleted > 100
    assert (back > 10) is (dearchives > 0)
    # A wait for a lock is given up after a third of REQUEST_TIMEOUT. None may come near: the dialler would stand still.
    assert dialler.slowest < REQUEST_TIMEOUT / 3 / 2
