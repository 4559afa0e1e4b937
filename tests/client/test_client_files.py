"""The bulk client overwrites only its own files, by any path. If it cannot write a file, it gives the reason."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.api import KEY
from support.client import COMMAND, Client
from support.fake_service import Reply, fake, moved
from support.process import PATIENCE

NOWHERE = "http://127.0.0.1:1"
"""A server that no test may reach."""


def unknown(_: str, body: dict[str, Any]) -> Reply:
    ids = body["lead_ids"]
    return Reply({"message": "lead_ids does not exist", "lead_errors": len(ids), "lead_ids": ids}, 404)


def one_folder(folder: Path) -> dict[str, Callable[[str], object]]:
    """Other paths to the file `leads`, each with what must be created first."""

    def chained(name: str) -> None:
        (folder / "first").symlink_to("leads")
        (folder / name).symlink_to("first")

    return {
        "./leads": lambda name: name,
        "../" + folder.name + "/leads": lambda name: name,
        "symbolic": lambda name: (folder / name).symlink_to("leads"),
        "chained": chained,
        "hard": lambda name: os.link(folder / "leads", folder / name),
        "there/leads": lambda _: (folder / "there").symlink_to("."),
    }


@pytest.mark.parametrize("option", ["--left", "--journal"])
@pytest.mark.parametrize("number", range(6))
def test_the_input_is_not_overwritten_by_whatever_path(tmp_path: Path, option: str, number: int) -> None:
    client = Client(tmp_path, NOWHERE)
    content = ["lead_id,reason", "1,unknown"]  # a file of the client: it may be overwritten
    client.write("leads", *content)
    path, make = list(one_folder(tmp_path).items())[number]
    make(path)

    result = client.invoke("archive", "leads", option, path)

    assert result.status == 2
    assert f"error: FILE and {option} are the same file, leads: name another" in result.errors
    assert client.read("leads") == content


@pytest.mark.parametrize("option", ["--left", "--journal"])
@pytest.mark.parametrize("file", ["-", "/dev/stdin", "/proc/self/fd/0"])
def test_standard_input_is_not_overwritten(tmp_path: Path, option: str, file: str) -> None:
    client = Client(tmp_path, NOWHERE)
    client.write("leads", "lead_id,reason", "1,unknown")
    for path in ("leads", "/proc/self/fd/0"):
        with (tmp_path / "leads").open("rb") as stdin:
            result = subprocess.run(
                [COMMAND, "archive", file, option, path],
                cwd=tmp_path,
                env=client.environment,
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        assert result.returncode == 2
        assert f"error: FILE and {option} are the same file" in result.stderr
        assert client.read("leads") == ["lead_id,reason", "1,unknown"]


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("leads", ["--journal", "x", "--left", "./x"]),
        ("leads", ["--journal", "leads.archive.left.csv"]),
        ("leads", ["--left", "leads.archive.journal"]),
        ("leads", ["--left", "leads.archive.journal-wal"]),
        ("j-wal", ["--journal", "j"]),
        ("j-journal", ["--journal", "j"]),
        ("leads", ["--key-file", "key", "--left", "key"]),
        ("leads", ["--key-file", "key", "--journal", "./key"]),
        ("leads", ["--left", "stdout"]),
        ("leads", ["--left", "stderr"]),
        ("stdout", []),
    ],
)
def test_no_file_overwrites_another(tmp_path: Path, file: str, options: list[str]) -> None:
    client = Client(tmp_path, NOWHERE)
    client.write(file, 1)
    client.write("key", KEY)
    with (tmp_path / "stdout").open("ab") as stdout, (tmp_path / "stderr").open("wb") as stderr:
        result = subprocess.run(
            [COMMAND, "archive", file, *options],
            cwd=tmp_path,
            env=client.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=PATIENCE,
            check=False,
        )

    assert result.returncode == 2
    assert "are the same file" in (tmp_path / "stderr").read_text()
    assert client.read(file) == ["1"]
    assert client.read("key") == [KEY]


def test_the_new_file_has_no_name_that_another_can_have(tmp_path: Path) -> None:
    with fake(unknown) as url:
        client = Client(tmp_path, url)
        client.write("left.new", 1)
        assert client.invoke("archive", "left.new", "--left", "left").status == 1

    assert client.read("left.new") == ["1"]
    assert client.read("left")[0] == "lead_id,reason"
    assert sorted(os.listdir(tmp_path)) == ["left", "left.new", "left.new.archive.journal"]


@pytest.mark.parametrize("make", ["foreign", "input", "folder"])
@pytest.mark.parametrize("stays", [True, False])
def test_what_appears_while_it_is_at_work_is_not_overwritten(tmp_path: Path, make: str, stays: bool) -> None:
    left = tmp_path / "left"

    def answer(path: str, body: dict[str, Any]) -> Reply:
        if make == "foreign":
            left.write_text("mine")
        elif make == "input":
            os.link(tmp_path / "leads", left)
        else:
            left.mkdir()
        return unknown(path, body) if stays else moved(body)

    with fake(answer) as url:
        client = Client(tmp_path, url)
        client.write("leads", "lead_id,reason", "1,x")
        result = client.invoke("archive", "leads", "--left", "left", "--json")

    # The result is still reported.
    counts = {"asked": 1, **({"unknown": 1} if stays else {"moved": 1, "inserted": 1})}
    assert (result.status, result.counts(), result.summary["left_file"]) == (2, counts, None)
    assert "left" in result.summary["error"]
    assert client.read("leads") == ["lead_id,reason", "1,x"]
    assert make != "foreign" or left.read_text() == "mine"
    assert not list(tmp_path.glob(".lead-archive*"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "left").symlink_to("there/left")
    with fake(unknown) as url:
        client = Client(tmp_path, url)
        for _ in range(2):
            assert client.invoke("archive", client.write("leads", 1), "--left", "left").status == 1

    assert (tmp_path / "left").is_symlink()
    assert (tmp_path / "there" / "left").read_text().startswith("lead_id,reason\n1,unknown")


@pytest.mark.parametrize(
    ("left", "message"),
    [
        ("/dev/null", "--left /dev/null is not a regular file: name another"),
        ("/dev/stdout", "--left /dev/stdout is not a regular file: name another"),
        ("fifo", "--left fifo is not a regular file: name another"),
        ("no/such/folder", "cannot write no/such/folder: No such file or directory; name another file with --left"),
        ("mine.csv", "--left mine.csv is there and was not written by lead-archive: name another, or take it away"),
    ],
)
def test_where_leads_left_behind_cannot_be_written_is_told_first(tmp_path: Path, left: str, message: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    client = Client(tmp_path, NOWHERE)
    client.write("mine.csv", "lead_id,name", "1,John")

    result = client.run("archive", client.write("leads", 1), "--left", left)

    assert (result.status, result.output) == (2, "")
    assert message in result.errors
    assert not (tmp_path / "leads.archive.journal").exists()
    assert Path("/dev/null").is_char_device()
    assert client.read("mine.csv") == ["lead_id,name", "1,John"]


def test_file_names_that_are_not_text_can_be_used(tmp_path: Path) -> None:
    name = os.fsdecode(b"le\xffds\x1b")
    with fake(unknown) as url:
        client = Client(tmp_path, url)
        client.write(name, 1)
        for options in ([], ["--json"]):
            result = client.run("archive", name, *options, environment={"LC_ALL": "C.UTF-8"})
            assert result.status == 1
        assert (tmp_path / f"{name}.archive.left.csv").exists()
        assert json.loads(result.output)["left_file"] == f"{name}.archive.left.csv"
        client.write(name, "x")
        assert client.run("archive", name).status == 2
        assert client.run("archive", f"{name}none").status == 2


def test_names_are_printed_in_an_encoding_that_lacks_their_characters(tmp_path: Path) -> None:
    with fake(unknown) as url:
        client = Client(tmp_path, url)
        file = client.write("leäds", 1)
        result = client.run("archive", file, environment={"PYTHONIOENCODING": "ascii"})
        assert result.status == 1
        assert result.output.splitlines()[-1].startswith("Those left behind, each with its reason: le")
        client.write(file, 1, "x" * 100)
        assert "is not a lead id" in client.run("archive", file, environment={"PYTHONIOENCODING": "ascii"}).errors


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_summary_that_cannot_be_printed_is_told(tmp_path: Path, options: list[str]) -> None:
    with fake(lambda _, body: moved(body)) as url:
        client = Client(tmp_path, url)
        client.write("leads", 1)
        read, write = os.pipe()
        os.close(read)
        for stdout in (write, os.open("/dev/full", os.O_WRONLY)):
            result = subprocess.run(
                [COMMAND, "archive", "leads", "--quiet", *options],
                cwd=tmp_path,
                env=client.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            os.close(stdout)
            assert result.returncode == 2
            assert result.stderr.startswith("error: cannot write the summary: ")
            assert result.stderr.endswith("all results are in the journal, --resume prints them again\n")
        assert client.invoke("archive", "leads", "--resume", "--json").counts() == {"asked": 1, "moved": 1, "inserted": 1}


def test_the_run_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    with fake(lambda _, body: moved(body)) as url:
        client = Client(tmp_path, url)
        client.write("leads", 1, 1)
        read, write = os.pipe()
        os.close(read)
        result = subprocess.run(
            [COMMAND, "archive", "leads", "--json"],
            cwd=tmp_path,
            env=client.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=write,
            timeout=PATIENCE,
            check=False,
        )
        os.close(write)
    assert (result.returncode, json.loads(result.stdout)["moved"]) == (0, 1)


def test_a_run_without_space_for_temporary_files_is_refused(tmp_path: Path) -> None:
    client = Client(tmp_path, NOWHERE)
    client.write("leads", "lead_id", *range(1, 400_000, 2))
    limited = f"ulimit -f 200; exec {COMMAND} archive leads"  # KiB; fails like a full disk
    result = client.shell(f"trap '' XFSZ; {limited}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: cannot write temporary files: File too large; name another folder in TMPDIR\n"


def test_a_journal_that_cannot_grow_ends_the_run_with_status_2(tmp_path: Path) -> None:
    with fake(unknown) as url:
        client = Client(tmp_path, url)
        client.write("leads", "1-3000")
        result = client.shell(f"trap '' XFSZ; ulimit -f 200; exec {COMMAND} archive leads --json")
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        summary = json.loads(result.stdout)
        assert "cannot write the journal leads.archive.journal" in summary["error"]
        assert 0 < summary["unknown"] < 3000
        assert summary["unknown"] + summary["not_sent"] == 3000
        again = client.invoke("archive", "leads", "--resume", "--json")
    assert again.counts() == {"asked": 3000, "unknown": 3000}


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--url", "http://[::1"], {}, "the URL of the server is https://HOST or"),
        (["--url", "http://h:99999"], {}, "the URL of the server is https://HOST or"),
        (["--url", "http://h:x"], {}, "the URL of the server is https://HOST or"),
        (["--url", "http://a..b"], {}, "the URL of the server is https://HOST or"),
        (["--url", "http://h/a b"], {}, "the URL of the server is https://HOST or"),
        (["--url", f"http://{'a' * 64}.example"], {}, "the URL of the server is https://HOST or"),
        ([], {"SSL_CERT_FILE": "/no/such"}, "cannot prepare connections: "),
        ([], {"HTTPS_PROXY": "nonsense://x", "HTTP_PROXY": "nonsense://x"}, "cannot prepare connections: "),
        (["--column", " "], {}, "--column is the name of a column, and cannot be empty"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    client = Client(tmp_path, "https://127.0.0.1:1")
    result = client.invoke("archive", client.write("leads", 1), *arguments, environment=environment)
    assert result.status == 2
    assert message in result.errors


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    client = Client(tmp_path, NOWHERE)
    result = client.run("archive", "/proc/self/mem", "--left", "left", "--journal", "journal")
    assert (result.status, result.errors) == (2, "error: cannot read /proc/self/mem: Input/output error\n")
    closed = client.shell(f"exec {COMMAND} archive - <&-")
    assert (closed.returncode, closed.stderr) == (2, "error: standard input is closed: name a file\n")
