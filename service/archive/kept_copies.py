"""Delete leads only if the copies that the DELETE relies on are still there after it.

A trigger on the source may delete or change a row that the target refers to. A foreign key of the target then changes or
deletes the copy, within the DELETE that has just compared it. No trigger can do that by itself (error 1442).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from service.archive.lead_ids import LeadIDs
from service.archive.row_changes import Changes, Options
from service.database.statements import Statement, Statements
from service.database.transaction import Transaction
from service.errors import NotReadyError, Problem
from service.tables.definitions import TablePair


class KeptCopies:
    """Runs the statements of a batch that is one transaction."""

    def __init__(self, statements: Statements, changes: Changes) -> None:
        self._statements = statements
        self._changes = changes

    async def run(
        self, transaction: Transaction, pair: TablePair, steps: Mapping[Statement, LeadIDs], options: Options
    ) -> dict[Statement, int]:
        """As Changes.run(). Raises NotReadyError if the copy of a deleted lead is gone or has other data. The transaction must
        be rolled back then."""
        delete = self._statements.delete_leads
        leads = steps.get(delete)
        if not leads or not pair.acting_keys:
            return await self._changes.run(transaction, pair, steps, options=options)
        others = {statement: ids for statement, ids in steps.items() if statement != delete}
        counts = await self._changes.run(transaction, pair, others, options=options)
        archived = options.archived.difference(LeadIDs(options.kept))
        before = await self._fingerprints(transaction, pair, LeadIDs({*leads, *archived}))
        options.kept.update({lead_id: before[lead_id] for lead_id in archived if lead_id in before})
        counts |= await self._changes.run(transaction, pair, {delete: leads}, options=options)
        if not counts[delete]:
            return counts
        deleted = leads.difference(await self._changes.find(transaction, pair.source.name, leads))
        options.kept.update({lead_id: before.get(lead_id, "") for lead_id in deleted})
        # All of them: what a DELETE has left as it was, the next one may change.
        after = await self._fingerprints(transaction, pair, LeadIDs(options.kept))
        if damaged := sum(after.get(lead_id) != fingerprint for lead_id, fingerprint in options.kept.items()):
            raise NotReadyError(tuple(self._problems(pair, damaged)))
        return counts

    async def _fingerprints(self, transaction: Transaction, pair: TablePair, leads: LeadIDs) -> dict[int, str]:
        """Return the fingerprint of each lead that is in the target."""
        values = {**pair.values, "lead_ids": leads.sql}
        return dict(await transaction.select(self._statements.fingerprint_copies.fill(values)))

    @staticmethod
    def _problems(pair: TablePair, damaged: int) -> Iterator[Problem]:
        for key in pair.acting_keys:
            yield Problem(
                f"the foreign key {key.name} of {key.table} changes or deletes copies ({', '.join(sorted(key.acting))}) of "
                f"leads that the batch deletes, since triggers change what it refers to; copies that are concerned: {damaged}",
                key.drop,
            )
