"""Run the statements that change rows. If a row makes one fail, find out which, and go on with the other rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from service.archive.lead_ids import NONE, LeadIDs
from service.database.statements import Statement, Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.tables.definitions import Table, TablePair
from service.tables.in_use import none_nearby

logger = structlog.get_logger()


@dataclass(frozen=True)
class Run:
    """A statement that is to be run for some leads."""

    statement: Statement
    leads: LeadIDs
    each: bool
    """Of a DELETE: whether each lead is looked up in the tables that show leads in use, which takes longer. Otherwise no lead
    is deleted if one is in use that has an id among theirs."""


class Changes:
    """Runs INSERT, UPDATE and DELETE statements, each for its leads."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def run(
        self,
        transaction: Transaction,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        left_alone: set[int] | None = None,
        *,
        insert_from: Mapping[str, str] | None = None,
        in_use_nearby: bool = False,
    ) -> dict[Statement, int]:
        """Run the statements in one round trip, each for its leads. Return the number of rows that each has changed.

        A statement that fails because of a row is repeated for each half of its leads, down to a single lead. That lead stays
        as it is and is added to left_alone. insert_from: the placeholders of another table from which INSERT reads the leads.
        in_use_nearby: whether a lead is in use that has an id among those of the leads to delete.
        """
        counts = dict.fromkeys(steps, 0)
        todo = [Run(statement, leads, each=in_use_nearby) for statement, leads in steps.items() if leads]
        while todo:
            done = 0
            sent = todo[: len(steps)]  # many leads that fail one by one make a long list
            again: list[Run] = []
            transaction.send_first(self._statements.set_foreign_key_checks.fill(pair.values))
            if not all(self._written(pair, run.statement).transactional for run in sent):
                transaction.changes_may_persist = True
            try:
                async for count in transaction.execute_each(*(self._filled(pair, run, insert_from) for run in sent)):
                    run = sent[done]
                    counts[run.statement] += count
                    if not count and self._is_all_or_nothing(pair, run):
                        again.append(replace(run, each=True))
                    done += 1
                todo = [*todo[done:], *again]
            except DatabaseError as error:
                if not error.may_be_of_a_row(pair.table_names):
                    raise
                failed = todo[done]
                finished = await self._finished(transaction, pair, failed.statement, failed.leads)
                counts[failed.statement] += len(finished)
                parts = [part for part in failed.leads.difference(finished).halves() if part]
                if len(parts) == 1:
                    (lead_id,) = parts.pop()
                    logger.warning("lead left alone", lead_id=lead_id, statement=failed.statement.name, code=error.code)
                    if left_alone is not None:
                        left_alone.add(lead_id)
                todo = [*(replace(failed, leads=part) for part in parts), *todo[done + 1 :], *again]
        return counts

    def _filled(self, pair: TablePair, run: Run, insert_from: Mapping[str, str] | None) -> str:
        values = {**pair.values, "lead_ids": run.leads.sql}
        if run.statement == self._statements.insert_leads:
            values |= insert_from or {}
        if run.statement == self._statements.delete_leads and not run.each:
            values["not_in_use"] = none_nearby(pair.leads_in_use, run.leads.first, run.leads.last)
        return run.statement.fill(values)

    def _is_all_or_nothing(self, pair: TablePair, run: Run) -> bool:
        """Return whether one lead in use made a DELETE spare all of its leads."""
        return run.statement == self._statements.delete_leads and not run.each and bool(pair.leads_in_use)

    def _written(self, pair: TablePair, statement: Statement) -> Table:
        """Return the table that a statement changes."""
        return pair.source if statement == self._statements.delete_leads else pair.target

    async def _finished(self, transaction: Transaction, pair: TablePair, statement: Statement, leads: LeadIDs) -> LeadIDs:
        """Return the leads that a statement had changed before it failed. An engine with rollback has undone its changes: none
        then."""
        sql = self._statements
        if self._written(pair, statement).transactional:
            return NONE
        if statement == sql.update_leads:
            return leads.difference(await self.select(transaction, sql.select_different_leads, pair, leads))
        copied = await self.find(transaction, pair.target.name, leads)
        if statement == sql.insert_leads:
            return copied
        return copied.difference(await self.find(transaction, pair.source.name, leads))

    async def find(self, transaction: Transaction, table: str, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that are in a table."""
        values = {"table": identifier(table), "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(self._statements.find_leads.fill(values)))

    async def select(self, transaction: Transaction, statement: Statement, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that a statement selects."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(statement.fill(values)))
