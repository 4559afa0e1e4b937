"""The command `lead-archive`, also as `python -m lead_archive`."""

from __future__ import annotations

import sys

EXTRA = ("click", "httpx2", "rich", "yaml")
"""Modules that are missing if the client was not installed with its dependencies."""


def main() -> None:
    """Run the command line. If a dependency is missing, print how to install it."""
    try:
        from lead_archive.cli import main as command_line  # noqa: PLC0415  # what is missing is told below
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"error: lead-archive needs the module {error.name}: run pip install .", file=sys.stderr)
        sys.exit(2)
    command_line(prog_name="lead-archive")


if __name__ == "__main__":
    main()
