"""API keys: which requests carry one, and which files hold some."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.accounts import as_somebody_else
from support.api import KEY, Api
from support.fixtures import ReadSettings
from support.refusals import Refusals
from support.tables import Tables

from service.access.keys import Keys
from service.errors import SettingsError
from service.files import LARGEST_FILE

ARCHIVE = "/vicidial/leads/archive"
GOOD = json.dumps({**Api.ALL, "lead_ids": [4711]})

Headers = list[tuple[bytes, bytes]]


def key_headers(*values: bytes) -> Headers:
    return [(b"Content-Type", b"application/json"), *((b"Authorization", value) for value in values)]


GOOD_KEY = b"Key=" + KEY.encode()


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b"Key",),
        (b"Key=",),
        (b"Key= ",),
        (KEY.encode(),),
        (b"Key=wrong",),
        (GOOD_KEY[:-1],),
        (GOOD_KEY + b"x",),
        (b"Key=" + KEY.upper().encode(),),
        (b"key=" + KEY.encode(),),
        (b"KEY=" + KEY.encode(),),
        (b"Key " + KEY.encode(),),
        (b"Key: " + KEY.encode(),),
        (b"Key= " + KEY.encode(),),
        (b"Key =" + KEY.encode(),),
        (GOOD_KEY + b" ",),
        (GOOD_KEY + b"\t",),
        (b'Key="' + KEY.encode() + b'"',),
        (b"Bearer " + KEY.encode(),),
        (b"Basic " + KEY.encode(),),
        (GOOD_KEY + b"\0",),
        (b"Key=\0",),
        (b"Key=\xff\xfe",),
        (GOOD_KEY + "é".encode(),),
        (GOOD_KEY + "\u200b".encode(),),
        (b"Key=" + KEY.replace("a", "а").encode(),),  # noqa: RUF001  # Cyrillic
        (b"Key=" + hashlib.sha256(KEY.encode()).hexdigest().encode(),),
        (b"Key=" + b"x" * 50_000,),
        (GOOD_KEY + b", " + GOOD_KEY,),
        (GOOD_KEY, GOOD_KEY),
        (GOOD_KEY, b"Key=wrong"),
        (b"Key=wrong", GOOD_KEY),
        (b"", GOOD_KEY),
    ],
    ids=lambda values: repr(values)[:60],
)
def test_an_invalid_key_is_refused(refusals: Refusals, values: tuple[bytes, ...]) -> None:
    response = refusals.api.request("POST", ARCHIVE, content=GOOD, headers=key_headers(*values))

    assert (response.status_code, response.json()) == (401, {"message": "unable to validate api user"})
    assert response.headers["WWW-Authenticate"] == "Key"


def test_a_name_may_have_several_keys_and_the_log_says_the_name(
    tables: Tables, new_api: Callable[..., Api], keys_file: Path
) -> None:
    hashes = [hashlib.sha256(key).hexdigest() for key in (KEY.encode(), "new key: é=".encode())]
    keys_file.write_text("".join(f'[[keys]]\nname = "tests"\nsha256 = "{sha256}"\n' for sha256 in hashes))
    tables.live(1, 2)
    before, _ = tables.both()
    api = new_api()

    for lead_id, key in enumerate((GOOD_KEY, "Key=new key: é=".encode()), 1):
        with capture_logs() as log:
            body = json.dumps({**Api.ALL, "lead_ids": [lead_id]})
            assert api.request("POST", ARCHIVE, content=body, headers=key_headers(key)).json()["delete_count"] == 1
        assert [line["key"] for line in log if line["event"] == "leads archived"] == ["tests"]

    assert tables.both() == ({}, before)


HASH = hashlib.sha256(b"one").hexdigest()
OTHER_HASH = hashlib.sha256(b"two").hexdigest()
TODAY = date(2026, 11, 24)
FORM = 'write each key as a [[keys]] table with name = "…" and sha256 = "…", the 64 hex digits of the key\'s SHA-256'


@pytest.fixture
def good(keys_file: Path) -> dict[str, str]:
    return {"DATABASE_URL": "mysql+asyncmy://u:p@h/d", "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}


def entry(name: str = '"one"', sha256: str = f'"{HASH}"') -> str:
    return f"[[keys]]\nname = {name}\nsha256 = {sha256}\n"


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("# ours\n" + entry('"Zoë, 1st"') + entry("'two'", f"'{OTHER_HASH.upper()}'"))

    keys = Keys.load(path)

    found = [keys.find(key, TODAY) for key in (b"one", b"two", b"three", b"")]
    assert [key and key.name for key in found] == ["Zoë, 1st", "two", None, None]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("keys", " is not TOML: "),
        (entry() + "[[keys", " is not TOML: "),
        (b"\xff\xfe", " is not UTF-8 text"),
        ("keys = " + "[" * 3_000 + "]" * 3_000, " is not TOML that can be read: its values are nested too deeply"),
        ("keys = " + "{a = " * 3_000 + "1" + "}" * 3_000, " is not TOML that can be read: its values are nested too deeply"),
        (f"keys = {'9' * 5_000}", " is not TOML: Exceeds the limit"),
        (entry() + "#" * LARGEST_FILE, f" is larger than {LARGEST_FILE} bytes"),
        ("", f" holds no key; {FORM}"),
        ("# none yet", f" holds no key; {FORM}"),
        ("keys = []", f" holds no key; {FORM}"),
        ("keys = 1", f" holds no key; {FORM}"),
        (f'[keys]\nname = "one"\nsha256 = "{HASH}"', f" holds no key; {FORM}"),
        (f'[[key]]\nname = "one"\nsha256 = "{HASH}"', f": unknown field key; {FORM}"),
        ("limit = 3\n" + entry(), f": unknown field limit; {FORM}"),
        ("keys = [1]", f", key 1: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}"),
        ("[[keys]]", f", key 1: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}"),
        (
            entry() + '[[keys]]\nname = "two"',
            f", key 2: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}",
        ),
        (
            f'[[keys]]\nsha256 = "{HASH}"',
            f", key 1: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}",
        ),
        (entry() + "admin = true", f", key 1: needs name and sha256, may have expires and list_ids, and nothing else; {FORM}"),
        (entry('""'), ", key 1: name must be a text that can be printed"),
        (entry('" "'), ", key 1: name must be a text that can be printed"),
        (entry('"a\\nb"'), ", key 1: name must be a text that can be printed"),
        (entry("1"), ", key 1: name must be a text that can be printed"),
        (entry(sha256='"one"'), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256=f'"{HASH[:-1]}"'), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256=f'"{HASH}0"'), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256=f'"{HASH[:-1]}g"'), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256=f'"{HASH}\\n"'), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256="1"), ", key 1 (one): sha256 must be 64 hex digits"),
        (entry(sha256=f'"{hashlib.sha256().hexdigest()}"'), ", key 1 (one): sha256 is that of an empty key"),
        (
            entry() + 'expires = "2027-01-01"',
            ", key 1 (one): expires must be a date without quotes, such as expires = 2027-12-31",
        ),
        (entry() + "expires = 2027-01-01T00:00:00Z", ", key 1 (one): expires must be a date without quotes"),
        (entry() + "expires = 0", ", key 1 (one): expires must be a date without quotes"),
        (entry() + "list_ids = []", ", key 1 (one): list_ids must be an array of list ids, such as list_ids = [101, 102]"),
        (entry() + "list_ids = 101", ", key 1 (one): list_ids must be an array of list ids"),
        (entry() + 'list_ids = ["101"]', ", key 1 (one): list_ids must be an array of list ids"),
        (entry() + "list_ids = [true]", ", key 1 (one): list_ids must be an array of list ids"),
        (entry() + "list_ids = [-1]", ", key 1 (one): list_ids must be an array of list ids"),
        (entry() + entry('"two"'), ", key 2 (two): the same key stands in the file already"),
        (entry() + entry(sha256=f'"{HASH.upper()}"'), ", key 2 (one): the same key stands in the file already"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_invalid_file_is_refused(
    settings_from: ReadSettings, good: dict[str, str], content: str | bytes, problem: str
) -> None:
    path = Path(good["API_KEYS_FILE"])
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(SettingsError) as caught:
        settings_from(good)

    assert str(caught.value).startswith(f"API_KEYS_FILE: {path}{problem}")


def test_a_file_that_cannot_be_read(
    settings_from: ReadSettings, good: dict[str, str], keys_file: Path, tmp_path: Path
) -> None:
    keys_file.chmod(0)
    cases = {
        tmp_path / "missing": "No such file or directory",
        tmp_path: "Is a directory",
        keys_file / "below": "Not a directory",
        keys_file: "Permission denied",
    }
    for path, why in cases.items():
        with (
            as_somebody_else() if path == keys_file else nullcontext(),
            pytest.raises(SettingsError) as caught,
        ):
            settings_from({**good, "API_KEYS_FILE": str(path)})
        assert str(caught.value) == f"API_KEYS_FILE: cannot read {path}: {why}"


def test_only_a_regular_file_is_read(settings_from: ReadSettings, good: dict[str, str], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero")):
        with pytest.raises(SettingsError) as caught:
            settings_from({**good, "API_KEYS_FILE": str(path)})
        assert str(caught.value) == f"API_KEYS_FILE: {path} is not a regular file"
