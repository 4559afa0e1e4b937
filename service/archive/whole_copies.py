"""Dearchive leads whole or not at all: undo each copy that vicidial_list has stored with other data than the archived row.

A damaged copy would be dialled, and the next archiving would write it over the archived row. A trigger can damage a copy, and
no definition of a table shows it. So the INSERT itself compares each row as it was stored (sql/insert_whole_leads.sql). What
can be rolled back is rolled back. Otherwise sql/delete_damaged_copies.sql deletes the copies that nobody has written to since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from service.archive.failures import BeginAgainError
from service.archive.lead_ids import NONE, LeadIDs
from service.archive.row_changes import Changes, Options, Run
from service.database.pauses import Pauses
from service.database.statements import Statement
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import NO_SAVEPOINTS
from service.tables.definitions import TablePair

logger = structlog.get_logger()

LEADS_AN_INSERT = 50
"""As long as an INSERT ... SELECT into vicidial_list runs, InnoDB gives out no lead_id to others (with the default,
innodb_autoinc_lock_mode = 1). So it is short, and waits for no row."""

LEADS_AT_ONCE = 500
"""In one round trip: so many statements of LEADS_AN_INSERT leads fit into max_allowed_packet."""


class WholeCopies(Changes):
    """Runs the statements of a batch, and inserts no lead that is not stored whole."""

    async def run(
        self,
        transaction: Transaction,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        values: Mapping[str, str] | None = None,
        *,
        options: Options | None = None,
    ) -> dict[Statement, int]:
        """As Changes.run(). Leads that are not stored whole are not counted."""
        insert = self._statements.insert_leads
        leads = steps.get(insert, NONE)
        if not leads:
            return await super().run(transaction, pair, steps, values, options=options)
        options = options or Options()
        undo = self._insert_or_roll_back if pair.target.transactional else self._insert_or_delete
        count, undone = await undo(transaction, pair, leads, options)
        if options.failures.at_the_end and not options.failures.more_to_come:
            raise options.failures.at_the_end
        whole = self._statements.insert_whole_leads
        done = LeadIDs(sorted(options.failures.done.pop(whole, set()).difference(undone))[:count])
        options.failures.unsure.pop(whole, None)
        options.failures.note_done(insert, done, leads.difference(done), count - len(done))
        if options.failures.must_look_again(transaction):
            return {**dict.fromkeys(steps, 0), insert: count}
        others = {statement: ids for statement, ids in steps.items() if statement != insert}
        return {insert: count, **await super().run(transaction, pair, others, values, options=options)}

    def _most_sent(self, pair: TablePair, runs: Sequence[Run], most: int) -> int:
        """As Changes._most_sent(). If an INSERT is rolled back, the damaged copies of the one before it are still there."""
        return 1 if runs[0].statement == self._statements.insert_whole_leads and pair.target.transactional else most

    def _send_first(self, transaction: Transaction, pair: TablePair, runs: Sequence[Run]) -> None:
        super()._send_first(transaction, pair, runs)
        if runs[0].statement == self._statements.insert_whole_leads:
            transaction.send_first(self._statements.keep_damaged_copies.fill())

    async def _finished(self, transaction: Transaction, pair: TablePair, failed: Run) -> LeadIDs:
        inserts = failed.statement == self._statements.insert_whole_leads
        if inserts and pair.target.transactional:
            transaction.send_first(self._statements.restore_damaged_copies.fill())
        finished = await super()._finished(transaction, pair, failed)
        if inserts and finished:
            await transaction.select(self._statements.note_refused_copy.fill({**pair.values, "lead_ids": finished.sql}))
        return finished

    async def _insert(
        self, transaction: Transaction, pair: TablePair, leads: LeadIDs, options: Options
    ) -> tuple[int, int, LeadIDs]:
        """Insert leads. Return the number of copies, the number of damaged ones, and the ids of the damaged ones.

        Not all of these ids are known if the fingerprints of the copies are longer than max_allowed_packet.
        """
        sql = self._statements
        options = replace(options, most={sql.insert_whole_leads: LEADS_AN_INSERT, **options.most})
        transaction.send_first(sql.forget_damaged_copies.fill())
        if pair.one_transaction:
            transaction.send_first(sql.forget_changed.fill())
        count = 0
        for part in leads.parts(LEADS_AT_ONCE):
            counts = await super().run(transaction, pair, {sql.insert_whole_leads: part}, options=options)
            count += counts[sql.insert_whole_leads]
            if options.failures.blocked:
                break
        ((damaged, text),) = await transaction.select(sql.show_damaged_copies.fill())
        copies = {int(copy.split(":")[0]) for copy in _text(text).split(",") if copy}
        return count, int(damaged), LeadIDs(copies)

    async def _set_savepoint(self, transaction: Transaction) -> bool:
        """Return whether the transaction can have a savepoint. MariaDB refuses it if any table of Aria was read, such as that
        of the agents."""
        try:
            await transaction.execute(self._statements.set_savepoint.fill())
        except DatabaseError as error:
            if error.code != NO_SAVEPOINTS:
                raise
            return False
        return True

    async def _insert_or_roll_back(
        self, transaction: Transaction, pair: TablePair, leads: LeadIDs, options: Options
    ) -> tuple[int, LeadIDs]:
        """Insert leads. If a copy is damaged, roll back and insert the others only. Return the number of copies, and the leads
        that were not inserted in the end. If all of the transaction must be rolled back for that, the batch or its chunk
        begins again."""
        sql = self._statements
        has_savepoint = not options.on_cluster and await self._set_savepoint(transaction)
        count, remaining = 0, leads
        while remaining:
            count, damaged, _ = await self._insert(transaction, pair, remaining, options)
            if not damaged or options.failures.blocked:
                break
            # A trigger may have changed lead_id. So the leads that are whole are known, and those that are damaged are not.
            whole = await self.select(transaction, sql.select_equal_leads, pair, remaining)
            if not has_savepoint:
                damaged_leads = remaining.difference(whole, self._refused(options)) or remaining
                await self._begin_without(transaction, pair, damaged_leads, options)
                return 0, leads
            await transaction.execute(sql.roll_back_to_savepoint.fill())
            count, remaining = 0, whole if len(whole) < len(remaining) else NONE
        if undone := leads.difference(remaining, self._refused(options)):
            logger.warning("damaged copies undone", lead_ids=list(undone))
        return count, leads.difference(remaining)

    def _refused(self, options: Options) -> LeadIDs:
        """Return the leads that cannot be inserted."""
        return options.failures.left_alone(self._statements.insert_whole_leads)

    async def _begin_without(self, transaction: Transaction, pair: TablePair, damaged: LeadIDs, options: Options) -> None:
        """Have the batch or its chunk begin again. The leads whose copies are damaged are not inserted then."""
        logger.warning("damaged copies undone", lead_ids=list(damaged))
        options.failures.leave_out(self._statements.insert_whole_leads, damaged)
        error = BeginAgainError("copies are damaged, and the transaction has no savepoint", retry=True)
        if pair.one_transaction:
            options.failures.at_the_end = error  # once, also if the copies of other leads are damaged
        else:
            await self._end_attempt(transaction, pair, options.failures, error)

    async def _insert_or_delete(
        self, transaction: Transaction, pair: TablePair, leads: LeadIDs, options: Options
    ) -> tuple[int, LeadIDs]:
        """Insert leads, and delete the damaged copies. Return the number of copies that are left, and the ids of those that
        were deleted."""
        count, damaged, copies = await self._insert(transaction, pair, leads, options)
        if not damaged:
            return count, NONE
        deleted = NONE
        try:
            if copies:
                if await self._delete_damaged(transaction, pair, copies, leads, options) == len(copies):
                    deleted = copies  # what is there now was inserted by somebody else
                else:
                    with transaction.insisting():
                        deleted = copies.difference(await self.find(transaction, pair.target.name, copies))
        finally:
            if deleted:
                logger.warning("damaged copies undone", lead_ids=list(deleted))
            if len(deleted) < damaged:
                logger.error("damaged copies left", lead_ids=list(copies.difference(deleted)), count=damaged - len(deleted))
        return max(0, count - len(deleted)), deleted

    async def _delete_damaged(
        self, transaction: Transaction, pair: TablePair, copies: LeadIDs, asked: LeadIDs, options: Options
    ) -> int:
        """Delete damaged copies, however often a lock is in the way. Return how many were deleted. But if vicidial_list was
        altered meanwhile, they stay: their fingerprints do not show what somebody may have written into a new column."""
        delete = self._statements.delete_damaged_copies
        count = 0
        own = Options()
        pauses = Pauses()
        target = pair.target
        while True:
            if not transaction.knows_tables and options.look_again:
                try:
                    pair = await options.look_again()
                except DatabaseError as error:
                    if error.code not in BLOCKED:
                        raise
                    await transaction.let_go()
                    await pauses.pause()
                    continue
                if pair.target != target:
                    return count
            own.failures.start_attempt()
            counts = await super().run(transaction, pair, {delete: copies}, values={"asked_lead_ids": asked.sql}, options=own)
            count += counts[delete]
            if not own.failures.blocked:
                return count
            await pauses.pause()


def _text(value: str | bytes | None) -> str:
    """Return the value of a user variable, which the driver may return as bytes."""
    return value.decode() if isinstance(value, bytes) else value or ""
