"""A dialler writes while several clients archive overlapping batches through two services, and bring some back: no lead is
lost, and the counts match the rows."""

from __future__ import annotations

import random
import re
import time
from functools import partial

import pytest
from support.clients import Batch, Clients
from support.dialler import Dialler, assert_no_lead_is_lost
from support.process import ServiceProcess
from support.tables import Tables
from support.waiting import wait_until

LEADS = range(1, 1201)
SECONDS = 3.0
REQUEST_TIMEOUT = 75
BATCH = 40


def draw(dearchives: float, rng: random.Random) -> Batch:
    """Return a batch that overlaps with others. dearchives: the share of those to dearchive, from 0 to 1."""
    first = rng.randrange(LEADS.start, LEADS.stop - 60)
    lead_ids = rng.sample(range(first, first + 60), BATCH)
    archive = rng.choice(["archive_all", "archive_if_active"])
    return ("dearchive_all", lead_ids[:10]) if rng.random() < dearchives else (archive, lead_ids)


def retries(service: ServiceProcess) -> int:
    """Return how many batches, or parts of them, a service has begun again."""
    text = service.get("/metrics")[1].decode()
    return sum(int(float(number)) for number in re.findall(r"^database_retries_total\{.*\} (\S+)$", text, re.MULTILINE))


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
    tables.execute(f"ALTER TABLE vicidial_lists ENGINE = {engines[0]}")
    tables.execute("INSERT INTO vicidial_lists (list_id, campaign_id, active) VALUES (998, 'SPRING', 'Y')")
    tables.live(*LEADS)
    if not dearchives:
        tables.archived(*LEADS[::3], status="NEW")  # older copies, which scripts that lose data leave behind
    settings = {**environment, "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT)}
    # If a lead was archived before the dialler deleted it, a dearchive would bring it back with its data of that time.
    dialler = Dialler(tables.mariadb, tables.database, LEADS, deletes=not dearchives)
    with ServiceProcess(settings) as one, ServiceProcess(settings) as other, dialler:
        clients = [
            Clients(service, partial(draw, dearchives), threads=2, timeout=2 * REQUEST_TIMEOUT, seed=number)
            for number, service in enumerate((one, other))
        ]
        with clients[0], clients[1]:
            time.sleep(SECONDS)
            # More on a busy machine.
            wait_until(lambda: sum(running.deleted for running in clients) > 100)
            wait_until(lambda: not dearchives or sum(running.brought_back for running in clients) > 10)
        begun_again = retries(one) + retries(other)

    at_least, at_most = assert_no_lead_is_lost(tables, dialler)

    assert [running.problems for running in clients] == [[], []]
    answers = clients[0].answers + clients[1].answers
    # A lead that the dialler itself deleted can be in neither table: then the whole batch is answered 404. Without row locks,
    # the dialler can delete a lead in mid-batch, too: then the answer is 503, and does not count the leads that were moved.
    uncounted = 0 if engines == ("InnoDB", "InnoDB") or dearchives else answers.pop("503", 0) * BATCH
    assert answers.keys() <= {"200", "404"}
    deleted = sum(running.deleted for running in clients)
    back = sum(running.brought_back for running in clients)
    # Without row locks, a batch that has moved a lead and begins again may find that another one has moved it the other
    # way. It then moves the lead once more, and counts it once.
    twice = 0 if engines == ("InnoDB", "InnoDB") or not dearchives else begun_again * BATCH
    assert at_least - uncounted - twice <= deleted - back <= at_most + twice
    assert deleted > 100
    assert (back > 10) is (dearchives > 0)
    # A wait for a lock ends after a third of REQUEST_TIMEOUT. No wait may take nearly as long: the dialler would stop.
    assert dialler.slowest < REQUEST_TIMEOUT / 3 / 2
