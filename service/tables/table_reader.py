"""Read the definitions of a pair of tables, and check whether leads can be moved from one to the other."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from service.database.sessions import StaleSessionError
from service.database.statements import Statements, identifier, table_of
from service.database.transaction import Transaction
from service.errors import DatabaseError, NotReadyError
from service.mariadb_errors import ACCESS_DENIED, NO_SUCH_COLUMN, NO_SUCH_KEY, NO_SUCH_TABLE
from service.tables.damage import Damage
from service.tables.definitions import ForeignKey, TablePair, names
from service.tables.information_schema import left_out, select
from service.tables.preconditions.foreign_keys import foreign_key_problems
from service.tables.preconditions.server import Session, server_problem, session_problems, version_problem
from service.tables.preconditions.tables import table_problems
from service.tables.privileges import Grants
from service.tables.reused_lead_ids import Reused
from service.tables.statement_trial import StatementTrial
from service.tables.table_builder import Rows, read_table

AUTO_INCREMENT = re.compile(r"^\) (.*?)\bAUTO_INCREMENT=(\d+) ?", re.MULTILINE)
"""The counter in the last line of SHOW CREATE TABLE."""

FOREIGN_KEYS_AGE = 10
"""Seconds after which foreign keys are read again. On a server with 400 tables this takes 10 ms."""

LONGEST_BELIEF = 10
"""Seconds after which a batch reads everything again. Nothing else tells that a key of a table of leads in use is now on
another column: the DELETE would read the table as a whole for each lead."""

LOOKS, LOOK_PAUSE = 3, 0.05
"""How many looks must miss a foreign key before it is believed to be gone, and the seconds between two of them. A key is
hidden for milliseconds while ALTER TABLE replaces its table: 9 of 289 looks beside such statements missed it."""

GONE_AFTER = 1
"""Seconds for which a table or a column that shows leads in use must have been missing before it is believed to be gone, or
not to be there at first. RENAME TABLE or a repair may take it away for moments, and its leads are in use all the same."""

LONGEST_DOUBT = 3
"""Seconds between two looks that did not find it, after which it may have been there in between."""


class TableReader:
    """Reads a pair of tables. Reads them again only if a definition has changed, or if a table was missing the last time."""

    def __init__(
        self,
        statements: Statements,
        source: str,
        target: str,
        *,
        keep_leads_in_use: bool,
        reused: Reused,
        least_packet: int,
        damage: Damage,
        whole_only: bool = False,
    ) -> None:
        """keep_leads_in_use: whether leads in use stay in the source. reused: whether leads stay whose lead_id belongs to
        another lead in the target. whole_only: whether leads are inserted only if the target can store them without changing a
        value. least_packet: the minimum of max_allowed_packet, in bytes. damage: shared by all readers of the process."""
        self._damage = damage
        self._statements = statements
        self._trial = StatementTrial(statements)
        self.source = source
        self.target = target
        self.whole_only = whole_only
        self.least_packet = least_packet
        self._leads_in_use = statements.leads_in_use if keep_leads_in_use else {}
        self.in_use_tables = tuple(dict.fromkeys(map(table_of, self._leads_in_use)))
        """The tables that show leads in use, whether they exist or not."""
        self._at_hand = set(self._leads_in_use)
        """The statements of leads in use that have not been given up."""
        self._worked: set[str] = set()
        """Those that have ever worked."""
        self._missing: dict[str, tuple[float, float]] = {}
        """By statement that is in doubt, when it did not find its table or column for the first and for the last time."""
        self._reused: Reused = reused
        self.definition_queries = [
            statements.show_create_table.fill({"table": identifier(table)}) for table in (source, target)
        ]
        """The queries that show whether a definition has changed."""
        self._definitions: tuple[str, ...] = ()
        self._tried = False
        self._described = 0.0
        """When everything was read last, by time.monotonic()."""
        self._foreign_keys_read = 0.0
        self._known_keys: tuple[ForeignKey, ...] | None = None
        """The foreign keys, as they were read last. It outlives `cached`: see _foreign_keys()."""
        self._grants = Grants("", "@")
        self.cached: TablePair | None = None
        """The pair as it was read last. Only read() knows whether it is still correct."""
        self.auto_increments: dict[str, int] = {}
        """By table, the lead_id that its next new row gets."""

    async def read(self, transaction: Transaction, *, to_write: bool = True) -> TablePair:
        """Return the pair as it is now.

        The pair stays correct until the transaction ends if the transaction has read from both tables before. to_write:
        whether the account and the server must allow everything that a batch does. Raises NotReadyError if leads cannot be
        moved, and DatabaseError if a table cannot be read.
        """
        try:
            answers = await transaction.select_each(*self.definition_queries)
        except DatabaseError as error:
            if error.code not in ACCESS_DENIED:
                raise
            session = await self._session(transaction)
            problem = server_problem(error, Grants(session.database, session.account))
            assert problem is not None
            raise NotReadyError((problem,)) from error
        return await self.refresh_from(transaction, answers, to_write=to_write)

    async def refresh_from(self, transaction: Transaction, answers: Sequence[Rows], *, to_write: bool = True) -> TablePair:
        """As read(), given the answers to definition_queries."""
        definitions: list[str] = [answer[0][1] for answer in answers]
        for name, definition in zip((self.source, self.target), definitions, strict=True):
            counter = AUTO_INCREMENT.search(definition)
            self.auto_increments[name] = int(counter[2]) if counter else 1
        unchanging = without_counters(definitions)
        # While this coroutine waits for the database, another one may replace what is cached.
        pair = self.cached
        if (
            pair is None
            or pair.problems  # an administrator may have fixed them
            or unchanging != self._definitions
            or (to_write and (not self._tried or self._damage.is_known))
            or await self._appeared(transaction, pair)
            or (not pair.sees_agents and await self._trial.sees_agents(transaction))
            # A definition does not show which foreign keys refer to the table. If there were none, none is checked, and none
            # has an effect.
            or ((pair.foreign_keys or self._are_old()) and pair.foreign_keys != await self._foreign_keys(transaction))
        ):
            # If it is broken off, for example by a lock, nothing is known: neither this pair nor when its keys were read.
            self.cached = None
            pair = self.cached = await self._describe(transaction, definitions, try_batch=to_write)
            self._tried = to_write
            self._definitions = unchanging
            self._described = time.monotonic()
        problems = pair.problems if to_write else pair.problems_to_read
        if problems:
            raise NotReadyError(problems, pair.skipped_tables)
        return pair

    async def _describe(self, transaction: Transaction, definitions: Sequence[str], *, try_batch: bool) -> TablePair:
        """Read everything, and try every statement of a batch unless the transaction is read-only."""
        values = names(self.source, self.target)
        tables, columns, keys = [
            await transaction.select(statement.fill(values))
            for statement in (
                self._statements.describe_tables,
                self._statements.describe_columns,
                self._statements.describe_keys,
            )
        ]
        session = await self._session(transaction)
        foreign_keys = await self._foreign_keys(transaction)
        source, target = (
            read_table(name, definition, tables, columns, keys)
            for name, definition in zip((self.source, self.target), definitions, strict=True)
        )
        self._grants = grants = Grants(session.database, session.account)
        leads_in_use, skipped, unseen = await self._trial.leads_in_use(transaction, grants, self._leads_in_use)
        self._doubt(leads_in_use.keys(), skipped.keys())
        pair = TablePair(
            source,
            target,
            leads_in_use=leads_in_use,
            skipped_tables=tuple(dict.fromkeys(skipped.values())),
            foreign_keys=foreign_keys,
            sees_agents=await self._trial.sees_agents(transaction),
            reused=self._reused,
        )
        problems = [*filter(None, [version_problem(session.version)]), *table_problems(pair, grants), *unseen]
        problems += [] if problems else await self._trial.leads(transaction, pair)
        to_write = [
            *session_problems(session, self.least_packet, (source, target)),
            *foreign_key_problems(pair, grants),
        ]
        if problems:
            again = await transaction.select_each(*self.definition_queries)
            if without_counters(answer[0][1] for answer in again) != without_counters(definitions):
                raise StaleSessionError("a table was altered while its definition was read")
        if try_batch and not problems:
            to_write += await self._trial.batch(transaction, pair, grants, bool(session.on_cluster), self.whole_only)
            to_write += await self._damage.problems(transaction, (source, target))
        return replace(pair, problems_to_read=tuple(problems), problems=(*problems, *to_write))

    def _doubt(self, working: Iterable[str], skipped: Iterable[str]) -> None:
        """Give up statements of leads in use that find no table or column. Raises StaleSessionError until they have not found
        it for GONE_AFTER seconds."""
        now = time.monotonic()
        self._worked.update(working)
        self._at_hand.update(working)
        before, self._missing = self._missing, {}
        for name in self._at_hand.intersection(skipped):
            since, last = before.get(name, (now, now))
            self._missing[name] = (since if now - last < LONGEST_DOUBT else now, now)
        if any(now - since < GONE_AFTER for since, _ in self._missing.values()):
            missing = "a table that shows leads in use is missing"
            raise StaleSessionError(missing, was_new=self._worked.isdisjoint(self._missing))
        self._at_hand.difference_update(skipped)

    def believe_at_once(self) -> None:
        """Take a table that shows leads in use for missing at the first look, in a command that looks only once."""
        self._at_hand.clear()

    async def _session(self, transaction: Transaction) -> Session:
        """Return the variables of the session and facts about the server."""
        (row,) = await transaction.select(self._statements.describe_session.fill())
        return Session(*row)

    def _are_old(self) -> bool:
        return time.monotonic() - self._foreign_keys_read >= FOREIGN_KEYS_AGE

    async def _foreign_keys(self, transaction: Transaction) -> tuple[ForeignKey, ...]:
        """Return the foreign keys of the two tables and those that refer to them, if the account can see them.

        While any table of the server is made or altered, its keys may be hidden. Then the keys that were known before still
        count. A new one counts as soon as its table can be read. Raises DatabaseError for a lock if nothing was known.

        At the moment when ALTER TABLE puts a copy in the place of a table, its keys are hidden without a warning. So a key is
        believed to be gone, or not to be there at first, only if several looks do not find it.
        """
        known = {key.identity: key for key in self._known_keys or ()}
        keys, are_all = await self._look_for_keys(transaction)
        for _ in range(LOOKS - 1):
            if not are_all or (self._known_keys is not None and known.keys() <= keys.keys()):
                break
            await asyncio.sleep(LOOK_PAUSE)
            more, are_all = await self._look_for_keys(transaction)
            keys |= more
        if are_all:
            self._foreign_keys_read = time.monotonic()
        elif self._known_keys is None:
            raise left_out()
        else:
            keys = known | keys
        self._known_keys = tuple(keys[identity] for identity in sorted(keys))
        return self._known_keys

    async def _look_for_keys(self, transaction: Transaction) -> tuple[dict[tuple[str, str, str], ForeignKey], bool]:
        """Return the foreign keys that MariaDB shows now, by their identity, and whether it says that they are all."""
        query = self._statements.describe_foreign_keys.fill(names(self.source, self.target))
        rows, are_all = await select(transaction, self._statements, query)
        keys = [
            ForeignKey(schema, table, name, referenced, bool(incoming), bool(all_are_seen), frozenset(rules))
            for schema, table, name, referenced, incoming, all_are_seen, *rules in rows
        ]
        return {key.identity: key for key in keys}, are_all

    async def _appeared(self, transaction: Transaction, pair: TablePair) -> bool:
        """Return whether a table that shows leads in use exists now and was missing when the pair was read."""
        if not pair.skipped_tables:
            return False
        skipped = self._leads_in_use.keys() - pair.leads_in_use.keys()
        working, _, unseen = await self._trial.leads_in_use(transaction, self._grants, skipped)
        return bool(working or unseen)

    def invalidate_on(self, error: DatabaseError) -> None:
        """Read everything again at the next call if the error says that a table, a column, a key or a privilege is missing, or
        if the next attempt is to find out whether that is true. Remember a damaged table."""
        self._damage.note(error)
        missing = error.code in {NO_SUCH_TABLE, NO_SUCH_COLUMN, NO_SUCH_KEY, *ACCESS_DENIED}
        if missing or isinstance(error, StaleSessionError):
            self.invalidate()

    def invalidate_old(self) -> None:
        """Read everything again at the next call if it was read more than LONGEST_BELIEF seconds ago."""
        if time.monotonic() - self._described >= LONGEST_BELIEF:
            self.invalidate()

    def invalidate(self) -> None:
        """Read everything again at the next call. A table that shows leads in use may have been dropped."""
        self.cached = None


def without_counters(definitions: Iterable[str]) -> tuple[str, ...]:
    """Return definitions without the AUTO_INCREMENT counter: it changes with every new lead and says nothing about columns."""
    return tuple(AUTO_INCREMENT.sub(r") \1", definition) for definition in definitions)
