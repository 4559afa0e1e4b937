"""Reads a pair of tables from the database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from service.database import NO_SUCH_COLUMN, NO_SUCH_KEY, NO_SUCH_TABLE, DatabaseError, Transaction
from service.statements import Statements, identifier
from service.tables import Column, Table, TablePair, TablesDoNotFitError, names

AUTO_INCREMENT = re.compile(r"^\) (.*)\bAUTO_INCREMENT=\d+ ?", re.MULTILINE)
"""In the last line of a table's definition."""


class TableReader:
    """Reads a pair of tables, anew only when a definition has changed since the last time or a table was missing then."""

    def __init__(self, statements: Statements, source: str, target: str, keep_leads_in_use: bool) -> None:
        """keep_leads_in_use: whether leads of the source that somebody uses are not to be deleted."""
        self._statements = statements
        self.source = source
        self.target = target
        self._leads_in_use = statements.leads_in_use if keep_leads_in_use else {}
        self.questions = [statements.fill("show_create_table", {"table": identifier(table)}) for table in (source, target)]
        """The statements whose answers tell whether anything has changed."""
        self._definitions: tuple[str, ...] = ()
        self.last: TablePair | None = None
        """The pair as it was the last time; whether it still is, only read() knows."""

    async def read(self, transaction: Transaction) -> TablePair:
        """The pair as it is now.

        It stays so until the transaction ends if the transaction has read from both tables before. Raises
        TablesDoNotFitError where no lead can be copied whole, DatabaseError where a table cannot be read.
        """
        return await self.learn(transaction, await transaction.select_each(*self.questions))

    async def learn(self, transaction: Transaction, answers: Sequence[Sequence[tuple[Any, ...]]]) -> TablePair:
        """The same, for who has asked the questions already. Raises what read() raises."""
        # The counter changes with every lead that is loaded; it says nothing about the columns.
        definitions = [AUTO_INCREMENT.sub(r") \1", answer[0][1]) for answer in answers]
        # A table that was missing may be there by now, and know of leads in use.
        if self.last is None or self.last.skipped_tables or tuple(definitions) != self._definitions:
            self.last = await self._describe(transaction, definitions)
            self._definitions = tuple(definitions)
        if problems := self.last.problems():
            raise TablesDoNotFitError(problems)
        return self.last

    async def _describe(self, transaction: Transaction, definitions: list[str]) -> TablePair:
        values = names(self.source, self.target, *self._leads_in_use.values())
        tables, columns, keys = [
            await transaction.select(self._statements.fill(statement, values))
            for statement in ("describe_tables", "describe_columns", "describe_keys")
        ]
        described = []
        for name, definition in zip((self.source, self.target), definitions, strict=True):
            lines = dict(re.findall(r"^  (`(?:[^`]|``)+`)( .*?),?$", definition, re.MULTILINE))
            engine, *facts = next((row[1:] for row in tables if row[0] == name), (None, 0, 0))
            transactional, on_one_node = map(bool, facts)
            key_columns: dict[str, list[str]] = {}
            for _, key, column in (row for row in keys if row[0] == name):
                key_columns.setdefault(key, []).append(column.lower())
            described.append(
                Table(
                    name=name,
                    engine=engine,
                    transactional=transactional,
                    columns={
                        column.lower(): Column(
                            column,
                            data_type,
                            charset,
                            collation,
                            bool(generated),
                            identifier(column) + lines.get(identifier(column), f" {column_type}"),
                        )
                        for table, column, data_type, column_type, charset, collation, generated in columns
                        if table == name
                    },
                    unique_columns=unique_columns(key_columns),
                    has_primary_key="PRIMARY" in key_columns,
                    on_one_node=on_one_node,
                )
            )
        present = {row[0] for row in tables}
        source, target = described
        return TablePair(
            source,
            target,
            not_in_use=tuple(
                f"NOT EXISTS (\n{indent(self._statements.fill(name, {'lead_ids': 'source.lead_id'}), ' ' * 8)}\n    )"
                for name, table in self._leads_in_use.items()
                if table in present
            ),
            skipped_tables=tuple(dict.fromkeys(table for table in self._leads_in_use.values() if table not in present)),
        )

    def notice(self, error: DatabaseError) -> None:
        """If it says that a table, a column or a key is gone, read everything anew the next time."""
        if error.code in {NO_SUCH_TABLE, NO_SUCH_COLUMN, NO_SUCH_KEY}:
            self.forget()

    def forget(self) -> None:
        """Read everything anew the next time: a table that tells of leads in use may be gone."""
        self.last = None


def unique_columns(key_columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The columns that are each a unique key by itself, from the columns of all unique keys."""
    keys = sorted(key_columns, key=lambda key: key != "PRIMARY", reverse=True)  # what comes last counts
    return {key_columns[key][0]: key for key in keys if len(key_columns[key]) == 1}
