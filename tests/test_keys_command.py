"""`python -m service keys`: made once, shown once, revoked for good; and the file is never half written."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest
from process import run_service

from service.keys import Keys


def run(path: Path, *arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error. No other setting is needed."""
    result = run_service({"API_KEYS_FILE": str(path)}, "keys", *arguments)
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout, result.stderr


def digests(path: Path) -> list[str]:
    return [key.digest.hex() for key in Keys.load(path).entries]


def test_a_key_is_made_and_shown_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    old_mask = os.umask(0)
    try:
        status, output, said = run(
            path, "create", "Zoë & Co", "--expires", "2099-12-31", "--list-id", "102", "--list-id", "101"
        )
    finally:
        os.umask(old_mask)

    assert status == 0
    key = output.strip()
    assert re.fullmatch("[A-Za-z0-9_-]{43}", key)
    assert "shown only now" in said
    assert tomllib.loads(path.read_text())["keys"] == [
        {
            "name": "Zoë & Co",
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "expires": Keys.load(path).entries[0].expires,
            "list_ids": [101, 102],
        }
    ]
    assert str(Keys.load(path).entries[0].expires) == "2099-12-31"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]

    status, output, _ = run(path, "list")
    assert status == 0
    assert "Zoë & Co" in output
    assert "2099-12-31" in output
    assert "101, 102" in output
    assert key not in output


def test_a_name_may_have_several_and_each_can_be_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    _, first, _ = run(path, "create", "client")
    path.write_text(f"# whose keys these are\n{path.read_text()}")
    _, second, _ = run(path, "create", "client")
    run(path, "create", "other")
    assert len(set(digests(path))) == 3

    status, _, said = run(path, "revoke", "client")
    assert status == 1
    assert "'client' has 2 keys: name one with --sha256" in said
    assert len(digests(path)) == 3

    digest = hashlib.sha256(first.strip().encode()).hexdigest()
    assert run(path, "revoke", "client", "--sha256", digest[:8].upper())[0] == 0
    assert digest not in digests(path)
    assert hashlib.sha256(second.strip().encode()).hexdigest() in digests(path)
    assert path.read_text().startswith("# whose keys these are\n")

    run(path, "create", "client")
    assert run(path, "revoke", "client", "--all")[0] == 0
    assert [key.name for key in Keys.load(path).entries] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "nobody"], "holds no such key of 'nobody'"),
        (["revoke", "client"], "it is the last key"),
        (["create", ""], "NAME must be a text that can be printed"),
        (["create", "a\nb"], "NAME must be a text that can be printed"),
        (["create", "x", "--expires", "tomorrow"], "does not match the format"),
        (["create", "x", "--list-id", "-1"], "is not in the range"),
        (["create"], "Missing argument 'NAME'"),
    ],
    ids=repr,
)
def test_what_cannot_be_done_changes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    path = tmp_path / "keys.toml"
    run(path, "create", "client")
    before = path.read_bytes()

    status, output, error = run(path, *arguments)

    assert status in {1, 2}
    assert output == ""
    assert said in error
    assert path.read_bytes() == before


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    for content in ("keys = [", "keys = 1\n", '[[keys]]\nname = "x"\n'):
        path.write_text(content)
        for arguments in (["create", "x"], ["list"], ["revoke", "x"]):
            assert run(path, *arguments)[0] == 1
            assert path.read_text() == content
            assert list(tmp_path.iterdir()) == [path]


def test_without_a_file_that_is_named_nothing_is_done() -> None:
    result = run_service({}, "keys", "create", "x")

    assert (result.returncode, result.stdout) == (1, "")
    assert "API_KEYS_FILE is not set" in result.stderr
