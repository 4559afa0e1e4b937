"""What is refused before the body is looked at: in which order, with which headers, and that nothing is changed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.types import Message
from structlog.testing import capture_logs
from support.api import KEY, Api
from support.process import PATIENCE, SLACK
from support.refusals import UNKNOWN, Refusals

from service.access.keys import Keys
from service.access.keys_file import KeysFile
from service.api.error_responses import MAY_BE_APPLIED
from service.api.header_checks import LARGEST_BODY, read_body
from service.archive.batch import Batch, Result
from service.archive.mover import Mover
from service.errors import RefusalError

ARCHIVE = "/vicidial/leads/archive"
MONDAY_NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)

GOOD = json.dumps({**Api.ALL, "lead_ids": [4711]})

# The checks, in the order of the contract: what a request looks like that fails one, and the answer to it.
ANSWERS = {
    "path": (404, "there is nothing at this path; /openapi.yaml lists the paths"),
    "method": (405, "method not allowed; the methods of this path are POST"),
    "key": (401, "unable to validate api user"),
    "office hours": (403, "api cannot be executed during office hours time condition"),
    "media type": (415, "Content-Type must be application/json, in UTF-8"),
    "size": (413, "request body cannot exceed 1048576 bytes"),
    "body": (400, "insert_leads must be a boolean value"),
    "leads": (404, "lead_ids does not exist"),
}


HEADERS = [(b"authorization", f"Key={KEY}".encode()), (b"content-type", b"application/json")]


async def receive_good() -> Message:
    return {"type": "http.request", "body": GOOD.encode()}


def send(refusals: Refusals, *wrong: str) -> httpx2.Response:
    """Send a request that is wrong in these ways and valid in all others."""
    api = refusals.api
    refusals.now = MONDAY_NOON if "office hours" in wrong else refusals.now
    body = {**api.ALL, "lead_ids": [4711, UNKNOWN] if "leads" in wrong else [4711]}
    if "body" in wrong:
        body["insert_leads"] = "yes"
    return api.request(
        "PUT" if "method" in wrong else "POST",
        "/vicidial/leads" if "path" in wrong else ARCHIVE,
        content=json.dumps(body) + (" " * LARGEST_BODY if "size" in wrong else ""),
        headers={
            "Authorization": "Key=wrong" if "key" in wrong else f"Key={KEY}",
            "Content-Type": "text/plain" if "media type" in wrong else "application/json",
        },
    )


@pytest.mark.parametrize(("first", "second"), list(combinations_with_replacement(ANSWERS, 2)))
def test_of_two_things_that_are_wrong_the_first_in_order_gives_the_answer(refusals: Refusals, first: str, second: str) -> None:
    response = send(refusals, first, second)

    assert (response.status_code, response.json()["message"]) == ANSWERS[first]


def test_a_request_that_is_wrong_in_every_way_goes_through_all_checks_one_by_one(refusals: Refusals) -> None:
    wrong = list(ANSWERS)
    while wrong:
        assert send(refusals, *wrong).json()["message"] == ANSWERS[wrong[0]][1]
        refusals.check()
        del wrong[0]
        refusals.now = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "allowed"), [(ARCHIVE, "POST"), *((path, "GET, HEAD") for path in ("/livez", "/readyz", "/openapi.yaml"))]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_the_path_does_not_know(refusals: Refusals, path: str, allowed: str, method: str) -> None:
    response = refusals.api.request(method, path, headers=refusals.api.headers)

    known = method in allowed.split(", ") or (path, method) == (ARCHIVE, "POST")
    assert (response.status_code == 405) is not known
    assert response.headers.get("Allow") == (None if known else allowed)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/vicidial",
        "/vicidial/leads",
        f"{ARCHIVE}/",
        f"/{ARCHIVE}",
        f"{ARCHIVE}%2F",
        f"{ARCHIVE}.json",
        f"{ARCHIVE}%00",
        "/Vicidial/Leads/Archive",
        "/livez/",
        "/readyz/",
        "/openapi.yaml/",
        "/openapi.yml",
        "/%ff",
    ],
)
def test_a_path_that_is_almost_right_is_answered_404_and_never_redirected(refusals: Refusals, path: str) -> None:
    for method in ("GET", "POST"):
        response = refusals.api.request(method, path, content=GOOD, headers=refusals.api.headers)

        assert (response.status_code, response.json()["message"]) == ANSWERS["path"]
        assert response.history == []


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.yaml"])
def test_head_is_answered_like_get_without_the_body(refusals: Refusals, path: str) -> None:
    headers = {"X-Request-ID": "one"}
    get = refusals.api.get(path, headers=headers)
    head = refusals.api.request("HEAD", path, headers=headers)

    assert get.content
    assert (head.status_code, head.headers, head.content) == (get.status_code, get.headers, b"")


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        ("2025-06-02T08:00:00", 9 * 3600),
        ("2025-06-02T12:00:30", 5 * 3600 - 30),
        ("2025-06-02T12:00:30.000001", 5 * 3600 - 30),
        ("2025-06-02T16:59:59", 1),
        ("2025-06-02T16:59:59.999999", 1),
    ],
)
def test_within_office_hours_the_caller_is_told_how_many_seconds_to_wait(refusals: Refusals, now: str, seconds: int) -> None:
    refusals.now = datetime.fromisoformat(now).replace(tzinfo=UTC)
    response = refusals.api.archive_all([4711])

    assert (response.status_code, response.json()) == (403, {"message": ANSWERS["office hours"][1]})
    assert response.headers["Retry-After"] == str(seconds)


@pytest.mark.parametrize("now", ["2025-06-02T07:59:59.999999", "2025-06-02T17:00:00", "2025-06-03T12:00:00"])
def test_outside_office_hours_it_is_not_the_time_that_refuses(refusals: Refusals, now: str) -> None:
    refusals.now = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert refusals.api.archive_all([UNKNOWN]).status_code == 404


@pytest.mark.parametrize(
    ("content_type", "encoding", "status"),
    [
        *(
            (good, None, 404)
            for good in (
                "application/json",
                "Application/JSON",
                "application/json ",
                "application/json;",
                "application/json;charset=utf-8",
                "application/json; charset=UTF-8",
                'application/json ; charset="utf-8"',
                "application/json; charset=utf8",
                "application/json; profile=x",
            )
        ),
        *(
            (bad, None, 415)
            for bad in (
                None,
                "",
                "text/plain",
                "text/json",
                "application/jsonp",
                "application/json-patch+json",
                "application/problem+json",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/json, text/plain",
                "application/json charset=utf-8",
                "*/*",
                "application/json; charset=utf-16",
                "application/json; charset = latin1",
                "application/json; charset=",
                'application/json; charset="iso-8859-1"',
                "application/json; charset=utf-8; charset=utf-16",
                "application/json; charset=utf-16; charset=utf-8",
            )
        ),
        ("application/json", "identity", 404),
        ("application/json", "Identity", 404),
        *(("application/json", encoding, 415) for encoding in ("gzip", "br", "deflate", "zstd", "x", "identity, gzip")),
    ],
)
def test_only_json_in_utf_8_that_is_not_compressed_is_read(
    refusals: Refusals, content_type: str | None, encoding: str | None, status: int
) -> None:
    given = {"Authorization": f"Key={KEY}", "Content-Type": content_type, "Content-Encoding": encoding}
    response = refusals.api.request(
        "POST",
        ARCHIVE,
        content=json.dumps({**Api.ALL, "lead_ids": [UNKNOWN]}),
        headers={name: value for name, value in given.items() if value is not None},
    )

    assert response.status_code == status
    if status == 415:
        about = "Content-Encoding is not supported; send the body as it is" if encoding else ANSWERS["media type"][1]
        assert response.json() == {"message": about}


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        ("Content-Type", ("application/json", "text/plain"), 415),
        ("Content-Type", ("text/plain", "application/json"), 415),
        ("Content-Type", ("application/json", "application/json; charset=utf-16"), 415),
        ("Content-Type", ("application/json", "application/JSON"), 404),
        ("Content-Encoding", ("identity", "gzip"), 415),
        ("Content-Encoding", ("gzip", "identity"), 415),
        ("Content-Encoding", ("identity", "Identity"), 404),
    ],
)
def test_two_headers_that_say_different_things_of_the_body_are_refused(
    refusals: Refusals, name: str, values: tuple[str, str], status: int
) -> None:
    """Whoever is in front of the service may have read the other one."""
    others = {"Authorization": f"Key={KEY}", "Content-Type": "application/json"}
    headers = [*((other, value) for other, value in others.items() if other != name), *((name, value) for value in values)]
    body = json.dumps({**Api.ALL, "lead_ids": [UNKNOWN]})

    response = refusals.api.request("POST", ARCHIVE, content=body, headers=headers)

    assert response.status_code == status
    if status == 415:
        about = "Content-Encoding is not supported; send the body as it is"
        assert response.json() == {"message": about if name == "Content-Encoding" else ANSWERS["media type"][1]}


def answer_of_each_kind(refusals: Refusals, monkeypatch: pytest.MonkeyPatch, **headers: Any) -> list[httpx2.Response]:
    api = refusals.api
    answers = [
        api.get("/livez", headers=headers),
        api.get("/readyz", headers=headers),
        api.get("/openapi.yaml", headers=headers),
        api.get("/", headers=headers),
        api.get(ARCHIVE, headers=headers),
        api.request("POST", ARCHIVE, content=GOOD, headers=headers),
        api.post("[]", **headers),
        api.post(json.dumps({**api.ALL, "lead_ids": [UNKNOWN]}), **headers),
        api.post(GOOD, **{**headers, "Content-Encoding": "gzip"}),
        api.post(" " * LARGEST_BODY + " ", **headers),
    ]
    refusals.now = MONDAY_NOON
    answers.append(api.post(GOOD, **headers))
    monkeypatch.setattr("service.api.leads.authenticate", defect)
    answers.append(api.post(GOOD, **headers))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 405, 401, 400, 404, 415, 413, 403, 500]
    return answers


def defect(*_: object) -> None:
    raise RuntimeError("a defect with a secret in it")


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 128])
def test_every_answer_carries_the_request_id_that_was_sent(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for answer in answer_of_each_kind(refusals, monkeypatch, **{"X-Request-ID": name}):
        assert answer.headers["X-Request-ID"] == name


@pytest.mark.parametrize("name", [None, "", "x" * 129, "a b", "a/b", 'a"', "a\t", "é", "\0"])
def test_every_answer_carries_a_request_id_of_its_own_if_none_or_an_odd_one_was_sent(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    headers = {} if name is None else {"X-Request-ID": name.encode()}
    answers = answer_of_each_kind(refusals, monkeypatch, **headers)

    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(len(each) == 32 and each.isalnum() for each in ids)


def test_every_answer_forbids_to_store_it_and_to_guess_its_type(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in answer_of_each_kind(refusals, monkeypatch):
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers["Content-Type"] in {"application/json", "application/yaml"}
        assert "Server" not in answer.headers


def test_a_defect_is_answered_500_without_a_word_about_it_and_the_next_request_works(refusals: Refusals) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, capture_logs() as log:
        monkeypatch.setattr("service.api.leads.read_body", defect)
        response = refusals.api.post(GOOD, **{"X-Request-ID": "broken"})

    assert response.status_code == 500
    assert response.json() == {"message": "internal error; no lead is lost, and the request can be repeated"}
    assert [line["exc_info"] for line in log if line["event"] == "internal error"] == [True]
    assert refusals.api.archive_all([UNKNOWN]).status_code == 404


def test_a_batch_that_a_stop_cuts_off_may_have_been_applied(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Mover, "process", cut_off)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": ARCHIVE, "raw_path": ARCHIVE.encode(), "headers": HEADERS}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(refusals.app(scope, receive_good, send))

    assert (sent[0]["status"], (b"retry-after", b"5") in sent[0]["headers"]) == (503, True)
    assert json.loads(sent[1]["body"]) == {"message": f"the service was stopped; {MAY_BE_APPLIED}"}


def test_the_keys_the_body_and_the_batch_share_one_deadline(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body and the batch get what the keys have left over."""
    context = refusals.app.state.context
    seen: dict[str, float] = {}
    current, process = KeysFile.current, Mover.process

    async def slow_keys(file: KeysFile, timeout: float) -> Keys:
        seen["begun"] = asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        return await current(file, timeout)

    async def body(request: Request, deadline: float, seconds: float) -> bytes:
        seen["deadline"] = deadline
        return await read_body(request, deadline, seconds)

    async def batch(mover: Mover, batch: Batch, seconds: float, *callbacks: Any) -> Result:
        seen["seconds"] = seconds
        return await process(mover, batch, seconds, *callbacks)

    monkeypatch.setattr(KeysFile, "current", slow_keys)
    monkeypatch.setattr("service.api.leads.read_body", body)
    monkeypatch.setattr(Mover, "process", batch)

    assert refusals.api.archive_all([UNKNOWN]).status_code == 404
    assert seen["begun"] - SLACK < seen["deadline"] - context.request_timeout <= seen["begun"]
    assert 0 < seen["seconds"] <= context.request_timeout - 0.3


def test_a_body_that_comes_after_the_deadline_is_not_waited_for() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def read() -> None:
        request = Request({"type": "http", "headers": []}, never)
        await asyncio.wait_for(read_body(request, asyncio.get_running_loop().time() - 1, 30), PATIENCE)

    with pytest.raises(RefusalError) as refused:
        asyncio.run(read())
    assert (refused.value.status, str(refused.value)) == (408, "request body did not arrive within 30 seconds")
