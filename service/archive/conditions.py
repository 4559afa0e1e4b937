"""The conditions by which a request chooses leads, such as statuses and ages, as SQL. Each has a file in sql/conditions/.

A condition is used only if its comparison is known to be correct for the column that this site has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.database.statements import Statements, integers, text
from service.database.transaction import Transaction
from service.errors import ConditionError, StatementError
from service.tables.definitions import Table
from service.tables.list_table import ListColumn, read_list_columns
from service.tables.privileges import LISTS
from service.tables.same_data import INTEGERS, SHORT_TEXTS

AnyColumn = Any
"""What a value needs to know about the column that it is compared with: its charset and its collation."""


def _texts(values: list[str], column: AnyColumn) -> dict[str, str]:
    return {"texts": ", ".join(text(value, column.charset, column.collation) for value in values)}


def _moment(value: str, _: AnyColumn) -> dict[str, str]:
    return {"moment": f"TIMESTAMP'{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S}'"}


def _number(value: int, _: AnyColumn) -> dict[str, str]:
    return {"number": integers([value])}


@dataclass(frozen=True)
class Condition:
    """A condition: the column that it looks at, and how its value gets into SQL."""

    column: str
    types: frozenset[str]
    """The types of the column for which the comparison is correct."""
    fill: Callable[[Any, AnyColumn], dict[str, str]]
    """Return the values of the placeholders of its statement."""
    of_list: str | None = None
    """The column of vicidial_lists that it compares, instead of the lead's own column."""


DATETIME = frozenset({"datetime"})

CONDITIONS: Mapping[str, Condition] = {
    "list_ids": Condition("list_id", INTEGERS, lambda values, _: {"list_ids": integers(values)}),
    "campaign_ids": Condition("list_id", INTEGERS, _texts, of_list="campaign_id"),
    "list_active": Condition("list_id", INTEGERS, lambda value, _: {"active": "'Y'" if value else "'N'"}, of_list="active"),
    "statuses": Condition("status", SHORT_TEXTS, _texts),
    "not_statuses": Condition("status", SHORT_TEXTS, _texts),
    "entered_before": Condition("entry_date", DATETIME, _moment),
    "called_before": Condition("last_local_call_time", DATETIME, _moment),
    "entered_at_least_days_ago": Condition("entry_date", DATETIME, _number),
    "called_at_least_days_ago": Condition("last_local_call_time", DATETIME, _number),
    "never_called": Condition("last_local_call_time", DATETIME, lambda value, _: {"truth": str(bool(value)).upper()}),
    "called_count_at_least": Condition("called_count", INTEGERS, _number),
}
"""All conditions, by name. Their values are those that openapi.yaml allows."""


@dataclass(frozen=True)
class Matches:
    """The conditions of a request in SQL: that they hold for a row of a table. TRUE where there are none."""

    all: str
    of_leads: str
    """Those that compare the row of the lead with values."""
    of_lists: str
    """Those that look up the list of the lead in vicidial_lists."""


class Conditions:
    """Turns the conditions of a request into SQL."""

    def __init__(self, statements: Statements) -> None:
        """Raise StatementError if sql/conditions/ does not have exactly the conditions, each a SELECT with one condition."""
        self._statements = statements
        if statements.conditions.keys() != CONDITIONS.keys():
            names = sorted(statements.conditions.keys() ^ CONDITIONS.keys())
            raise StatementError(f"sql/conditions/: {', '.join(names)} is not both a file and a condition of the code")
        self._templates: dict[str, str] = {}
        for name, statement in statements.conditions.items():
            _, *conditions = re.split(r"^WHERE ", statement.template, flags=re.MULTILINE)
            if len(conditions) != 1:
                raise StatementError(f"sql/conditions/{name}.sql: one line begins with WHERE, and the condition follows it")
            self._templates[name] = conditions[0]

    async def sql(self, transaction: Transaction, source: Table, where: Mapping[str, Any]) -> Matches:
        """Return the conditions for a row of `source`.

        source: the table as this transaction has read it. where: the values, by condition. Raises ConditionError if one of
        them cannot be checked safely.
        """
        of_lists = {name for name in where if CONDITIONS[name].of_list}
        lists = await read_list_columns(transaction, self._statements) if of_lists else {}
        each = {name: self._one(name, value, source, lists) for name, value in where.items()}
        return Matches(
            _all(each.values()),
            _all(each[name] for name in where if name not in of_lists),
            _all(each[name] for name in where if name in of_lists),
        )

    def _one(self, name: str, value: Any, source: Table, lists: Mapping[str, ListColumn]) -> str:
        """Return one condition in SQL."""
        condition = CONDITIONS[name]
        columns = {column.name.lower(): column for column in source.columns.values()}
        column = columns.get(condition.column)
        if column is None:
            raise ConditionError(name, f"{source.name} has no column {condition.column}")
        if column.data_type not in condition.types:
            raise ConditionError.of_type(name, f"{source.name}.{column.name}", column.column_type, condition.types)
        compared: AnyColumn = column
        if condition.of_list:
            compared = lists.get(condition.of_list)
            if compared is None:
                raise ConditionError(name, f"there is no column {LISTS}.{condition.of_list}, or the account may not see it")
            if not compared.readable:
                raise ConditionError(name, f"the account may not read {LISTS}: {compared.grant}")
            if lists["list_id"].data_type not in INTEGERS:
                raise ConditionError.of_type(name, f"{LISTS}.list_id", lists["list_id"].data_type, INTEGERS)
            if compared.data_type not in SHORT_TEXTS:
                raise ConditionError(name, f"{LISTS}.{condition.of_list} is {compared.data_type}, which is no text")
        return self._templates[name].format_map(condition.fill(value, compared))


def _all(conditions: Iterable[str]) -> str:
    return "\n    AND ".join(f"({condition})" for condition in conditions) or "TRUE"
