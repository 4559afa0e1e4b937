"""`python -m service keys`: made once, shown once, revoked for good; and the file is never half written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import stat
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from support.accounts import as_somebody_else
from support.paths import ROOT
from support.process import PATIENCE, clean, run_service

from service.access.keys import Keys
from service.admin.keys_command import keys


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


def test_a_file_with_another_name_is_left_alone(tmp_path: Path) -> None:
    """The service may use the other name, under which the old keys would stay valid."""
    path = tmp_path / "keys.toml"
    assert run(path, "create", "leaked")[0] == 0
    other = tmp_path / "used by the service.toml"
    other.hardlink_to(path)
    before = path.read_text()

    status, output, said = run(path, "revoke", "leaked")

    assert (status, output) == (1, "")
    assert "it has another name (hard link), under which the old keys would stay valid" in said
    assert path.read_text() == other.read_text() == before


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


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("output", [">/dev/full", ">&-", "| true"], ids=["full", "closed", "nobody reads it"])
def test_a_key_that_cannot_be_shown_is_not_made(tmp_path: Path, output: str, is_there: bool) -> None:
    path = tmp_path / "keys.toml"
    if is_there:
        run(path, "create", "client")
    before = path.read_bytes() if is_there else None

    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m service keys create lost {output}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=clean({"API_KEYS_FILE": str(path)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert result.returncode == 1
    assert re.fullmatch("Error: the key cannot be shown, and was not made: .+\n", result.stderr)
    assert (path.read_bytes() if path.exists() else None) == before
    assert list(tmp_path.iterdir()) == [path] * is_there


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


def test_commands_at_the_same_moment_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    run(path, "create", "leaked")
    run(path, "create", "stays")
    commands = [["create", f"client {number}"] for number in range(8)]
    commands.insert(4, ["revoke", "leaked"])
    with ThreadPoolExecutor(len(commands)) as executor:
        assert [status for status, _, _ in executor.map(lambda command: run(path, *command), commands)] == [0] * len(commands)

    names = sorted(key.name for key in Keys.load(path).entries)
    assert names == [*(f"client {number}" for number in range(8)), "stays"]
    assert list(tmp_path.iterdir()) == [path]


def invoke(path: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in this process, as the user that it is now."""
    result = CliRunner().invoke(keys, arguments, env={"API_KEYS_FILE": str(path)})
    return result.exit_code, result.stderr


def test_a_command_waits_for_another_and_then_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    monkeypatch.setattr("service.admin.keys_command.LOCK_TIMEOUT", 0.2)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        status, said = invoke(path, "create", "client")
        assert (status, path.exists()) == (1, False)
        assert f"another command holds the lock on {tmp_path}: try again" in said

        monkeypatch.setattr("service.admin.keys_command.LOCK_TIMEOUT", PATIENCE)
        with ThreadPoolExecutor(1) as executor:
            waits = executor.submit(invoke, path, "create", "client")
            time.sleep(0.5)
            assert not waits.done()
            fcntl.flock(folder, fcntl.LOCK_UN)
            assert waits.result(PATIENCE)[0] == 0
    finally:
        os.close(folder)
    assert [key.name for key in Keys.load(path).entries] == ["client"]


def test_who_could_read_the_file_can_read_it_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    run(path, "create", "first")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12_345, 12_346)
    with suppress(OSError):  # not every file system has such attributes
        os.setxattr(path, "user.note", b"kept")
    before, attributes = path.stat(), os.listxattr(path)

    assert run(path, "create", "second")[0] == 0
    assert run(path, "revoke", "first")[0] == 0

    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert os.listxattr(path) == attributes
    assert [key.name for key in Keys.load(path).entries] == ["second"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have files of two owners")
@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o755, "another file is put in its place, and the folder {} cannot be written by this user"),
        (0o777, "it has another owner or group, which only that owner or root can give to the file in its place"),
        (0o700, "Permission denied"),
    ],
)
def test_what_this_user_may_not_change_stays_as_it_is(mode: int, said: str) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "keys.toml"
        run(path, "create", "first")
        path.chmod(0o644)
        before = path.read_bytes()
        Path(name).chmod(mode)
        with as_somebody_else():
            status, output = invoke(path, "create", "second")

        assert status == 1
        assert f"cannot change {path}: {said.format(name)}" in output
        assert path.read_bytes() == before
        assert list(Path(name).iterdir()) == [path]


def test_a_file_that_is_no_file_or_nested_without_end_is_refused(tmp_path: Path) -> None:
    fifo, nested = tmp_path / "fifo", tmp_path / "nested"
    os.mkfifo(fifo)
    nested.write_text("a = " + "[" * 3_000 + "]" * 3_000)
    for arguments in (["create", "x"], ["list"], ["revoke", "x"]):
        assert "is not a regular file" in run(fifo, *arguments)[2]
        assert "nested too deeply" in run(nested, *arguments)[2]


def test_without_a_file_that_is_named_nothing_is_done() -> None:
    result = run_service({}, "keys", "create", "x")

    assert (result.returncode, result.stdout) == (1, "")
    assert "API_KEYS_FILE is not set" in result.stderr
