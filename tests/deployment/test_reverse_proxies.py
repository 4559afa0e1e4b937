"""The shipped nginx and Apache configurations: the contract holds for forwarded answers and for the proxy's own ones."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from mariadb import free_port
from support import apache, nginx
from support.api import KEY, PATHS, Api
from support.nginx import DEPLOY, Front
from support.process import PATIENCE, ServiceProcess
from support.tables import Tables

from service.api.error_responses import MAY_BE_APPLIED
from service.api.header_checks import LARGEST_BODY
from service.server.http_protocol import FULL
from service.server.request_input import MOST_HEADERS
from service.settings import Settings

(CURL,) = [sample["source"] for sample in PATHS["/vicidial/leads/archive"]["post"]["x-codeSamples"]]

REQUEST_TIMEOUT: int = Settings.model_fields["REQUEST_TIMEOUT"].default


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator[ServiceProcess]:
    with ServiceProcess({**environment, "REQUEST_TIMEOUT": "2"}) as process:
        yield process


Start = Callable[..., AbstractContextManager[Front]]
"""start(port of the service, seconds that the server waits for it) -> the server, until the end of the block."""


@pytest.fixture(params=["nginx", "Apache"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    if request.param == "Apache":
        return apache.apache
    return lambda port, timeout=40: nginx.nginx(tmp_path / "nginx", port, proxy_read_timeout=f"{timeout}s")


@pytest.fixture
def front(service: ServiceProcess, start: Start) -> Iterator[Front]:
    with start(service.port) as front:
        yield front


HALF = (
    f"POST /vicidial/leads/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Key={KEY}\r\nConnection: close\r\n"
    'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"insert'
).encode()
"""Return a request with an incomplete body."""

Connect = Callable[[str], Api]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """connect(base_url) -> the API that is served there. Every answer is validated against the contract."""
    with ExitStack() as stack:
        yield lambda url: Api(stack.enter_context(httpx2.Client(base_url=url, verify=False, timeout=PATIENCE)))


def raw(front: Front, request: bytes, source: str = "127.0.0.1") -> bytes:
    """Send bytes that no client would send. Return what is received until the close. source: the client's address."""
    tls = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", front.port), PATIENCE, source_address=(source, 0)) as plain,
        tls.wrap_socket(plain) as connection,
    ):
        connection.sendall(request)
        answer = b""
        while more := connection.recv(65536):
            answer += more
        return answer


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    nginx.render(tmp_path, 8000, free_port(), {})

    said = nginx.check(tmp_path)

    assert "test is successful" in said
    assert "[emerg]" not in said
    assert "[warn]" not in said or "deprecated" in said  # newer versions prefer "http2 on", which older ones refuse


@pytest.mark.parametrize("vicidial", [False, True], ids=["a host of its own", "Vicidial's host"])
def test_apache_accepts_the_configuration(tmp_path: Path, vicidial: bool) -> None:
    apache.render(tmp_path, 8000, free_port(), vicidial=vicidial)

    assert apache.check(tmp_path) == "Syntax OK\n"


def test_nginx_waits_longer_than_the_service_takes() -> None:
    seconds = dict(re.findall(r"^\s*(\w+_timeout) (\d+)s;", (DEPLOY / "nginx.conf").read_text(), re.MULTILINE))

    for name in ("client_body_timeout", "proxy_send_timeout", "proxy_read_timeout"):
        assert int(seconds[name]) > REQUEST_TIMEOUT + 1


def test_apache_waits_longer_than_the_service_takes() -> None:
    (answer,) = re.findall(r"^ +ProxyPass .* timeout=(\d+) ", (DEPLOY / "apache/proxy.conf").read_text(), re.MULTILINE)
    (body,) = re.findall(r"^ +RequestReadTimeout .*body=(\d+)$", (DEPLOY / "apache.conf").read_text(), re.MULTILINE)

    assert min(int(answer), int(body)) > REQUEST_TIMEOUT + 1


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_the_documented_call_archives_leads(tables: Tables, front: Front, protocol: str) -> None:
    tables.live(4711, 4712, 4713)
    live, _ = tables.both()
    command = CURL.replace("https://127.0.0.1:8443", front.base_url).replace("YOUR_API_KEY", KEY)
    command = command.replace("curl -k", f"curl -k --http{protocol} -s -w '\\n%{{http_version}}' -H 'X-Request-ID: my.own-1'")
    done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, timeout=PATIENCE, check=True)

    body, version = done.stdout.rsplit("\n", 1)
    assert version == protocol
    assert json.loads(body)["delete_count"] == 3
    assert tables.both() == ({}, live)
    (line,) = front.logged(1)
    assert (line["request_id"], line["client"], line["status"]) == ("my.own-1", "127.0.0.1", 200)
    assert all(KEY not in log.read_text() for log in front.folder.glob("*.log"))


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_each_of_many_requests_at_once_gets_its_own_answer(
    tables: Tables, front: Front, tmp_path: Path, protocol: str
) -> None:
    """With HTTP/2, all on one connection."""
    count = 40
    tables.live(*range(count))
    command = ["curl", "--parallel", "--parallel-max", str(count)]
    for number in range(count):
        # The second of its two ids is unknown, and the answer names it. Each third request has a wrong key.
        body = json.dumps({**Api.ALL, "lead_ids": [number, 1_000 + number] if number % 2 else [number]})
        key = "wrong" if number % 3 == 0 else KEY
        headers = [f"Authorization: Key={key}", "Content-Type: application/json", f"X-Request-ID: {number}"]
        command += [*(["--next"] if number else []), "-sk", f"--http{protocol}", "-w", "%{num_connects}\\n", "-d", body]
        command += [argument for header in headers for argument in ("-H", header)]
        command += ["-D", str(tmp_path / f"{number}.head"), "-o", str(tmp_path / f"{number}.json")]
        command += [f"{front.base_url}/vicidial/leads/archive"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)

    if protocol == "2":
        assert sum(int(connects) for connects in done.stdout.split()) < count / 2
    for number in range(count):
        answer = json.loads((tmp_path / f"{number}.json").read_text())
        assert f"x-request-id: {number}\n" in (tmp_path / f"{number}.head").read_text().lower().replace("\r", "")
        if number % 3 == 0:
            assert answer == {"message": "unable to validate api user"}
        elif number % 2:
            assert answer["lead_ids"] == [1_000 + number]
        else:
            assert answer["delete_count"] == 1
    moved = [number for number in range(count) if number % 3 and not number % 2]
    assert tables.ids()[1] == moved


def test_a_request_has_one_name_everywhere(service: ServiceProcess, front: Front, connect: Connect) -> None:
    api = connect(front.base_url)
    given = api.get("/livez", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"]
    made = api.get("/livez", headers={"X-Request-ID": "not { proper"}).headers["X-Request-ID"]

    assert given == "mine"
    assert re.fullmatch("[0-9a-f]{32}", made)
    service.wait_for_line("request", 3)  # the first line is about the start; a line may be written just after its answer
    names = [line["request_id"] for line in service.log_lines if line.get("path") == "/livez"][-2:]
    assert names == [line["request_id"] for line in front.logged(2)] == [given, made]


def test_the_largest_body_is_the_same(service: ServiceProcess, front: Front, connect: Connect) -> None:
    assert f"client_max_body_size {LARGEST_BODY // 1024**2}m;" in (DEPLOY / "nginx.conf").read_text()
    fits, too_large = b" " * LARGEST_BODY, b" " * (LARGEST_BODY + 1)
    api, direct = connect(front.base_url), connect(service.base_url)

    assert api.post(fits).status_code == direct.post(fits).status_code == 400
    answers = [api.post(too_large), direct.post(too_large)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(413, answers[1].json())] * 2


def test_half_a_body_is_answered(service: ServiceProcess, start: Start) -> None:
    """The service answers, or Apache, which first collects a small body."""
    with start(service.port, 3) as front:
        answer = raw(front, HALF)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"message":"request body did not arrive within ' in answer


@pytest.mark.parametrize("start", ["nginx"], indirect=True)
def test_a_wrong_key_is_refused_before_the_body(front: Front) -> None:
    started = time.monotonic()
    answer = raw(
        front,
        b"POST /vicidial/leads/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Key=wrong\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - started < PATIENCE / 2


def test_a_wrong_key_with_a_large_body_is_a_wrong_key(tables: Tables, front: Front, connect: Connect) -> None:
    """The service answers before it has read the body, which the server is still sending."""
    api = connect(front.base_url)
    for size in (100_000, LARGEST_BODY):
        for _ in range(15):
            assert api.post(b" " * size, Authorization="Key=wrong").status_code == 401
            assert api.post(b" " * size, **{"Content-Type": "text/plain"}).status_code == 415
    assert tables.ids() == ([], [])


def test_a_service_that_is_down_is_answered_503(tables: Tables, start: Start, connect: Connect) -> None:
    tables.live(1)
    with start(free_port()) as front:
        api = connect(front.base_url)
        moves = [api.archive_all([1]), api.dearchive_all([1])]
        looks = [api.compare([1]), api.find(where={"list_ids": [1]})]

    for answers, outcome in ((moves, MAY_BE_APPLIED), (looks, "nothing was changed, repeat the request")):
        for response in answers:
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
            assert response.headers["Content-Type"] == "application/json"
            assert response.json()["message"] == f"the service did not answer; {outcome}"
    assert tables.ids() == ([1], [])


def test_a_service_that_hangs_is_answered_503(tables: Tables, service: ServiceProcess, start: Start, connect: Connect) -> None:
    tables.live(1)
    with start(service.port, 1) as front:
        os.kill(service.pid, signal.SIGSTOP)
        try:
            response = connect(front.base_url).archive_all([1])
        finally:
            os.kill(service.pid, signal.SIGCONT)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json()["message"] == f"the service did not answer; {MAY_BE_APPLIED}"


def test_an_address_with_too_many_requests_at_once_is_told_so_and_others_are_served(
    tables: Tables, environment: dict[str, str], tmp_path: Path, connect: Connect
) -> None:
    tables.live(1)
    tls = ssl._create_unverified_context()
    with (
        ServiceProcess(environment) as service,
        nginx.nginx(tmp_path / "nginx", service.port, limit_conn="lead_archive_requests 2") as front,
        ExitStack() as stack,
    ):
        api = connect(front.base_url)
        for _ in range(2):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", front.port), PATIENCE))
            stack.enter_context(tls.wrap_socket(plain)).sendall(HALF)
        deadline = time.monotonic() + PATIENCE
        while api.get("/livez").status_code == 200:
            assert time.monotonic() < deadline

        refused = api.archive_all([1])
        other = raw(front, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", source="127.0.0.2")
        assert other.startswith(b"HTTP/1.1 200 ")
        assert (refused.status_code, refused.json()) == (503, {"message": FULL})
        assert refused.headers["Retry-After"] == "5"
        assert tables.ids() == ([1], [])

        stack.pop_all().close()
        while (answer := api.archive_all([1])).status_code == 503:
            assert answer.json() == {"message": FULL}
            assert time.monotonic() < deadline
    assert answer.json()["delete_count"] == 1
    assert tables.ids() == ([], [1])


def test_a_client_that_keeps_to_the_limit_of_http_2_is_not_refused() -> None:
    """The limit of an address counts each stream of HTTP/2."""
    shipped = (DEPLOY / "nginx.conf").read_text()
    (streams,) = re.findall(r"^ +http2_max_concurrent_streams (\d+);", shipped, re.MULTILINE)
    (requests,) = re.findall(r"^ +limit_conn lead_archive_requests (\d+);", shipped, re.MULTILINE)

    assert int(streams) < int(requests)


@pytest.mark.parametrize("start", ["nginx"], indirect=True)
def test_too_many_headers_are_refused_by_the_service(tables: Tables, front: Front) -> None:
    tables.live(1)
    body = json.dumps({**Api.ALL, "lead_ids": [1]}).encode()
    head = HALF.partition(b"Content-Length")[0] + b"a:\r\n" * (MOST_HEADERS + 1) + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = raw(front, head + body)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "message": f"a request cannot have more than {MOST_HEADERS} headers"
    }
    assert tables.ids() == ([1], [])


REFUSED = {
    "a long address": ("GET /" + "x" * 10_000, "", 431),
    "no HTTP": ("\x01", "", 400),
    "a path of its own": ("GET /lead-archive-bad-request", "", 404),
    "a long header": ("GET /livez", "X-Long: " + "x" * 10_000 + "\r\n", 431),
    "no number": ("GET /livez", "Content-Length: x\r\n", 400),
    "TRACE": ("TRACE /livez", "", 405),
    "xchunked": ("POST /livez", "Transfer-Encoding: xchunked\r\n", 400),
    "gzip": ("POST /livez", "Transfer-Encoding: gzip, chunked\r\n", 400),
}


def test_what_the_server_itself_refuses_is_json(front: Front, subtests: pytest.Subtests) -> None:
    for name, (request_line, headers, status) in REFUSED.items():
        with subtests.test(name):
            answer = raw(front, f"{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())

            head, body = answer.split(b"\r\n\r\n", 1)
            is_apaches = b"Server: Apache" in head and name == "a long header"  # Apache has the same status for any bad header
            assert head.startswith(f"HTTP/1.1 {400 if is_apaches else status} ".encode())
            for header in (b"content-type: application/json", b"x-request-id: ", b"cache-control: no-store", b"nosniff"):
                assert header in head.lower()
            assert re.search(rb"^Server: (nginx|Apache/.*)\r$", head, re.MULTILINE)  # nginx without a version
            assert json.loads(body)["message"]


@pytest.mark.parametrize("start", ["nginx"], indirect=True)
def test_a_version_of_http_that_nginx_does_not_know_is_refused_in_json(front: Front) -> None:
    answer = raw(front, b"GET /livez HTTP/3.0\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["lead_ids"] == []


def test_plain_http_is_no_way_in(front: Front) -> None:
    response = httpx2.get(front.base_url.replace("https", "http") + "/livez")

    assert response.status_code == 400
    assert response.json()["lead_ids"] == []


def test_vicidials_own_host_serves_the_service_beside_vicidial(
    tables: Tables, service: ServiceProcess, connect: Connect
) -> None:
    """Vicidial keeps everything else: its pages, its errors, and its paths that the service has too."""
    tables.live(1, 2)
    with apache.apache(service.port, vicidial=True) as front:
        api = connect(front.base_url)
        archived, unknown = api.archive_all([1]), api.archive_all([3])
        too_large, elsewhere = api.post(b" " * (LARGEST_BODY + 1)), httpx2.get(f"{front.base_url}/livez", verify=False)
        page = httpx2.get(f"{front.base_url}/index.html", verify=False)
        service.stop()
        down = api.archive_all([2])
        not_compared = api.compare([2])
        logs = [log.read_text() for log in front.folder.glob("*.log")]

    assert (archived.status_code, unknown.status_code, too_large.status_code) == (200, 404, 413)
    assert (down.status_code, down.headers["Retry-After"]) == (503, "5")
    assert not_compared.json()["message"] == "the service did not answer; nothing was changed, repeat the request"
    assert (elsewhere.status_code, elsewhere.headers["Content-Type"]) == (404, "text/html; charset=iso-8859-1")
    assert page.text == "Vicidial"
    assert tables.ids() == ([2], [1])
    assert all(KEY not in log for log in logs)


def test_apache_never_sends_a_batch_twice(connect: Connect) -> None:
    """The connection ends before the answer: the service may have processed the batch."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    received.append(connection.recv(65536))

        thread = Thread(target=serve)
        thread.start()
        try:
            with apache.apache(server.getsockname()[1]) as front:
                answers = [connect(front.base_url).archive_all([number]) for number in (1, 2)]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)

    assert [answer.status_code for answer in answers] == [503, 503]
    assert len(received) == 2  # after the first failure, Apache forwards requests again
