"""scripts/install: what it creates, what it does not touch, and that it names the step that failed.

It runs in a scratch checkout. Stand-ins for Python, npm and apt-get record their arguments, or fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT
from support.process import PATIENCE

FILES = ("scripts/install", "requirements-demo.txt", "requirements-dev.txt", "package-lock.json", "pyproject.toml")

TOOLS = ("bash", "cat", "chmod", "cksum", "cp", "dirname", "env", "mkdir", "readlink", "rm")
"""Programs that the script and the stand-ins need."""

STAND_IN = """\
#!/usr/bin/env bash
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
if [[ $name\\ $* == ${FAILS:-nothing}* ]]; then
    echo "the disk is full"
    exit 7
fi
case "$name $*" in
    "python3 -m venv"*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "npm ci"*) mkdir -p node_modules ;;
esac
"""


class Checkout:
    """A scratch checkout, and stand-ins for all programs that scripts/install calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.programs = folder / "bin"
        self._calls = folder / "calls"
        for name in FILES:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.programs.mkdir()
        for name in (*TOOLS, "basename"):
            found = shutil.which(name)
            assert found is not None
            (self.programs / name).symlink_to(found)
        for name in ("python3", "npm", "apt-get", "sudo", "mariadbd", "mariadb-install-db", "mariadb", "curl"):
            (self.programs / name).write_text(STAND_IN)
            (self.programs / name).chmod(0o755)

    def install(self, *options: str, fails: str = "nothing") -> tuple[int, str, list[str]]:
        """Run scripts/install. Return its status, its output, and its calls except those that read Python's version.

        fails: the first words of the call that fails.
        """
        self._calls.write_text("")
        environment = {"PATH": str(self.programs), "CALLS": str(self._calls), "FAILS": fails}
        done = subprocess.run(
            ["scripts/install", *options],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        calls = [call for call in self._calls.read_text().splitlines() if not re.match(r"python3 (-c|--version)", call)]
        return done.returncode, done.stdout, calls


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


VENV = "python3 -m venv --clear .venv"
PIP = "python -m pip install -q --disable-pip-version-check"
DEMO = [f"{PIP} --require-hashes -r requirements-demo.txt"]
EDITABLE = "--no-deps --no-build-isolation --editable ."
REST = [
    f"{PIP} --require-hashes -r requirements-dev.txt",
    f"{PIP} {EDITABLE}",
    "npm ci --no-progress",
]


def test_the_demo_gets_its_own_packages_and_no_others(checkout: Checkout) -> None:
    assert checkout.install("--demo")[::2] == (0, [VENV, *DEMO])
    assert checkout.install("--demo")[1:] == ("install: everything is there\n", [])


def test_what_the_demo_installed_is_completed(checkout: Checkout) -> None:
    checkout.install("--demo")

    assert checkout.install()[::2] == (0, REST)
    assert checkout.install()[1:] == ("install: everything is there\n", [])
    assert checkout.install("--demo")[1:] == ("install: everything is there\n", [])


def test_packages_that_are_no_longer_asked_for_do_not_stay(checkout: Checkout) -> None:
    checkout.install()
    (checkout.folder / "requirements-dev.txt").write_text("# another\n")

    assert checkout.install("--demo")[2] == []  # its packages are unchanged
    assert checkout.install()[2][0] == VENV


def test_a_complete_venv_is_enough_for_the_demo(checkout: Checkout) -> None:
    """requirements-dev.txt contains new requirements of the demo too: .venv must not be emptied while it is used."""
    checkout.install()
    (checkout.folder / "requirements-demo.txt").write_text("# another\n")

    assert checkout.install("--demo")[1:] == ("install: everything is there\n", [])


@pytest.mark.parametrize(
    ("options", "fails", "said"),
    [
        ((), "python3 -m venv", "install: FAILED: python3 -m venv .venv: the reason is above"),
        (
            ("--demo",),
            "python -m pip",
            "install: FAILED: pip install --require-hashes -r requirements-demo.txt: the reason is above",
        ),
        ((), f"{PIP} --no-deps", f"install: FAILED: pip install {EDITABLE}: the reason is above"),
        (("--quiet",), "npm ci", "install: FAILED: npm ci: the reason is above"),
    ],
    ids=["venv", "pip", "editable", "npm"],
)
def test_a_step_that_fails_is_named_with_its_reason_and_done_again(
    checkout: Checkout, options: tuple[str, ...], fails: str, said: str
) -> None:
    status, output, _ = checkout.install(*options, fails=fails)
    assert (status, output.splitlines()[-2:]) == (1, ["the disk is full", said])

    status, _, calls = checkout.install(*options)
    assert status == 0
    assert any(call.startswith(fails) for call in calls)


@pytest.mark.parametrize("command", ["update", "install"])
def test_debian_packages_that_cannot_be_installed_are_named(checkout: Checkout, command: str) -> None:
    (checkout.programs / "curl").unlink()
    as_root = "sudo " if os.geteuid() else ""
    # sudo is a stand-in too: it is the call that fails if the tests do not run as root.
    fails = "sudo" if as_root else f"apt-get -q -q {'update' if command == 'update' else '-y install'}"

    status, output, _ = checkout.install("--demo", fails=fails)

    assert (status, output.splitlines()[:2]) == (1, ["install: Debian packages curl", "the disk is full"])
    assert output.splitlines()[-1].startswith(f"install: FAILED: {as_root}env apt-get ")


def test_a_failure_that_no_message_was_written_for_names_its_step(checkout: Checkout) -> None:
    (checkout.programs / "cksum").unlink()

    status, output, _ = checkout.install("--demo")

    assert status == 127
    assert re.search(r"^install: FAILED \(status 127\): .venv from requirements-demo.txt", output, re.MULTILINE)


def test_less_and_more_at_once_is_refused(checkout: Checkout) -> None:
    status, output, calls = checkout.install("--demo", "--tests")

    assert (status, calls) == (1, [])
    assert output == "install: FAILED: --demo installs less than the other options: leave it out\n"


def pins(name: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))


def test_each_set_of_packages_holds_the_one_before_in_the_same_versions() -> None:
    """Then a .venv of the demo can be completed, and the tests run on the versions that the service uses."""
    assert pins("requirements.txt") < pins("requirements-demo.txt") < pins("requirements-dev.txt")
