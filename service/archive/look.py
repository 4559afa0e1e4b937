"""The look at both tables with which each batch begins, before it changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from service.archive.batch import Batch
from service.archive.conditions import Conditions
from service.archive.lead_ids import NONE, LeadIDs
from service.archive.pace import Pace
from service.archive.scope import ask_twice, refuse_unsafe_lists, visible_leads, within
from service.database.statements import Statements, integers
from service.database.transaction import Transaction
from service.errors import ConditionError, DatabaseError, ListsChangedError
from service.mariadb_errors import HIDDEN_TABLES, NO_SUCH_TABLE
from service.tables.definitions import TablePair, names
from service.tables.in_use import MOST_NEARBY, among, by_id, without_key
from service.tables.table_reader import TableReader


@dataclass(frozen=True)
class Seen:
    """What both tables held when the batch looked at them."""

    leads: LeadIDs
    """The leads of the batch that are in the source."""
    copies: LeadIDs
    """The leads of the batch that are in the target."""
    reused: LeadIDs
    """Leads that are in both tables and are two different leads: their lead_id was given out again."""
    in_use: LeadIDs
    agents: bool
    """Whether agents are logged in, or it cannot be known."""
    unmatched: LeadIDs
    """Leads of the source that do not match the conditions of the batch."""
    on_cluster: bool
    pair: TablePair
    """With the conditions of the batch that each statement checks."""
    of_lists: str = "TRUE"
    """The conditions of the batch that no statement checks, in SQL: see lists_of()."""


class Looker:
    """Looks at the leads of a batch in both tables, and at everything that decides about them."""

    def __init__(self, statements: Statements, tables: TableReader, pace: Pace) -> None:
        self._statements = statements
        self._tables = tables
        self._pace = pace
        self._conditions = Conditions(statements)

    async def look(self, transaction: Transaction, asked: LeadIDs, batch: Batch, *, locks_lists: bool = False) -> Seen:
        """Read both tables. From here on, nobody can alter them until the transaction ends. Nothing may have been changed that
        can be changed back. locks_lists: whether each statement is to check all conditions of the batch, whatever it locks:
        otherwise, see lists_of().

        If both tables can roll back, the leads in the source are locked. Otherwise they are not. MyISAM has no row locks: the
        dialler would wait for the whole table. And if only one of the tables is MyISAM, the owner of a row lock may wait for
        that table, while a batch wants the row: MariaDB does not detect such a deadlock.
        """
        self._tables.invalidate_old()  # here, where no lead is locked yet
        known = self._tables.cached
        if known and not known.problems:
            try:
                return await self._look(transaction, known, asked, batch, locks_lists=locks_lists)
            except ConditionError:
                pass  # raised below, if the column is still what it was
            except DatabaseError as error:
                if not error.may_be_of_a_definition or error.code == NO_SUCH_TABLE:
                    raise  # a table that shows leads in use may be missing for a moment only
            # The statements may not fit a table that was altered since the last batch.
            await transaction.let_go()
            self._tables.invalidate()
        known = await self._tables.read(transaction)
        return await self._look(transaction, known, asked, batch, locks_lists=locks_lists)

    async def _look(
        self, transaction: Transaction, known: TablePair, asked: LeadIDs, batch: Batch, *, locks_lists: bool
    ) -> Seen:
        """As look(). known: the pair as it is, or was at the last look."""
        matches = await self._conditions.sql(transaction, known.source, batch.where)
        values = {
            **known.values,
            "table": known.values["source"],
            "lead_ids": asked.sql,
            "matches": matches.all,
            "least_packet": str(self._tables.least_packet),
        }
        in_use_query = self._in_use_query(known, asked, batch)
        sql = self._statements
        # Before the leads are locked, all that a batch reads from other tables: somebody may have locked those. After that,
        # what other batches change.
        before = [
            *([sql.open_tables.fill(values)] if known.one_transaction else []),
            *([in_use_query] if in_use_query else []),
        ]
        copies_query = sql.look_at_copies.fill(values)
        if not known.one_transaction:
            copies_query = self._if_unlocked(copies_query)  # else the dialler would wait with it for the archive
        agents, answers = await self._look_at_agents(
            transaction,
            *before,
            (sql.select_leads if known.one_transaction else sql.find_leads).fill(values),
            copies_query,
            sql.look_at_session.fill(values),
            *self._tables.definition_queries,
            *([sql.select_unmatched_leads.fill(values)] if batch.where else []),
            unlocked=[*before, copies_query],
            asks=self._pace.asks_for_agents and known.sees_agents,
        )
        in_use = answers[len(before) - 1] if in_use_query else []
        leads, ((copies, reused),), (session,), *rest = answers[len(before) :]
        definitions, unmatched = rest[:2], rest[2] if batch.where else []
        on_cluster, session_fits = session
        if not session_fits:
            self._tables.invalidate()  # reading everything again finds out what is wrong
        pair = await self._tables.refresh_from(transaction, definitions)
        if pair is not known and pair != known:
            # A table was altered since the last batch, so the queries above used an outdated definition.
            await transaction.commit()
            return await self.look(transaction, asked, batch, locks_lists=locks_lists)
        transaction.knows_tables = True
        refuse_unsafe_lists(pair, batch.list_ids)
        by_statements = matches.all if locks_lists or not pair.one_transaction else matches.of_leads
        present = asked.from_rows(leads)
        return Seen(
            leads=present,
            copies=asked.from_concat(copies),
            # One that was inserted between the two looks is none of those that the batch has found.
            reused=present.intersection(asked.from_concat(reused)) if pair.reused != "overwrite" else NONE,
            in_use=await self._in_use(transaction, pair, asked, batch, in_use),
            agents=agents,
            unmatched=present.intersection(asked.from_rows(unmatched)),
            on_cluster=bool(on_cluster),
            pair=pair.matching(within(by_statements, batch.list_ids)),
            of_lists="TRUE" if by_statements == matches.all else matches.of_lists,
        )

    async def _look_at_agents(
        self, transaction: Transaction, *statements: str, unlocked: Collection[str], asks: bool
    ) -> tuple[bool, list[list[tuple[Any, ...]]]]:
        """Return whether agents are logged in, or it cannot be known, and the rows of SELECTs, in one round trip.

        unlocked: as in Transaction.select_each(). asks: whether to look for agents at all.
        """
        if not asks:
            return True, await transaction.select_each(*statements, unlocked=unlocked)
        look = self._statements.look_at_agents.fill()
        try:
            (((agents,),), *answers) = await transaction.select_each(look, *statements, unlocked=unlocked)
        except DatabaseError as error:
            if error.statement != look or not error.from_server:
                raise
            # Somebody has locked the table, or is writing to it, or it is damaged. A batch does not need it.
            return True, await transaction.select_each(*statements, unlocked=unlocked)
        return bool(agents), answers

    async def lists_of(self, transaction: Transaction, seen: Seen, leads: LeadIDs) -> Sequence[int]:
        """Return the lists of leads that a batch is going to change, if it has conditions on lists that its statements do not
        check.

        If INSERT, UPDATE and DELETE looked at vicidial_lists, InnoDB would lock its rows until COMMIT, and the dialler writes
        to them: it notes the last call of each list. So where the leads are locked, and can neither change nor go to another
        list, their lists are looked at without a lock: with the leads, and again before COMMIT.
        """
        if seen.of_lists == "TRUE" or not leads:
            return []
        rows = await transaction.select(self._statements.lists_of_leads.fill({**seen.pair.values, "lead_ids": leads.sql}))
        return [int(list_id) for (list_id,) in rows]

    async def refuse_changes(
        self, transaction: Transaction, batch: Batch, seen: Seen, deleted: LeadIDs, list_ids: Sequence[int]
    ) -> None:
        """Look for the last time at what a batch cannot lock. Raise DatabaseError if it must be run again: leads that it has
        deleted are in use, a lead has a row in a list that the caller may not see, or a list does not match the conditions any
        more (ListsChangedError).

        deleted: the leads that the batch has deleted. list_ids: the answer of lists_of().
        """
        # First the lists: this may wait for the table, and a lead could get into use meanwhile.
        values = {"list_rows": ", ".join(f"({integers([list_id])})" for list_id in list_ids), "matches": seen.of_lists}
        if list_ids and await transaction.select(self._statements.unmatched_lists.fill(values)):
            raise ListsChangedError("a list that the conditions look at was changed meanwhile", retry=True)
        try:
            await self._refuse_used_or_invisible(transaction, batch, seen, deleted)
        except DatabaseError as error:
            # A trigger of the last statement has made a temporary table, which may hide any other from this session.
            if error.code != HIDDEN_TABLES:
                raise

    async def _refuse_used_or_invisible(self, transaction: Transaction, batch: Batch, seen: Seen, deleted: LeadIDs) -> None:
        """As refuse_changes(), for leads in use and for leads in other lists."""
        if deleted and await self._in_use_now(transaction, seen.pair, deleted, batch):
            raise DatabaseError("leads were put into use while the batch ran", retry=True)
        kept = LeadIDs(batch.lead_ids).difference(deleted)
        if kept.difference(await visible_leads(transaction, self._statements, kept, batch.list_ids)):
            raise DatabaseError("leads were given to another list meanwhile", retry=True)

    async def _in_use_now(self, transaction: Transaction, pair: TablePair, leads: LeadIDs, batch: Batch) -> LeadIDs:
        """Return the leads that are in use now."""
        query = self._in_use_query(pair, leads, batch)
        rows = await transaction.select(query) if query else []
        return await self._in_use(transaction, pair, leads, batch, rows)

    def _in_use_query(self, pair: TablePair, leads: LeadIDs, batch: Batch) -> str:
        """Return the query of leads in use. Whoever may not see other leads asks for none of them: the time would tell."""
        if batch.is_limited:
            return self._if_unlocked(by_id(pair.leads_in_use, leads.sql))
        return self._if_unlocked(among(pair.leads_in_use, leads.sql, leads.first, leads.last))

    async def _in_use(
        self, transaction: Transaction, pair: TablePair, asked: LeadIDs, batch: Batch, rows: Sequence[tuple[int, str]]
    ) -> LeadIDs:
        """Return the leads in use. rows: the answer to _in_use_query(). That of nearby() is incomplete if it is long."""
        near = Counter(name for _, name in rows if name in without_key(pair.leads_in_use))
        if not batch.is_limited and any(count > MOST_NEARBY for count in near.values()):
            rows = await transaction.select(self._if_unlocked(by_id(pair.leads_in_use, asked.sql)))
        return asked.intersection(LeadIDs({int(lead_id) for lead_id, _ in rows}))

    def _if_unlocked(self, query: str | None) -> str:
        """Return a query of several tables that fails at once if one is locked. Empty if there is no query."""
        return self._statements.under(query, self._statements.if_unlocked) if query else ""

    async def unknown(self, transaction: Transaction, leads: LeadIDs) -> LeadIDs:
        """Return the leads that are in neither table."""

        async def find(asked: LeadIDs) -> LeadIDs:
            values = {**names(self._tables.source, self._tables.target), "lead_ids": asked.sql}
            query = self._if_unlocked(self._statements.find_in_either_table.fill(values))
            (rows,) = await transaction.select_each(query, unlocked=[query])
            return asked.from_rows(rows)

        return leads.difference(await ask_twice(leads, find))

    async def gone(self, transaction: Transaction, batch: Batch, seen: Seen, remaining: LeadIDs, deleted: LeadIDs) -> LeadIDs:
        """Return the leads that another session has deleted, or given to a list that the caller may not see, since the batch
        began. Only tables without row locks allow that. It asks the database only about leads that the batch has not deleted,
        and that do not remain.

        seen: the first look, with all unmatched and reused leads. remaining: the leads to delete that are still in the source.
        deleted: those that the batch has deleted.
        """
        if seen.pair.one_transaction:
            return NONE
        named = LeadIDs({*remaining, *seen.reused, *seen.unmatched})
        doubtful = seen.leads.difference(named, deleted)
        if not batch.is_limited:
            return await self.unknown(transaction, doubtful)
        doubtful = LeadIDs({*doubtful, *named})
        visible = await visible_leads(transaction, self._statements, doubtful, batch.list_ids) if doubtful else NONE
        return doubtful.difference(visible)
