"""Reads a pair of tables from the database, and asks whether leads can be moved from one to the other."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

from service.database.statements import Statements, identifier
from service.database.transaction import Transaction
from service.errors import DatabaseError, NotReadyError
from service.mariadb_errors import ACCESS_DENIED, NO_SUCH_COLUMN, NO_SUCH_KEY, NO_SUCH_TABLE
from service.tables.definitions import ForeignKey, TablePair, names
from service.tables.preconditions.foreign_keys import foreign_key_problems
from service.tables.preconditions.server import LEAST_PACKET, Session, server_problem, session_problems, version_problem
from service.tables.preconditions.tables import table_problems
from service.tables.privileges import Grants
from service.tables.statement_trial import StatementTrial
from service.tables.table_builder import Rows, read_table

AUTO_INCREMENT = re.compile(r"^\) (.*?)\bAUTO_INCREMENT=(\d+) ?", re.MULTILINE)
"""In the last line of a table's definition."""

FOREIGN_KEYS_AGE = 10
"""Seconds after which it is looked whether there are foreign keys now. It takes 10 ms where a server has 400 tables."""


class TableReader:
    """Reads a pair of tables, anew only when a definition has changed since the last time or a table was missing then."""

    def __init__(
        self,
        statements: Statements,
        source: str,
        target: str,
        *,
        keep_leads_in_use: bool,
        keep_reused: bool,
        whole_only: bool = False,
        least_packet: int = LEAST_PACKET,
    ) -> None:
        """keep_leads_in_use: whether leads of the source that somebody uses are to be left alone; keep_reused: whether leads
        are whose lead_id belongs to another lead in the target; whole_only: whether leads that the target cannot hold whole
        are not inserted; least_packet: bytes that max_allowed_packet must allow."""
        self._statements = statements
        self._trial = StatementTrial(statements)
        self.source = source
        self.target = target
        self.whole_only = whole_only
        self.least_packet = least_packet
        self._leads_in_use = statements.leads_in_use if keep_leads_in_use else {}
        self._keep_reused = keep_reused
        self.definition_queries = [
            statements.show_create_table.fill({"table": identifier(table)}) for table in (source, target)
        ]
        """The statements whose answers tell whether anything has changed."""
        self._definitions: tuple[str, ...] = ()
        self._tried = False
        self._foreign_keys_read = 0.0
        self._skipped: dict[str, str] = {}
        self._grants = Grants("", "@")
        self.cached: TablePair | None = None
        """The pair as it was the last time; whether it still is, only read() knows."""
        self.auto_increments: dict[str, int] = {}
        """What each table would give the next lead as lead_id, as far as it says."""

    async def read(self, transaction: Transaction, *, to_write: bool = True) -> TablePair:
        """Return the pair as it is now.

        It stays so until the transaction ends if the transaction has read from both tables before. to_write: whether the
        account and the server must allow all that a batch does. Raises NotReadyError if leads cannot be moved, DatabaseError
        where a table cannot be read.
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
        """Return the same, given the answers to definition_queries. Raises what read() raises."""
        definitions: list[str] = [answer[0][1] for answer in answers]
        for name, definition in zip((self.source, self.target), definitions, strict=True):
            counter = AUTO_INCREMENT.search(definition)
            self.auto_increments[name] = int(counter[2]) if counter else 1
        # The counter changes with every lead that is loaded; it says nothing about the columns.
        unchanging = tuple(AUTO_INCREMENT.sub(r") \1", definition) for definition in definitions)
        # While this waits for an answer, others may have what is cached read anew.
        pair = self.cached
        if (
            pair is None
            or pair.problems  # they may be mended by now
            or unchanging != self._definitions
            or (to_write and not self._tried)
            or await self._appeared(transaction)
            # A definition does not tell what refers to the table. Where nothing did, none is checked, and none acts.
            or ((pair.foreign_keys or self._are_old()) and pair.foreign_keys != await self._foreign_keys(transaction))
        ):
            pair = self.cached = await self._describe(transaction, definitions, try_batch=to_write)
            self._tried = to_write
            self._definitions = unchanging
        problems = pair.problems if to_write else pair.problems_to_read
        if problems:
            raise NotReadyError(problems, pair.skipped_tables)
        return pair

    async def _describe(self, transaction: Transaction, definitions: Sequence[str], *, try_batch: bool) -> TablePair:
        """Read all of it, and try all that a batch will do, which a transaction that is read only does not allow."""
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
        leads_in_use, self._skipped, unseen = await self._trial.leads_in_use(transaction, grants, self._leads_in_use)
        pair = TablePair(
            source,
            target,
            leads_in_use=leads_in_use,
            skipped_tables=tuple(dict.fromkeys(self._skipped.values())),
            foreign_keys=foreign_keys,
            keep_reused=self._keep_reused,
        )
        problems = [*filter(None, [version_problem(session.version)]), *table_problems(pair, grants), *unseen]
        to_write = [
            *session_problems(session, self.least_packet),
            *foreign_key_problems(pair, bool(session.sees_all_tables), grants),
        ]
        if try_batch and not problems:
            to_write += await self._trial.batch(transaction, pair, grants, bool(session.on_cluster), self.whole_only)
        return replace(pair, problems_to_read=tuple(problems), problems=(*problems, *to_write))

    async def _session(self, transaction: Transaction) -> Session:
        """Return what is known of the session and its server."""
        (row,) = await transaction.select(self._statements.describe_session.fill())
        return Session(*row)

    def _are_old(self) -> bool:
        return time.monotonic() - self._foreign_keys_read >= FOREIGN_KEYS_AGE

    async def _foreign_keys(self, transaction: Transaction) -> tuple[ForeignKey, ...]:
        """Return the foreign keys of the two tables, and those that refer to them, as far as the account sees them."""
        self._foreign_keys_read = time.monotonic()
        rows = await transaction.select(self._statements.describe_foreign_keys.fill(names(self.source, self.target)))
        return tuple(
            ForeignKey(schema, table, name, referenced, bool(incoming), frozenset(rules))
            for schema, table, name, referenced, incoming, *rules in rows
        )

    async def _appeared(self, transaction: Transaction) -> bool:
        """Return whether a table that tells of leads in use is there, and was not the last time."""
        if not self._skipped:
            return False
        working, _, unseen = await self._trial.leads_in_use(transaction, self._grants, self._skipped)
        return bool(working or unseen)

    def invalidate_on(self, error: DatabaseError) -> None:
        """Read everything anew the next time if the error says that a table, a column, a key or a privilege is gone."""
        if error.code in {NO_SUCH_TABLE, NO_SUCH_COLUMN, NO_SUCH_KEY, *ACCESS_DENIED}:
            self.invalidate()

    def invalidate(self) -> None:
        """Read everything anew the next time: a table that tells of leads in use may be gone."""
        self.cached = None
