"""The bulk client under faults: the service or the client is killed, answers are lost, the database is locked."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mariadb import free_port
from support.client import Client
from support.fake_service import Reply, fake, moved
from support.faults import CLOSING, Wire
from support.process import ServiceProcess
from support.tables import Tables
from support.waiting import wait_until

from lead_archive.operations import UNKNOWN

LEADS = 20_000


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """A service with a low limit of leads, so that a run lasts long enough to break something."""
    with ServiceProcess({**environment, "LEAD_IDS_LIMIT": "100", "REQUEST_TIMEOUT": "10"}) as service:
        yield service


@pytest.fixture
def client(service: ServiceProcess, tmp_path: Path) -> Client:
    return Client(tmp_path, service.base_url)


@pytest.mark.parametrize("ids", ["", "replaced", "added"])
@pytest.mark.parametrize("doubled", [0, 2])
@pytest.mark.parametrize("jobs", [1, 4])
def test_an_answer_that_a_proxy_sends_twice_is_not_believed(
    tables: Tables, environment: dict[str, str], tmp_path: Path, jobs: int, doubled: int, ids: str
) -> None:
    """The surplus one would be taken for that to the next request, and each batch would get that of the one before."""
    tables.live(*range(1, 601))
    before, _ = tables.both()
    with (
        ServiceProcess({**environment, "LEAD_IDS_LIMIT": "100", "REQUEST_TIMEOUT": "2"}) as service,
        Wire(service.port, doubled=doubled, ids=ids) as proxy,
        tables.mariadb.connect(tables.database, autocommit=False) as other,
        other.cursor() as cursor,
    ):
        client = Client(tmp_path, proxy.url)
        cursor.execute("SELECT lead_id FROM vicidial_list WHERE lead_id = 600 FOR UPDATE")
        result = client.invoke("archive", client.write("leads", "1-600"), "--json", "--jobs", jobs, "--retry-for", 1)
        assert (result.status, result.counts()["failed"]) == (1, 100)
    assert tables.both() == (
        {lead_id: row for lead_id, row in before.items() if lead_id > 500},
        {lead_id: row for lead_id, row in before.items() if lead_id <= 500},
    )


@pytest.mark.parametrize("tables", ["MyISAM"], indirect=True)
def test_a_lead_that_somebody_deletes_in_mid_batch_is_named(tables: Tables, client: Client) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    file = client.write("leads", "1-2")

    with tables.mariadb.connect(tables.database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES vicidial_list_archive READ")
        with client.start("archive", file, "--json") as running:
            wait_until(
                lambda: tables.execute("SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'")
            )
            tables.execute("DELETE FROM vicidial_list WHERE lead_id = 2")
            cursor.execute("UNLOCK TABLES")
            result = running.end()

    assert result.status == 1
    counts = result.counts()
    # The batch was looked at before the lead was deleted, or after that.
    assert counts.pop("already", 0) + counts.pop("moved", 0) == 1
    assert counts == {"asked": 2, "unknown": 1}
    assert client.read(f"{file}.archive.left.csv")[1:] == [f"2,{UNKNOWN}"]
    assert tables.both() == ({}, {1: before[1]})


def test_20_000_leads_with_the_service_killed_and_restarted_half_way(
    tables: Tables, service: ServiceProcess, client: Client
) -> None:
    for start in range(1, LEADS, 2_000):
        tables.live(*range(start, start + 2_000))
    before, _ = tables.both()
    file = client.write("leads", f"1-{LEADS}")

    with client.start("archive", file, "--json") as running:
        wait_until(lambda: tables.archived_count() > LEADS // 3)
        service.stop(signal.SIGKILL)
        assert tables.archived_count() < LEADS
        running.wait_until_it_says("trying again")
        service.__enter__()
        result = running.end()

    assert result.status == 0
    counts = result.counts()
    assert counts["asked"] == LEADS
    # Leads whose batch was processed, but whose answer was lost, were in the archive when the batch was repeated.
    assert counts["moved"] + counts.get("already", 0) == LEADS
    assert "the server answers again" in result.errors
    assert tables.both() == ({}, before)


def test_a_client_that_is_killed_goes_on_with_resume(tables: Tables, service: ServiceProcess, client: Client) -> None:
    def done_with_what_was_in_flight() -> bool:
        time.sleep(0.5)
        return b"\ndatabase_pool_in_use 0.0" in service.get("/metrics")[1]

    tables.live(*range(1, 3_001))
    before, _ = tables.both()
    file = client.write("leads", "1-3000", 9_999)
    with client.start("archive", file, "--jobs", 2) as running:
        wait_until(lambda: tables.archived_count() > 1_000)
        running.send(signal.SIGKILL)
        running.end()
    wait_until(done_with_what_was_in_flight)
    done = tables.archived_count()
    assert done < 3_000

    refused = client.run("archive", file)
    assert refused.status == 2
    assert "was not finished" in refused.errors
    assert "--resume" in refused.errors
    assert "--start-over" in refused.errors
    assert tables.archived_count() == done

    result = client.run("archive", file, "--resume", "--json")

    counts = result.counts()
    assert result.status == 1
    assert "of them done before" in result.errors
    assert (counts["asked"], counts["moved"] + counts.get("already", 0), counts["unknown"]) == (3_001, 3_000, 1)
    # At most the two batches in flight were processed and are not in the journal.
    assert counts.get("already", 0) <= 200
    assert tables.both() == ({}, before)

    again = client.run("archive", file, "--resume", "--json")
    assert again.counts() == counts
    assert client.read("leads.archive.left.csv") == ["lead_id,reason", f"9999,{UNKNOWN}"]


def test_after_a_lost_answer_a_batch_is_repeated(tables: Tables, service: ServiceProcess, client: Client) -> None:
    tables.live(*range(1, 301))
    before, _ = tables.both()
    file = client.write("leads", "1-300")
    with Wire(service.port, lose=2) as wire:
        result = client.run("archive", file, "--json", "--url", wire.url)

    assert wire.lost == 2
    assert (result.status, result.counts()) == (0, {"asked": 300, "moved": 100, "already": 200, "inserted": 100})
    assert tables.both() == ({}, before)


def test_a_batch_that_the_database_cannot_process_now_is_repeated(
    tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with (
        closing(dialler),
        dialler.cursor() as cursor,
        ServiceProcess({**environment, "REQUEST_TIMEOUT": "1"}) as service,
    ):
        client = Client(tmp_path, service.base_url)
        file = client.write("leads", "1-2")
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")

        gone = client.run("archive", file, "--json", "--retry-for", 0)
        assert (gone.status, gone.counts()) == (3, {"asked": 2, "not_sent": 2})
        assert "503 the database could not process the batch; nothing was changed, repeat the request" in gone.errors

        started = time.monotonic()
        with client.start("archive", file, "--json") as running:
            running.wait_until_it_says("503 the database could not process the batch")
            dialler.rollback()
            result = running.end()
        assert time.monotonic() - started > 5, "Retry-After is the least that is waited"

    assert (result.status, result.counts()) == (0, {"asked": 2, "moved": 2, "inserted": 2})
    assert tables.both() == ({}, before)


def test_a_batch_that_fails_while_others_do_not_is_left_behind(
    tables: Tables, environment: dict[str, str], tmp_path: Path
) -> None:
    tables.live(*range(1, 7))
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    settings = {**environment, "REQUEST_TIMEOUT": "1", "LEAD_IDS_LIMIT": "2"}
    with closing(dialler), dialler.cursor() as cursor, ServiceProcess(settings) as service:
        client = Client(tmp_path, service.base_url)
        file = client.write("leads", "1-6")
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 3 FOR UPDATE")

        result = client.run("archive", file, "--json", "--retry-for", 0, "--jobs", 1)

        assert (result.status, result.counts()) == (1, {"asked": 6, "moved": 4, "inserted": 4, "failed": 2})
        _, *left = csv.reader(client.read("leads.archive.left.csv"))
        assert [lead_id for lead_id, _ in left] == ["3", "4"]
        assert all(reason.startswith("failed: 503 the database could not process the batch") for _, reason in left)
        assert tables.ids() == ([3, 4], [1, 2, 5, 6])

        dialler.rollback()
        assert client.run("archive", file, "--json", "--resume").counts() == {"asked": 6, "moved": 6, "inserted": 6}
    assert tables.ids() == ([], [1, 2, 3, 4, 5, 6])
    assert not (tmp_path / "leads.archive.left.csv").exists()


def test_within_office_hours_it_stops_or_waits(tables: Tables, environment: dict[str, str], tmp_path: Path) -> None:
    tables.live(1, 2)
    before, _ = tables.both()
    hours = {"OFFICE_HOURS": "Mon 08:00-17:00", "OFFICE_HOURS_TIMEZONE": "UTC"}
    with ServiceProcess({**environment, **hours}, command=("-c", CLOSING)) as service:
        client = Client(tmp_path, service.base_url)
        file = client.write("leads", 1, 2)

        stopped = client.run("archive", file, "--json")

        assert (stopped.status, stopped.counts()) == (3, {"asked": 2, "not_sent": 2})
        assert "403 api cannot be executed during office hours time condition; it ends at " in stopped.summary["error"]
        assert "--wait" in stopped.errors
        assert tables.both() == (before, {})

    with ServiceProcess({**environment, **hours}, command=("-c", CLOSING)) as service:
        waited = Client(tmp_path, service.base_url).run("archive", file, "--json", "--wait")

        assert (waited.status, waited.counts()) == (0, {"asked": 2, "moved": 2, "inserted": 2})
        assert waited.errors.count("office hours: waiting until") == 1
    assert tables.both() == ({}, before)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    client = Client(tmp_path, f"http://127.0.0.1:{free_port()}")
    file = client.write("leads", 1)

    result = client.run("archive", file, "--json", "--retry-for", 1)

    assert (result.status, result.counts()) == (3, {"asked": 1, "not_sent": 1})
    assert "cannot be reached, tried for 1 s" in result.summary["error"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_each_answer_after_which_a_repeat_helps_is_followed_by_one(tmp_path: Path, status: int) -> None:
    answers = iter([Reply({"message": "later"}, status)])
    with fake(lambda _, body: next(answers, None) or moved(body)) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", 1, 2), "--json")

    assert (result.status, result.counts()) == (0, {"asked": 2, "moved": 2, "inserted": 2})
    assert f"{status} later; trying again" in result.errors
    assert next(answers, None) is None
