"""Run the statements that change rows. If a row makes one fail, find out which, and go on with the other rows."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from service.archive.lead_ids import NONE, LeadIDs
from service.database.statements import Statement, Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError
from service.tables.definitions import Table, TablePair

logger = structlog.get_logger()


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
        values: Mapping[str, str] | None = None,
    ) -> dict[Statement, int]:
        """Run the statements in one round trip, each for its leads. Return the number of rows that each has changed.

        A statement that fails because of a row is repeated for each half of its leads, down to a single lead. That lead stays
        as it is and is added to left_alone. Raises DatabaseError if a statement fails for each of its leads with the same
        error, and it is not certain that rows are the reason.
        values: of placeholders that the pair does not know.
        """
        values = {**pair.values, **(values or {})}
        counts = dict.fromkeys(steps, 0)
        failures: dict[Statement, list[int | None]] = {statement: [] for statement in steps}
        todo = [(statement, leads) for statement, leads in steps.items() if leads]
        while todo:
            done = 0
            sent = todo[: len(steps)]  # many leads that fail one by one make a long list
            transaction.send_first(self._statements.set_foreign_key_checks.fill(pair.values))
            if not all(self._written(pair, statement).transactional for statement, _ in sent):
                transaction.changes_may_persist = True
            try:
                async for count in transaction.execute_each(
                    *(statement.fill({**values, "lead_ids": leads.sql}) for statement, leads in sent)
                ):
                    counts[sent[done][0]] += count
                    done += 1
                todo = todo[done:]
            except DatabaseError as error:
                if not error.may_be_of_a_row(pair.table_names):
                    raise
                statement, leads = todo[done]
                finished = await self._finished(transaction, pair, statement, leads)
                counts[statement] += len(finished)
                parts = [part for part in leads.difference(finished).halves() if part]
                if len(parts) == 1:
                    (lead_id,) = parts.pop()
                    codes = failures[statement]
                    codes.append(error.code)
                    if not error.is_certainly_of_a_row and codes == [error.code] * len(steps[statement]):
                        raise
                    logger.warning("lead left alone", lead_id=lead_id, statement=statement.name, code=error.code)
                    if left_alone is not None:
                        left_alone.add(lead_id)
                todo = [*((statement, part) for part in parts), *todo[done + 1 :]]
        return counts

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
        if statement in {sql.insert_leads, sql.insert_whole_leads}:
            return copied
        if statement == sql.delete_damaged_copies:
            return leads.difference(copied)
        return copied.difference(await self.find(transaction, pair.source.name, leads))

    async def find(self, transaction: Transaction, table: str, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that are in a table."""
        values = {"table": identifier(table), "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(self._statements.find_leads.fill(values)))

    async def select(self, transaction: Transaction, statement: Statement, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that a statement selects."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(statement.fill(values)))
