"""The command line."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lead_archive.bulk import run_command
from lead_archive.operations import Operation

FilePath = click.Path(path_type=Path, dir_okay=False)


@click.group(
    epilog="The exit status: 0 all is done, 1 some leads remain, 2 wrong usage, 3 the server refuses or cannot be reached."
)
@click.version_option(importlib.metadata.version("vicidial-lead-archive-api"), prog_name="lead-archive")
def main() -> None:
    """Take a file of lead ids to the Vicidial Lead Archive API, batch by batch.

    The server is the one in LEAD_ARCHIVE_URL or --url, the key the one in LEAD_ARCHIVE_KEY or --key-file.

    It is safe to stop and to repeat any of it at any moment.
    """


OPTIONS: list[Callable[[Any], Any]] = [
    click.argument("file"),
    click.option("--column", default="lead_id", show_default=True, help="The column of a CSV file that holds the ids."),
    click.option("--url", envvar="LEAD_ARCHIVE_URL", help="The server. [LEAD_ARCHIVE_URL]"),
    click.option(
        "--key-file", type=FilePath, help="A file that holds the key and nothing else. [or the key in LEAD_ARCHIVE_KEY]"
    ),
    click.option("-k", "--insecure", is_flag=True, help="Do not verify the server's certificate."),
    click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time."),
    click.option("--batch-size", type=click.IntRange(1), help="Ids in a request. [default: the server's limit]"),
    click.option("--timeout", type=click.FloatRange(1), default=90, show_default=True, help="Seconds for an answer."),
    click.option(
        "--retry-for", type=click.FloatRange(0), default=300, show_default=True, help="Seconds to try a request that fails."
    ),
    click.option("--wait", is_flag=True, help="Within office hours, wait for their end."),
    click.option("--resume", is_flag=True, help="Go on with the run in the journal."),
    click.option("--start-over", is_flag=True, help="Forget an unfinished run in the journal."),
    click.option("--journal", type=FilePath, help="The journal. [default: FILE.COMMAND.journal]"),
    click.option("--left", type=FilePath, help="Where to write leads left behind. [default: FILE.COMMAND.left.csv]"),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
]


def command(name: str, flags: dict[str, str], text: str, *, dry_run: bool) -> None:
    """Add a command. flags: the request fields that options can switch off, with the help of each option."""

    def run(file: str, **options: Any) -> None:
        asked = {f"{flag}_leads": options.pop(flag) for flag in flags}
        sys.exit(run_command(Operation(name, asked, dry_run=options.pop("dry_run", False)), file, **options))

    decorators = [*OPTIONS]
    decorators += [click.option(f"--{flag}/--no-{flag}", default=True, help=meaning) for flag, meaning in flags.items()]
    if dry_run:
        decorators.append(click.option("--dry-run", is_flag=True, help="Change nothing; ask compare what would come of it."))
    for decorate in reversed(decorators):
        run = decorate(run)
    main.command(name, help=text)(run)


FILE = """FILE has one lead id a line, ranges such as 1-1000 among them, or is CSV with a line of column names; - is standard
input. All of it is checked before the first request. Ids are sent in ascending order, each once."""

command(
    "archive",
    {
        "insert": "Copy leads into the archive that it lacks.",
        "update": "Refresh archived copies from the live rows.",
        "delete": "Delete live rows that the archive holds with the same data.",
    },
    f"Move leads to vicidial_list_archive.\n\n{FILE}",
    dry_run=True,
)
command(
    "dearchive",
    {
        "insert": "Copy leads back that vicidial_list lacks.",
        "delete": "Delete archived rows that vicidial_list holds with the same data.",
    },
    f"Move leads back to vicidial_list.\n\n{FILE}",
    dry_run=True,
)
command(
    "compare",
    {},
    "Say where leads are, and whether the archive holds the same data. Nothing is changed. Status 0 says that the archive "
    f"holds all of them.\n\n{FILE}",
    dry_run=False,
)
