"""The command `lead-archive`, also as `python -m lead_archive`."""

from __future__ import annotations

import os
import sys

EXTRA = ("click", "httpx2", "rich", "yaml")
"""Modules that are missing if the client was not installed with its dependencies."""


def main() -> None:
    """Run the command line. If a dependency is missing, print how to install it."""
    open_standard_descriptors()
    try:
        from lead_archive.cli import main as command_line  # noqa: PLC0415  # what is missing is told below
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"error: lead-archive needs the module {error.name}: run pip install .", file=sys.stderr)
        sys.exit(2)
    command_line(prog_name="lead-archive")


def open_standard_descriptors() -> None:
    """Open the null device on each closed descriptor of 0, 1 and 2, so that no file or connection gets its number.

    sys.stdin and sys.stdout remain None if they were closed, so that reading and printing can report it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest that is free
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
