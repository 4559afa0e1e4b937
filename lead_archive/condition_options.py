"""Conditions on the command line: the options that choose leads instead of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lead_archive.conditions import ValueRefusedError, Where, checked, trap
from lead_archive.console import say
from lead_archive.errors import UsageError

CONDITION_OPTIONS: dict[str, tuple[str, Any]] = {
    "--list": ("list_ids", None),
    "--campaign": ("campaign_ids", None),
    "--status": ("statuses", None),
    "--not-status": ("not_statuses", None),
    "--active-lists": ("list_active", True),
    "--inactive-lists": ("list_active", False),
    "--entered-before": ("entered_before", None),
    "--called-before": ("called_before", None),
    "--entered-days-ago": ("entered_at_least_days_ago", None),
    "--called-days-ago": ("called_at_least_days_ago", None),
    "--never-called": ("never_called", True),
    "--called": ("never_called", False),
    "--called-count": ("called_count_at_least", None),
}
"""Each option, its condition, and the value if the option takes none."""

_REPEATED = {"list_ids", "campaign_ids", "statuses", "not_statuses"}

OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--list", "list_", type=int, multiple=True, metavar="ID", help="Leads of this list. May be repeated."),
    click.option(
        "--campaign", multiple=True, metavar="ID", help="Leads whose list belongs to this campaign. May be repeated."
    ),
    click.option("--status", "status", multiple=True, metavar="S", help="Leads with this status. May be repeated."),
    click.option("--not-status", multiple=True, metavar="S", help="Leads without this status. May be repeated."),
    click.option("--active-lists", is_flag=True, help="Leads whose list is active."),
    click.option("--inactive-lists", is_flag=True, help="Leads whose list is not active."),
    click.option("--entered-before", metavar="DATE", help="Leads made before 2026-01-31 or 2026-01-31T18:00:00."),
    click.option("--called-before", metavar="DATE", help="Leads last called before this time."),
    click.option("--entered-days-ago", type=int, metavar="N", help="Leads made at least N days ago."),
    click.option("--called-days-ago", type=int, metavar="N", help="Leads last called at least N days ago."),
    click.option("--never-called", is_flag=True, help="Leads without a last call."),
    click.option("--called", is_flag=True, help="Leads with a last call."),
    click.option("--called-count", type=int, metavar="N", help="Leads called at least N times."),
]


def take_where(options: dict[str, Any], *, archived: bool) -> Where:
    """Take the condition options out of a command's options, and return the conditions; empty if none was given.

    archived: whether they choose archived leads, none of which is a new lead. Raises UsageError that lists all errors.
    """
    where: Where = {}
    given: dict[str, str] = {}
    errors: list[str] = []
    for option, (name, constant) in CONDITION_OPTIONS.items():
        value = options.pop({"--list": "list_"}.get(option, option[2:].replace("-", "_")))
        if value is None or value is False or value == ():
            continue
        if name in given:
            errors.append(f"{given[name]} and {option} are opposites: give one of them")
            continue
        given[name] = option
        if constant is not None:
            value = constant
        elif name in _REPEATED:
            value = list(dict.fromkeys(value))
        try:
            where[name] = checked(name, value)
        except ValueRefusedError as error:
            errors.append(f"{option}: {error}")
    if errors:
        raise UsageError("\n".join(errors))
    if not archived and (words := trap(where)):
        say(f"note: {words.format(entered='--entered-days-ago', count='--called-count 1')}")
    return where
