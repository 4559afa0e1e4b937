"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lead_archive import __version__, condition_options
from lead_archive.bulk import run_command
from lead_archive.condition_options import take_where
from lead_archive.console import say_errors
from lead_archive.errors import Status, UsageError
from lead_archive.find import run_find
from lead_archive.operations import Operation
from lead_archive.rules_run import run_rules
from lead_archive.selection import run_selection
from lead_archive.selection_run import Selection

FilePath = click.Path(path_type=Path, dir_okay=False)
Options = list[Callable[[Any], Any]]


@click.group(
    epilog="The exit status: 0 all is done, 1 some leads remain, 2 wrong usage, 3 the server refuses or cannot be reached."
)
@click.version_option(__version__, prog_name="lead-archive")
def main() -> None:
    """Find leads by conditions, and take them, or those of a file, to the Vicidial Lead Archive API, batch by batch.

    The server is the one in LEAD_ARCHIVE_URL or --url, the key the one in LEAD_ARCHIVE_KEY or --key-file.

    It is safe to stop and to repeat any of it at any moment.
    """


SERVER_OPTIONS: Options = [
    click.option("--url", envvar="LEAD_ARCHIVE_URL", help="The server. [LEAD_ARCHIVE_URL]"),
    click.option(
        "--key-file", type=FilePath, help="A file that holds the key and nothing else. [or the key in LEAD_ARCHIVE_KEY]"
    ),
    click.option("-k", "--insecure", is_flag=True, help="Do not verify the server's certificate."),
    click.option("--timeout", type=click.FloatRange(1), default=90, show_default=True, help="Seconds for an answer."),
    click.option(
        "--retry-for", type=click.FloatRange(0), default=300, show_default=True, help="Seconds to try a request that fails."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
]
SENDING_OPTIONS: Options = [
    click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time."),
    click.option("--batch-size", type=click.IntRange(1), help="Ids in a request. [default: the server's limit]"),
    click.option("--wait", is_flag=True, help="Within office hours, wait for their end."),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
]
FILE_OPTIONS: Options = [
    click.option("--column", help="The column of a CSV file that holds the ids. [default: lead_id]"),
    click.option("--resume", is_flag=True, help="Go on with the run in the journal."),
    click.option("--start-over", is_flag=True, help="Forget an unfinished run in the journal."),
    click.option("--journal", type=FilePath, help="The journal. [default: FILE.COMMAND.journal]"),
]
AT_MOST: Options = [
    click.option(
        "--at-most", type=click.IntRange(1), metavar="N", help="No more leads than these; those that stay do not count."
    )
]
PLACE: Options = [
    click.option("--in", "place", type=click.Choice(["list", "archive"]), help="The table that is searched. [default: list]")
]
LEFT = click.option("--left", type=FilePath, help="Where to write leads left behind. [default: FILE.COMMAND.left.csv]")


def add(name: str, run: Callable[..., None], text: str, options: Options) -> None:
    """Add a command."""
    for decorate in reversed(options):
        run = decorate(run)
    main.command(name, help=text)(run)


def command(name: str, flags: dict[str, str], text: str) -> None:
    """Add a command that takes a file or conditions.

    flags: the request fields that options can switch off, with the help of each option; without them it changes nothing.
    """

    def run(file: str | None, **options: Any) -> None:
        asked = {f"{flag}_leads": options.pop(flag) for flag in flags}
        dry_run = options.pop("dry_run", False)
        try:
            where = take_where(options, archived=name == "dearchive" or options.get("place") == "archive")
            refuse_mixture(file, where, options)
        except UsageError as error:
            say_errors(error)
            sys.exit(Status.WRONG_USAGE)
        operation = Operation(name, asked, dry_run=dry_run, where=where)
        at_most, place = options.pop("at_most"), options.pop("place", None)
        if file is not None:
            sys.exit(run_command(operation, file, **options))
        for option in ("column", "resume", "start_over", "journal"):
            del options[option]
        jobs, batch_size = options.pop("jobs"), options.pop("batch_size")
        archived = name == "dearchive" or place == "archive"
        selection = Selection(operation, at_most, archived=archived, jobs=jobs, batch_size=batch_size)
        sys.exit(run_selection(selection, **options))

    options = [click.argument("file", required=False), *condition_options.OPTIONS, *AT_MOST, *([] if flags else PLACE)]
    options += [click.option(f"--{flag}/--no-{flag}", default=True, help=meaning) for flag, meaning in flags.items()]
    if flags:
        options.append(click.option("--dry-run", is_flag=True, help="Change nothing; ask compare what would come of it."))
    add(name, run, text, [*options, *SENDING_OPTIONS, *FILE_OPTIONS, LEFT, *SERVER_OPTIONS])


def refuse_mixture(file: str | None, where: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise UsageError unless there is either a file or conditions, with the options that belong to it."""
    if (file is None) == (not where):
        raise UsageError("name either a FILE of lead ids or conditions such as --list 101")
    foreign = ("at_most", "place") if file is not None else ("column", "resume", "start_over", "journal")
    for name in foreign:
        if options.get(name):
            option = {"place": "--in"}.get(name, f"--{name.replace('_', '-')}")
            belongs = "conditions, and FILE is given" if file is not None else "a FILE, and conditions are given"
            raise UsageError(f"{option} belongs to {belongs}")


def find(place: str | None, **options: Any) -> None:
    try:
        where = take_where(options, archived=place == "archive")
        if not where:
            raise UsageError("no conditions are given: name at least one, such as --list 101")
    except UsageError as error:
        say_errors(error)
        sys.exit(Status.WRONG_USAGE)
    sys.exit(run_find(where, archived=place == "archive", wait=False, **options))


def run(**options: Any) -> None:
    sys.exit(run_rules(**options))


FILE = """The leads are those of FILE or those that meet all conditions. FILE has one lead id a line, ranges such as 1-1000
among them, or is CSV with a line of column names; - is standard input. All of it is checked before the first request. Ids are
sent in ascending order, each once."""

command(
    "archive",
    {
        "insert": "Copy leads into the archive that it lacks.",
        "update": "Refresh archived copies from the live rows.",
        "delete": "Delete live rows that the archive holds with the same data.",
    },
    f"Move leads to vicidial_list_archive.\n\n{FILE}",
)
command(
    "dearchive",
    {
        "insert": "Copy leads back that vicidial_list lacks.",
        "delete": "Delete archived rows that vicidial_list holds with the same data.",
    },
    f"Move leads back to vicidial_list.\n\n{FILE} Conditions are those of the archived rows.",
)
command(
    "compare",
    {},
    "Say where leads are, and whether the archive holds the same data. Nothing is changed. Status 0 says that the archive "
    f"holds all of them.\n\n{FILE}",
)
add(
    "find",
    find,
    "Print the ids of the leads that meet all conditions, one a line. Nothing is changed.",
    [*condition_options.OPTIONS, *AT_MOST, *PLACE, *SERVER_OPTIONS],
)
add(
    "run",
    run,
    "Carry out the rules of a file, one after the other: each archives the leads that meet its conditions. docs/rules.md "
    "describes the file.",
    [
        click.argument("file", metavar="RULES.toml"),
        click.option("--dry-run", is_flag=True, help="Change nothing; say what each rule would do."),
        click.option("--until", metavar="HH:MM", help="Stop in order at this local time, the next time that it comes."),
        *SENDING_OPTIONS,
        *SERVER_OPTIONS,
    ],
)
