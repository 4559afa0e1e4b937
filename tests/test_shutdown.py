"""SIGTERM: requests in flight are finished, new ones are not taken, and the status is 0."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from api import Api
from process import PATIENCE, SLACK, ServiceProcess
from tables import Tables

REQUEST_TIMEOUT = 5


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_in_flight_is_finished(tables: Tables, environment: dict[str, str], workers: str) -> None:
    tables.live(1)
    before, _ = tables.both()
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT)}
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with ServiceProcess(settings) as service, ThreadPoolExecutor(2) as executor, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            request = executor.submit(Api(client).archive_all, [1])
            tables.wait_for_a_lock_wait()
            stopped = executor.submit(service.stop, signal.SIGTERM)
            time.sleep(1)
            assert not request.done()
            assert not stopped.done()
            with pytest.raises(httpx2.TransportError):
                httpx2.get(f"{service.base_url}/livez", timeout=1)
            dialler.rollback()
            assert request.result().json()["delete_count"] == 1
            assert stopped.result() == 0
        assert not service.anything_left()
    dialler.close()
    assert tables.both() == ({}, before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_in_time_even_if_the_database_does_not_answer(
    tables: Tables, environment: dict[str, str], workers: str
) -> None:
    tables.live(1)
    before = tables.both()
    settings = {**environment, "WORKERS": workers, "REQUEST_TIMEOUT": "2"}
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with ServiceProcess(settings) as service, ThreadPoolExecutor(1) as executor, dialler.cursor() as cursor:
        cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            request = executor.submit(Api(client).archive_all, [1])
            tables.wait_for_a_lock_wait()
            started = time.monotonic()
            assert service.stop(signal.SIGTERM) == 0
            # REQUEST_TIMEOUT for the request, and one second for the stop.
            assert time.monotonic() - started < 3 + SLACK
            assert request.result().status_code == 503
    dialler.close()
    assert tables.both() == before
