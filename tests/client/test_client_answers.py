"""How the bulk client handles answers of other servers, and fields of later releases."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.fake_service import LIMIT, OPENAPI, Answer, Reply, compared, fake, lead, moved

from lead_archive.answers import Answer as Received
from lead_archive.answers import Moved
from lead_archive.answers import compared as read_compared
from lead_archive.errors import MalformedError

FEW = ["--jobs", 1, "--retry-for", 0]


def left(client: Client, name: str = "leads.archive.left.csv") -> dict[str, str]:
    """Return the leads left behind, with their reasons."""
    return {row["lead_id"]: row["reason"] for row in csv.DictReader(client.read(name))}


def arrived(reply: Reply) -> Received:
    return Received(reply.status, "", {}, reply.content)


def refused(tmp_path: Path, answer: Answer, *arguments: object, openapi: bytes | str | Reply = OPENAPI) -> str:
    """Return the error of a run that is refused and does nothing."""
    with fake(answer, openapi) as url:
        client = Client(tmp_path, url)
        result = client.invoke(*arguments, client.write("leads", "1-3"), "--json", "--start-over", *FEW)
    assert (result.status, result.counts()) == (3, {"asked": 3, "not_sent": 3})
    error: str = result.summary["error"]
    assert error.isprintable()
    assert len(error) < 1_000
    return error


NOT_JSON: list[bytes] = [
    b"",
    b"<html>Welcome!",
    b'{"message": "x"',
    b'{"message": "\xff"}',
    b'{"message": NaN}',
    b'{"message": "x", "message": "y"}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"9" * 10_000,
    b'"message"',
    b'["message"]',
    b"null",
    b'\xef\xbb\xbf{"message": "x"}',
    b"{" + b" " * 33 * 1024 * 1024 + b"}",
]


@pytest.mark.parametrize("content", NOT_JSON, ids=lambda content: content[:12].decode("latin-1"))
def test_200_that_is_not_an_object_of_json_is_refused(tmp_path: Path, content: bytes) -> None:
    for command in ("archive", "dearchive", "compare"):
        error = refused(tmp_path, lambda *_: Reply(content), command)
        assert f"/vicidial/leads/{command} is not this API's: it " in error


ODD: list[Any] = [None, "1", 1.0, True, -1, 4, 10**400, [], {}]
NO_IDS: list[Any] = [None, {}, "1", [[1]], ["1"], [1.0], [True], [-1], [4], [1, 1], [10**400]]
WRONG: list[dict[str, Any]] = [
    *({"message": value} for value in ODD if value != "1"),
    *({"remaining_lead_ids": value} for value in NO_IDS),
    *({"reused_lead_ids": value} for value in NO_IDS),
    *({"unmatched_lead_ids": value} for value in NO_IDS),
    *({f"{step}_count": value} for step in ("select", "insert", "update", "delete") for value in ODD),
    {"insert_count": 2, "update_count": 2},
    {"select_count": 2},
    {"remaining_lead_ids": [1]},
    {"reused_lead_ids": [1]},
    {"unmatched_lead_ids": [1]},
    {"delete_count": 1, "remaining_lead_ids": [1, 2], "reused_lead_ids": [3]},
]


BODY = {"insert_leads": True, "update_leads": True, "delete_leads": True, "lead_ids": [1, 2, 3]}


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: str(fields)[:60])
def test_200_of_a_move_with_a_wrong_field_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Moved.read(arrived(moved(BODY, **fields)), BODY)


@pytest.mark.parametrize("fields", [{"remaining_lead_ids": "1"}, {"insert_count": True}, {"delete_count": -1}], ids=str)
def test_200_of_a_move_that_is_none_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    error = refused(tmp_path, lambda _, body: moved(body, **fields), "archive")

    assert "the answer 200 to /vicidial/leads/archive is not this API's: " in error
    assert "--resume sends the batch again, which is safe" in error


@pytest.mark.parametrize("name", ["message", "select_count", "insert_count", "delete_count", "remaining_lead_ids"])
@pytest.mark.parametrize("command", ["archive", "dearchive"])
def test_200_of_a_move_that_lacks_a_field_is_refused(tmp_path: Path, name: str, command: str) -> None:
    def answer(_: str, body: dict[str, Any]) -> Reply:
        reply = moved(body)
        del reply.body[name]
        return reply

    assert f"is not this API's: {name} is not" in refused(tmp_path, answer, command)


@pytest.mark.parametrize(
    ("flag", "fields"),
    [
        ("--no-insert", {"insert_count": 1}),
        ("--no-update", {"update_count": 1}),
        ("--no-delete", {"delete_count": 1}),
        ("--no-delete", {"remaining_lead_ids": [1]}),
    ],
)
def test_200_that_says_what_was_not_asked_for_is_refused(tmp_path: Path, flag: str, fields: dict[str, Any]) -> None:
    assert "leads was false" in refused(tmp_path, lambda _, body: moved(body, **fields), "archive", flag)


WRONG_LEADS: list[list[Any]] = [
    [],
    [lead(1), lead(2)],
    [lead(1), lead(2), lead(2)],
    [lead(1), lead(2), lead(3), lead(3)],
    [lead(1), lead(2), lead(4)],
    *([lead(1), lead(2), other] for other in [*ODD, {"lead_id": 3}]),
    *([{**lead(1), "lead_id": value}, lead(2), lead(3)] for value in ODD),
    *(
        [lead(1), lead(2), lead(3, **{name: value})]
        for name in ("in_list", "in_archive", "identical", "in_use", "reused")
        for value in list[Any]([1, 0, "true", None, []])
    ),
    *(
        [lead(1), lead(2), lead(3, **{name: value})]
        for name in ("different_columns", "used_by")
        for value in list[Any](["x", None, [1], [""]])
    ),
    [lead(1), lead(2), lead(3, identical=True)],
    [lead(1), lead(2), lead(3, different_columns=["status"])],
    [lead(1), lead(2), lead(3, reused=True)],
    [lead(1), lead(2), lead(3, in_archive=True, identical=True, different_columns=["status"])],
    [lead(1), lead(2), lead(3, in_archive=True, identical=True, reused=True)],
    [lead(1), lead(2), lead(3, used_by=["vicidial_hopper.lead_id"])],
]


@pytest.mark.parametrize("leads", WRONG_LEADS, ids=lambda leads: str(leads)[-70:])
def test_200_of_compare_with_wrong_leads_is_none(leads: list[Any]) -> None:
    with pytest.raises(MalformedError):
        read_compared(arrived(compared(*leads)), [1, 2, 3])


def test_200_of_compare_that_is_none_is_refused(tmp_path: Path) -> None:
    for arguments in (["compare"], ["archive", "--dry-run"]):
        error = refused(tmp_path, lambda *_: compared(lead(1), lead(2), lead(3, in_use=1)), *arguments)
        assert "the answer 200 to /vicidial/leads/compare is not this API's: in_use of lead 3 is not a boolean" in error


@pytest.mark.parametrize(
    "fields",
    [
        {"lead_errors": 1, "lead_ids": [7]},
        {"lead_errors": 2, "lead_ids": [1, 7]},
        {"lead_errors": 1, "lead_ids": [True]},
        {"lead_errors": 1, "lead_ids": ["1"]},
        {"lead_errors": 1, "lead_ids": 1},
        {"lead_errors": 2, "lead_ids": [1, 1]},
        {"lead_errors": 2, "lead_ids": [1]},
        {"lead_errors": 0, "lead_ids": []},
        {"lead_ids": [1]},
    ],
    ids=str,
)
def test_404_that_does_not_name_leads_that_were_asked_for_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    error = refused(tmp_path, lambda *_: Reply({"message": "lead_ids does not exist", **fields}, 404), "archive")

    assert "the answer 404 to /vicidial/leads/archive is not this API's: lead_" in error


def test_what_a_server_says_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    answer = Reply({"message": "\x1b[2J\ud800\r\n" + "x" * 5_000}, 418, {"X-Request-ID": "\x1b[1m", "Location": "\x07"})

    assert "418 \ufffd[2J\ufffd\ufffd\ufffdxxx" in refused(tmp_path, lambda *_: answer, "archive")


def test_a_403_of_something_else_is_not_waited_for(tmp_path: Path) -> None:
    for answer in (Reply(b"<html>Forbidden", 403, {"Retry-After": "60"}), Reply({"message": "Forbidden"}, 403)):
        assert "403 Forbidden" in refused(tmp_path, lambda *_, answer=answer: answer, "archive", "--wait")


@pytest.mark.parametrize(
    "openapi",
    [
        b"",
        b"[" * 1_000_000,
        b"- " * 200_000,
        b"{a: " * 1_000_000,
        b"paths: \xff\xfe",
        b"paths: {}\nwhen: 2024-99-99\n<<: 1\nn: !!int x\n? [1]\n: 2",
        b"paths: [1]",
        b"paths: &a {<<: *a, x: *a, y: *nobody}",
        "paths: {/vicidial/leads/archive: {$ref: '#/a'}}\na: {$ref: '#/b'}\nb: {$ref: '#/a'}",
        *(
            OPENAPI.replace("maxItems: 3", f"maxItems: {value}")
            for value in ("true", "0", "-3", "3.0", "0x10", "1_0", "1:30", "[3]")
        ),
        OPENAPI.replace("maxItems: 3", f"maxItems: {'9' * 5000}"),
        b"x" * 33 * 1024 * 1024,
        Reply(b"", 204),
        Reply(OPENAPI.encode(), 200, {"Content-Encoding": "gzip"}),
        Reply(OPENAPI.encode(), 301, {"Location": "/elsewhere"}),
    ],
    ids=lambda openapi: str(openapi)[:30],
)
def test_an_openapi_yaml_that_is_not_this_apis_is_refused(tmp_path: Path, openapi: bytes | str | Reply) -> None:
    def answer(*_: object) -> Reply:
        pytest.fail("a batch was sent")

    error = refused(tmp_path, answer, "archive", openapi=openapi)

    assert "openapi.yaml" in error or "does not offer" in error or "cannot be reached" in error


def test_fields_of_later_releases_are_ignored(tmp_path: Path) -> None:
    with fake(lambda _, body: moved(body, hint={"x": [1.5, None]})) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", "1-3"), "--json", *FEW)

    assert (result.status, result.counts()) == (0, {"asked": 3, "moved": 3, "inserted": 3})


USES = {"in_use": True, "used_by": ["vicidial_hopper.lead_id", "vicidial_callbacks.lead_id"]}
AGAIN = {"in_archive": True, "reused": True, "different_columns": ["phone_number", "entry_date"]}
USED = "in use: vicidial_hopper.lead_id, vicidial_callbacks.lead_id"
GIVEN_OUT_AGAIN = (
    "id given out again: another lead has this id in {} (phone_number and entry_date differ); both are left alone"
)


def later(path: str, body: dict[str, Any]) -> Reply:
    """A later release: of the leads 1 to 4, 2 is in use, 3 was given out again, 4 does not meet a condition."""
    ids = body["lead_ids"]
    if path.endswith("/compare"):
        fields: dict[int, dict[str, Any]] = {2: USES, 3: AGAIN}
        return compared(*(lead(lead_id, **{"used_by": [], "reused": False, **fields.get(lead_id, {})}) for lead_id in ids))
    goes = [lead_id for lead_id in ids if lead_id == 1 or (lead_id == 2 and not body["delete_leads"])]
    number = len(goes)
    stays = [lead_id for lead_id in ids if lead_id not in goes] if body["delete_leads"] else []
    return moved(
        body,
        insert_count=number,
        delete_count=number if body["delete_leads"] else 0,
        remaining_lead_ids=stays,
        reused_lead_ids=[3] if 3 in ids else [],
        unmatched_lead_ids=[4] if 4 in ids else [],
    )


def test_a_later_release_says_who_uses_a_lead_and_which_ids_were_given_out_again(tmp_path: Path) -> None:
    with fake(later) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", "1-4"), "--json", *FEW)
        table = client.invoke("archive", "leads", *FEW).output.splitlines()

    assert (result.status, result.counts()) == (
        1,
        {"asked": 4, "moved": 1, "remained": 1, "unmatched": 1, "reused": 1, "inserted": 1},
    )
    reasons = left(client)
    assert reasons.pop("3").startswith(GIVEN_OUT_AGAIN.format("vicidial_list_archive"))
    assert reasons == {"2": USED, "4": "no longer meets the conditions: it was left as it is"}
    assert "left alone, id given out again" in [line.rstrip(" 1") for line in table]


def test_a_dry_run_foresees_who_uses_a_lead_and_which_ids_were_given_out_again(tmp_path: Path) -> None:
    with fake(later) as url:
        client = Client(tmp_path, url)
        client.write("leads", "1-3")
        result = client.invoke("archive", "leads", "--dry-run", "--json", *FEW)
        without_insert = client.invoke("archive", "leads", "--dry-run", "--no-insert", "--json", "--left", "second", *FEW)

    assert (result.status, result.counts()) == (1, {"asked": 3, "moved": 1, "remained": 1, "reused": 1})
    reasons = left(client, "leads.archive-dry-run.left.csv")
    assert reasons.pop("3").startswith(GIVEN_OUT_AGAIN.format("vicidial_list_archive"))
    assert reasons == {"2": USED}
    assert without_insert.counts() == {"asked": 3, "remained": 2, "reused": 1}
    assert left(client, "second")["2"] == USED


def test_without_deletion_leads_in_use_are_copied_and_reused_ids_left_alone(tmp_path: Path) -> None:
    for options in (["--dry-run"], []):
        with fake(later) as url:
            client = Client(tmp_path, url)
            client.write("leads", "1-3")
            result = client.invoke("archive", "leads", "--no-delete", "--json", "--left", "left.csv", *options, *FEW)

        counts = result.counts()
        assert counts.pop("inserted", 2) == 2
        assert (result.status, counts) == (1, {"asked": 3, "kept": 2, "reused": 1})
        assert list(left(client, "left.csv")) == ["3"]


def test_the_way_back_names_the_other_table(tmp_path: Path) -> None:
    for options in (["--dry-run"], []):
        with fake(later) as url:
            client = Client(tmp_path, url)
            client.write("leads", 3)
            client.invoke("dearchive", "leads", "--left", "left.csv", *options, *FEW)
        assert left(client, "left.csv")["3"].startswith(GIVEN_OUT_AGAIN.format("vicidial_list"))


def test_compare_says_which_ids_were_given_out_again(tmp_path: Path) -> None:
    with fake(later) as url:
        client = Client(tmp_path, url)
        result = client.invoke("compare", client.write("leads", "1-3"), "--json", *FEW)

    assert (result.status, result.counts()) == (1, {"asked": 3, "list_only": 2, "reused": 1, "in_use": 1})
    assert left(client, "leads.compare.left.csv")["3"].startswith(GIVEN_OUT_AGAIN.format("vicidial_list_archive"))


def test_where_the_reasons_cannot_be_learnt_the_leads_are_still_named(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> Reply:
        if path.endswith("/compare"):
            return Reply(b"<html>")
        return moved(body, delete_count=0, remaining_lead_ids=body["lead_ids"], reused_lead_ids=body["lead_ids"][:1])

    with fake(answer) as url:
        client = Client(tmp_path, url)
        result = client.invoke("archive", client.write("leads", "1-6"), "--json", *FEW)

    assert (result.status, result.counts()) == (1, {"asked": 6, "remained": 4, "reused": 2, "inserted": 6})
    assert (
        result.errors.count("cannot find out why leads stayed: the answer 200 to /vicidial/leads/compare is not this API") == 1
    )
    assert left(client)["2"] == "in use, or the data differs, or it changed meanwhile"
    assert LIMIT == 3
    assert json.dumps(left(client)).count("id given out again") == 2
