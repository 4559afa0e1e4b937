"""Run the statements that change rows. If a row makes one fail, find out which, and go on with the other rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import structlog

from service.archive.failures import BeginAgainError, Failures
from service.archive.lead_ids import NONE, LeadIDs
from service.database.pauses import Pauses
from service.database.statements import Statement, Statements, identifier
from service.database.transaction import BLOCKED, Transaction
from service.errors import DatabaseError
from service.mariadb_errors import LOCK_WAIT_TIMEOUT, NOT_TAKEN
from service.tables.definitions import Table, TablePair
from service.tables.in_use import not_listed, with_key, without_key
from service.tables.privileges import LISTS

Warnings = Sequence[tuple[int, str]]
"""The numbers and messages of the warnings of a statement."""

logger = structlog.get_logger()

LONGEST_WAIT = 1.0
"""Seconds for which the service waits for a table in place of a statement, as wait_briefly lets the server wait. Then the
batch lets go of everything: behind an OPTIMIZE TABLE that waits for what the batch has read, the dialler waits."""


@dataclass(frozen=True)
class Run:
    """A statement that is to be run for some leads."""

    statement: Statement
    leads: LeadIDs


@dataclass(frozen=True)
class Options:
    """What a part of a batch knows."""

    insert_from: Mapping[str, str] = field(default_factory=dict)
    """The placeholders of another table from which INSERT reads the leads."""
    failures: Failures = field(default_factory=Failures)
    most: Mapping[Statement, int] = field(default_factory=dict)
    """How many leads a statement changes at most, where that matters. If there are more, it is sent several times."""
    archived: LeadIDs = NONE
    """The leads of the batch that only the target has."""
    kept: dict[int, str] = field(default_factory=dict)
    """Where a foreign key may change copies: the fingerprints of copies whose leads only the target has, or has now."""
    on_cluster: bool = False
    """Whether what is rolled back reaches other nodes all the same, unless all of the transaction is: that of a statement that
    has failed, and that after a savepoint."""
    look_again: Callable[[], Awaitable[TablePair]] | None = None
    """Reads the definitions of the tables again, where the statements of a batch are not one transaction."""


class Changes:
    """Runs INSERT, UPDATE and DELETE statements, each for its leads."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def run(
        self,
        transaction: Transaction,
        pair: TablePair,
        steps: Mapping[Statement, LeadIDs],
        values: Mapping[str, str] | None = None,
        *,
        options: Options | None = None,
    ) -> dict[Statement, int]:
        """Run the statements in one round trip, each for its leads. Return the number of rows that each has changed.

        A statement that fails because of a row is repeated for each half of its leads, down to a single lead. That lead stays
        as it is and is added to options.failures. Raises BeginAgainError if that takes long. Raises DatabaseError if a
        statement fails for each of its leads with the same error, and it is not certain that rows are the reason; and if a
        lock is in the way or there is a deadlock, so that what was not committed must be run again. If the statement writes to
        a table without rollback, locks raise no error: the other statements are not run, options.failures.blocked is set, and
        the counts are those until then. The same is true if a lock is in the way of finding out which rows a statement has
        changed before a row made it fail, and of long searches if the batch is not one transaction. values: of placeholders
        that the pair does not know.
        """
        transaction.must_know_tables()
        values = {**pair.values, **(values or {})}
        counts = dict.fromkeys(steps, 0)
        options = options or Options()
        todo = self._all_runs(steps, options)
        warned: list[tuple[Run, Warnings]] = []
        most_sent = len(todo)  # many leads that fail one by one make a long list
        pauses = Pauses()
        while todo:
            done: list[tuple[Run, int]] = []
            persisted_already = transaction.changes_may_persist
            sent = todo[: self._most_sent(pair, todo, most_sent)]
            self._send_first(transaction, pair, sent)
            if not all(self.written(pair, run.statement).transactional for run in sent):
                transaction.changes_may_persist = True
            try:
                filled = {self._filled(pair, run, values, options): run for run in sent}
                async for run, count in self._execute(transaction, filled, warned):
                    counts[run.statement] += count
                    done.append((run, count))
                todo = todo[len(done) :]
                await self._note_done(transaction, pair, done, options)
                if not any(counts.values()):
                    transaction.changes_may_persist = persisted_already
                if options.failures.must_look_again(transaction):
                    return counts
            except DatabaseError as error:
                self._must_be_of(filled, error)
                todo = todo[len(done) :]
                failed, *others = todo
                if pauses.seconds < LONGEST_WAIT and await self._must_wait(transaction, pair, failed, error):
                    transaction.changes_may_persist = persisted_already or any(counts.values())
                    await self._note_done(transaction, pair, done, options)
                    if options.failures.must_look_again(transaction):
                        return counts
                    await pauses.pause()
                    continue
                finished = await self._finished_before(error, transaction, pair, failed)
                await self._note_done(transaction, pair, done, options)
                counts[failed.statement] += len(finished)
                if finished:
                    options.failures.note_done(failed.statement, finished)
                if not any(counts.values()) and not await self._begun(transaction, failed):
                    transaction.changes_may_persist = persisted_already
                if options.failures.must_look_again(transaction, error):
                    return counts
                parts = self._split(failed, finished, others, error, options)
                if not parts and await self._must_let_go(transaction, pair, options.failures):
                    return counts
                todo = [*parts, *others]
        await self._log_left_out(transaction, pair, warned)
        return counts

    @staticmethod
    def _split(failed: Run, finished: LeadIDs, others: Sequence[Run], error: DatabaseError, options: Options) -> list[Run]:
        """Return what is to be run of a statement that has failed: each half of its leads that it had not changed. A single
        lead is left alone."""
        if options.on_cluster:
            options.failures.at_the_end = BeginAgainError("a statement has failed for a row", retry=True)
        parts = [part for part in failed.leads.difference(finished).halves() if part]
        if len(parts) == 1 and not finished:  # else the row at which it failed may be stored: an AFTER trigger's
            is_last = all(run.statement != failed.statement for run in others)
            options.failures.leave_alone(failed.statement, failed.leads, error, is_last=is_last)
            return []
        return [replace(failed, leads=part) for part in parts]

    async def _must_wait(self, transaction: Transaction, pair: TablePair, failed: Run, error: DatabaseError) -> bool:
        """Return whether the service waits for a table in place of a statement."""
        is_locked = error.code == LOCK_WAIT_TIMEOUT and self._never_waits(pair, failed)
        return is_locked and not await self._begun(transaction, failed)

    @staticmethod
    def _all_runs(steps: Mapping[Statement, LeadIDs], options: Options) -> list[Run]:
        """Return what is to be run, each statement for as many leads at a time as it may change."""
        runs: list[Run] = []
        for statement, leads in steps.items():
            most = options.most.get(statement) or len(leads) or 1
            left = leads.difference(options.failures.left_alone(statement))
            runs += [Run(statement, part) for part in left.parts(most)]
        return runs

    async def _must_let_go(self, transaction: Transaction, pair: TablePair, failures: Failures) -> bool:
        """Let go of everything if leads for which statements fail have been looked for long enough, and return whether that is
        so. Raises BeginAgainError if the batch is one transaction."""
        if not failures.searches_long(transaction, pair):
            return False
        error = BeginAgainError("it took long to find the rows that statements fail for", retry=True)
        await self._end_attempt(transaction, pair, failures, error)
        return True

    @staticmethod
    async def _end_attempt(transaction: Transaction, pair: TablePair, failures: Failures, error: BeginAgainError) -> None:
        """Have the batch or its chunk begin again. Raise the error if the batch is one transaction."""
        if pair.one_transaction:
            raise error
        await transaction.let_go()
        failures.blocked = error

    async def _execute(
        self, transaction: Transaction, filled: Mapping[str, Run], warned: list[tuple[Run, Warnings]]
    ) -> AsyncIterator[tuple[Run, int]]:
        """Send statements. Yield how many rows each has changed. Add the warnings of those that insert leads to warned."""
        runs = iter(filled.values())
        inserts = [text for text, run in filled.items() if self._inserts(run.statement)]
        async for count in transaction.execute_each(*filled, warning=inserts):
            yield next(runs), count
        warned += [(filled[text], warnings) for text, warnings in transaction.warnings.items()]

    @staticmethod
    def _must_be_of(filled: Mapping[str, Run], error: DatabaseError) -> None:
        """Raise an error that is not of one of these statements, but of what was sent between them."""
        if error.statement not in filled:
            raise error

    async def _log_left_out(self, transaction: Transaction, pair: TablePair, warned: Sequence[tuple[Run, Warnings]]) -> None:
        """Log why the target has not taken leads, and which. A copy that is there already is no reason to tell of."""
        copy_exists = f" for key '{pair.target.unique_columns['lead_id']}'"
        for run, warnings in warned:
            codes = {code for code, text in warnings if code in NOT_TAKEN and not text.endswith(copy_exists)}
            if not codes:
                continue
            if pair.target.transactional:
                taken = await self.find(transaction, pair.target.name, run.leads)
            else:
                taken = await self._recorded(transaction, self._statements.show_inserted)  # this waits for no table
            left_out = list(run.leads.difference(taken))
            logger.warning("leads left out", statement=run.statement.name, codes=sorted(codes), lead_ids=left_out)

    async def _finished_before(self, error: DatabaseError, transaction: Transaction, pair: TablePair, failed: Run) -> LeadIDs:
        """Return the leads that a statement had changed before it failed. Raise the error if no row is the reason, and for a
        lock if its changes can be rolled back. If not, a lock ends the transaction nevertheless, before this question may
        wait."""
        if error.code in BLOCKED:
            if self.written(pair, failed.statement).transactional:
                raise error
            await transaction.let_go()
        elif not error.may_be_of_a_row(pair.table_names):
            raise error
        with transaction.insisting():
            return await self._finished(transaction, pair, failed)

    async def _begun(self, transaction: Transaction, failed: Run) -> LeadIDs:
        """Return the leads that a failed UPDATE without rollback may have changed, whether it has made them equal or not."""
        if failed.statement != self._statements.update_leads:
            return NONE
        return failed.leads.intersection(await self._recorded(transaction, self._statements.show_updated))

    def _send_first(self, transaction: Transaction, pair: TablePair, runs: Sequence[Run]) -> None:
        """Send what must come before some statements, together with them."""
        del runs  # for subclasses
        transaction.set_variables(self._statements.set_foreign_key_checks.fill(pair.values))

    def _filled(self, pair: TablePair, run: Run, values: Mapping[str, str], options: Options) -> str:
        filled = {**values, "lead_ids": run.leads.sql}
        if run.statement == self._statements.insert_leads:
            filled |= options.insert_from
        if self._inserts(run.statement) and not pair.one_transaction:
            filled["matches"] = self._statements.record_inserting.fill(filled)
            filled["returning"] = self._statements.record_inserted.fill(filled)
        if run.statement == self._statements.delete_leads and not pair.one_transaction:
            filled["not_in_use"] += not_listed(without_key(pair.leads_in_use), run.leads.sql)
            filled["same_data"] = self._statements.record_deleted.fill(filled)
        if run.statement == self._statements.update_leads and not pair.one_transaction:
            filled["same_data"] = self._statements.record_updated.fill(filled)
        sql = self._statements
        opens_both = run.statement != sql.insert_leads or not options.insert_from
        variables = {
            sql.looking_up_each: run.statement == sql.delete_leads and bool(with_key(pair.leads_in_use)),
            sql.if_unlocked: self._never_waits(pair, run),
            sql.ending_soon: pair.locks_leads and opens_both,
        }
        needed = [variable for variable, is_needed in variables.items() if is_needed]
        return sql.under(run.statement.fill(filled), *needed)

    def _most_sent(self, pair: TablePair, runs: Sequence[Run], most: int) -> int:
        """Return how many statements are sent in one round trip."""
        del pair, runs  # for subclasses
        return most

    def _inserts(self, statement: Statement) -> bool:
        return statement in {self._statements.insert_leads, self._statements.insert_whole_leads}

    def _never_waits(self, pair: TablePair, run: Run) -> bool:
        """Return whether the service waits in place of a statement. Where nothing but tables can be locked, an UPDATE that
        waits for the archive may have locked vicidial_list already."""
        only_tables = not (pair.source.transactional or pair.target.transactional or LISTS in pair.matches)
        return run.statement == self._statements.update_leads and only_tables

    def written(self, pair: TablePair, statement: Statement) -> Table:
        """Return the table that a statement changes."""
        return pair.source if statement == self._statements.delete_leads else pair.target

    async def _finished(self, transaction: Transaction, pair: TablePair, failed: Run) -> LeadIDs:
        """Return the leads that a statement had changed before it failed. An engine with rollback has undone its changes: none
        then."""
        sql = self._statements
        statement, leads = failed.statement, failed.leads
        if statement == sql.delete_leads and not pair.one_transaction:
            return await self._deleted(transaction, pair, leads)
        if self.written(pair, statement).transactional:
            return NONE
        if statement == sql.update_leads:
            begun = await self._begun(transaction, failed)
            return await self._updated(transaction, pair, begun) if begun else NONE
        if statement == sql.delete_damaged_copies:
            return leads.difference(await self.find(transaction, pair.target.name, leads))
        return await self._inserted(transaction, pair, leads)

    async def _note_done(
        self, transaction: Transaction, pair: TablePair, runs: Sequence[tuple[Run, int]], options: Options
    ) -> None:
        """Take note of the leads that statements have changed, each with the number of its rows. Where a batch is one
        transaction, nobody asks for them."""
        for run, count in runs:
            if pair.one_transaction:
                options.failures.note_done(run.statement, NONE)
            elif count == len(run.leads):
                options.failures.note_done(run.statement, run.leads)
            else:
                # What can be rolled back would be rolled back by insisting.
                with nullcontext() if self.written(pair, run.statement).transactional else transaction.insisting():
                    changed = await self._changed(transaction, pair, run, count)
                others = run.leads.difference(changed)
                options.failures.note_done(run.statement, changed, others, count - len(changed))

    async def _changed(self, transaction: Transaction, pair: TablePair, run: Run, count: int) -> LeadIDs:
        """Return the leads that a statement has certainly changed. count: how many rows it has changed.

        What was recorded may be too much, but not for a DELETE: IGNORE leaves a copy as it is because of a CHECK, say, and an
        INSERT that was rolled back has recorded rows, too. It may be too little: a trigger gives a copy another lead_id.
        """
        sql = self._statements
        if not count:
            return NONE
        show = {sql.update_leads: sql.show_updated, sql.delete_leads: sql.show_deleted}.get(run.statement, sql.show_inserted)
        changed = run.leads.intersection(await self._recorded(transaction, show))
        if run.statement == sql.delete_leads:
            return changed
        if len(changed) > count and run.statement == sql.update_leads:
            changed = await self._updated(transaction, pair, changed)
        elif len(changed) > count and self._inserts(run.statement):
            changed = await self.find(transaction, pair.target.name, changed)
        return LeadIDs(list(changed)[:count])

    async def _updated(self, transaction: Transaction, pair: TablePair, begun: LeadIDs) -> LeadIDs:
        """Return the leads whose copy was changed, of those for which UPDATE has begun to."""
        different = await self.select(transaction, self._statements.select_different_leads, pair, begun)
        equal = begun.difference(different)  # or somebody has deleted the copy
        return await self.find(transaction, pair.target.name, equal) if equal else NONE

    async def _inserted(self, transaction: Transaction, pair: TablePair, leads: LeadIDs) -> LeadIDs:
        """Return the leads that INSERT has inserted before it failed. The one at which it failed is among them if it is there:
        an AFTER trigger has refused it."""
        ((text, at),) = await transaction.select(self._statements.show_inserted.fill())
        inserted = leads.intersection(_ids(text))
        last = leads.intersection(LeadIDs([int(at)] if at else [])).difference(inserted)
        stored = await self.find(transaction, pair.target.name, last) if last else NONE
        return LeadIDs({*inserted, *stored})

    async def _deleted(self, transaction: Transaction, pair: TablePair, leads: LeadIDs) -> LeadIDs:
        """Return the leads that a DELETE has deleted before it failed, and correct what was recorded."""
        ((text,),) = await transaction.select(self._statements.show_deleted.fill())
        recorded = list(map(int, text.split(","))) if text else []
        if pair.source.transactional:
            kept = leads  # it was rolled back
        elif recorded and recorded[-1] in set(leads):
            # All others were deleted, whether somebody has brought some back since or not.
            kept = await self.find(transaction, pair.source.name, LeadIDs(recorded[-1:]))
        else:
            kept = NONE
        is_kept = set(kept)
        rest = [lead_id for lead_id in recorded if lead_id not in is_kept]
        if rest != recorded:
            await transaction.select(self._statements.correct_deleted.fill({"numbers": ",".join(map(str, rest))}))
        return leads.intersection(LeadIDs(rest))

    async def _recorded(self, transaction: Transaction, show: Statement) -> LeadIDs:
        """Return the leads that a user variable holds, as a SELECT shows it."""
        ((text, *_),) = await transaction.select(show.fill())
        return _ids(text)

    async def find(self, transaction: Transaction, table: str, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that are in a table."""
        values = {"table": identifier(table), "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(self._statements.find_leads.fill(values)))

    async def select(self, transaction: Transaction, statement: Statement, pair: TablePair, lead_ids: LeadIDs) -> LeadIDs:
        """Return the leads that a statement selects."""
        values = {**pair.values, "lead_ids": lead_ids.sql}
        return lead_ids.from_rows(await transaction.select(statement.fill(values)))


def _ids(text: str | None) -> LeadIDs:
    """Return lead ids from a text with commas between them."""
    return LeadIDs(map(int, text.split(",") if text else ()))
