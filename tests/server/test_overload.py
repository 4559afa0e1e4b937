"""Overload: every request is answered in time, no client delays the others, and memory stays constant."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from pathlib import Path

import httpx2
from support.api import KEY, Api
from support.process import PATIENCE, SLACK, ServiceProcess
from support.tables import Tables

REQUEST_TIMEOUT = 4
REQUESTS = 150
BODY = {**Api.ALL, "delete_leads": False, "lead_ids": [1]}


async def wave(service: ServiceProcess) -> tuple[Counter[int], float]:
    """Send REQUESTS requests at once. Return their answers, and the seconds until the last one."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=service.base_url, timeout=60, limits=limits) as client:
        started = time.monotonic()
        headers = {"Authorization": f"Key={KEY}"}
        answers = await asyncio.gather(
            *(client.post("/vicidial/leads/archive", json=BODY, headers=headers) for _ in range(REQUESTS))
        )
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 503)
        return Counter(answer.status_code for answer in answers), time.monotonic() - started


def test_more_requests_than_the_pool_can_serve(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    settings = {**environment, "DATABASE_POOL_SIZE": "2", "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT), "LOG_LEVEL": "error"}
    dialler = tables.mariadb.connect(tables.database, autocommit=False)
    with ServiceProcess(settings) as service, dialler.cursor() as cursor:
        memory = []
        for _ in range(8):
            cursor.execute("SELECT * FROM vicidial_list WHERE lead_id = 1 FOR UPDATE")
            statuses, seconds = asyncio.run(wave(service))
            assert statuses == {503: REQUESTS}
            assert seconds < REQUEST_TIMEOUT + 1 + SLACK
            dialler.rollback()
            memory.append(resident_memory(service))
        statuses, _ = asyncio.run(wave(service))
        assert statuses[200] > 0
        assert tables.ids() == ([1], [1])
    dialler.close()
    # In the first waves, the allocator asks the kernel for memory that it then keeps.
    assert max(memory[4:]) - memory[3] < 10, f"MiB after each wave: {memory}"


def test_half_sent_bodies_hold_nobody_up(tables: Tables, environment: dict[str, str]) -> None:
    tables.live(1)
    with ServiceProcess({**environment, "DATABASE_POOL_SIZE": "1"}) as service:
        half = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
        for connection in half:
            connection.sendall(
                f"POST /vicidial/leads/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Key={KEY}\r\n"
                'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"insert_leads":'.encode()
            )
        time.sleep(0.5)
        with httpx2.Client(base_url=service.base_url, timeout=PATIENCE) as client:
            assert Api(client).archive_all([1]).json()["delete_count"] == 1
        for connection in half:
            connection.close()
    assert tables.ids() == ([], [1])


def resident_memory(service: ServiceProcess) -> float:
    """Return the memory of the process in MiB."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
