"""Find out what the account may do: the server prepares each statement of a batch.

PREPARE checks privileges, including those of roles, and names. It locks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable

from service.database.statements import Statement, Statements, identifier, literal, table_of
from service.database.transaction import Transaction
from service.errors import DatabaseError, Problem
from service.mariadb_errors import ACCESS_DENIED, LOCK_WAIT_TIMEOUT, NO_SUCH_COLUMN, NO_SUCH_TABLE, UNUSABLE_TABLE
from service.tables.damage import damage_in
from service.tables.definitions import TablePair
from service.tables.preconditions.server import preparation_problem, server_problem
from service.tables.privileges import Grants
from service.tables.same_data import INTEGERS


class StatementTrial:
    """Tries statements and reports what the account lacks."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def leads_in_use(
        self, transaction: Transaction, grants: Grants, statement_names: Iterable[str]
    ) -> tuple[dict[str, str], dict[str, str], list[Problem]]:
        """Try the statements that find leads in use.

        Return the statements that work, which have placeholders for the leads and for the hint before the name of a key
        (in_use.py); those that do not, with the missing table or column; and the problems with privileges.
        """
        working: dict[str, str] = {}
        skipped: dict[str, str] = {}
        problems: list[Problem] = []
        for name in statement_names:
            table = table_of(name)
            statement = self._statements.leads_in_use[name]
            error = await self._try(transaction, statement.fill({"lead_ids": "NULL", "key_hint": ""}))
            if error is not None and error.code in ACCESS_DENIED:
                # If the account has no privilege on the database, MariaDB denies a missing table like any other table.
                definition = self._statements.show_create_table.fill({"table": identifier(table)})
                seen = await self._failure(transaction.select(definition))
                if seen is None:
                    message = f"the account may not read {table}, which tells of leads in use"
                    problems.append(Problem(message, grants.statement("SELECT", table)))
                elif seen.code == NO_SUCH_TABLE:
                    skipped[name] = table
                else:
                    message = f"the account cannot see whether there is a table {table}, which would tell of leads in use"
                    problems.append(Problem(message, grants.statement("REFERENCES")))
            elif error is not None and error.code in {NO_SUCH_TABLE, NO_SUCH_COLUMN}:
                skipped[name] = table if error.code == NO_SUCH_TABLE else name
            elif error is not None or (error := await self._read(transaction, statement, key_hint="")):
                unreadable = Problem(f"{table}, which tells of leads in use, cannot be read: {_reason(error)}")
                problems.append(damage_in(error) or preparation_problem(error) or unreadable)
            else:
                key = await self._key(transaction, name)
                working[name] = statement.fill(
                    {"lead_ids": "{lead_ids}", "key_hint": f" {{named}} ({identifier(key)})" if key else ""}
                )
        return working, skipped, list(dict.fromkeys(problems))

    async def _key(self, transaction: Transaction, name: str) -> str | None:
        """Return the name of a key in which the column of `table.column` can be looked up, of several a tree with the fewest
        columns. None if there is none.

        HASH is the default of MEMORY. Elsewhere it is an ordinary key, but nothing can be looked up in a unique one: it only
        checks.
        """
        table, column = name.split(".")
        keys: dict[str, int] = {}
        """The number of columns of each."""
        kinds: dict[str, int] = {}
        """0: a tree. 1: called HASH. 2: called HASH and unique."""
        # The last column tells since MariaDB 10.6 whether the server is told to ignore the key. Before, it is a comment.
        rows = await transaction.select(self._statements.show_keys.fill({"table": identifier(table)}))
        for _, is_plain, key, position, of_column, _, _, prefix, _, _, kind, comment, *_, ignored in rows:
            kinds[key] = 0 if kind == "BTREE" else 2 - int(is_plain)
            if key in keys:
                keys[key] += 1
                if kind != "BTREE":  # the others are of use only for all of their columns
                    del keys[key]
            elif (position, of_column.lower()) == (1, column):
                is_known = kind in {"BTREE", "HASH"} and prefix is None and re.fullmatch(r"\w+", key)
                if is_known and ignored != "YES" and comment != "disabled":  # by ALTER TABLE ... DISABLE KEYS
                    keys[key] = 1
        if keys:
            columns = await transaction.select(self._statements.show_columns.fill({"table": identifier(table)}))
            types = {name.lower(): column_type for name, column_type, *_ in columns}
            if re.split(r"\W", types.get(column, ""))[0] not in INTEGERS:
                return None
        return min(keys, key=lambda key: (kinds[key], keys[key], key), default=None)

    async def sees_agents(self, transaction: Transaction) -> bool:
        """Return whether the account can read which agents are logged in."""
        try:
            return await self._try(transaction, self._statements.look_at_agents.fill()) is None
        except DatabaseError as error:
            if error.code != LOCK_WAIT_TIMEOUT:
                raise
            return True  # somebody alters the table; each batch tries to read it

    async def leads(self, transaction: Transaction, pair: TablePair) -> list[Problem]:
        """Read a row of each of the two tables. Return the problems."""
        statement = self._statements.find_leads
        errors = {
            table: await self._read(transaction, statement, table=identifier(table))
            for table in (pair.source.name, pair.target.name)
        }
        return [
            damage_in(error) or Problem(f"{table} cannot be read: {_reason(error)}")
            for table, error in errors.items()
            if error
        ]

    async def batch(
        self, transaction: Transaction, pair: TablePair, grants: Grants, on_cluster: bool, whole_only: bool
    ) -> list[Problem]:
        """Try the statements of a batch. Return the problems."""
        values = {**pair.values, "lead_ids": "NULL", "asked_lead_ids": "NULL", "table": pair.values["source"]}
        sql = self._statements
        tried = [sql.select_leads, sql.insert_whole_leads if whole_only else sql.insert_leads, sql.delete_leads]
        tried += [sql.try_insert_whole] if whole_only else [sql.try_insert, sql.update_leads]
        tried += [sql.delete_damaged_copies] if whole_only and not pair.target.transactional else []
        tried += [sql.touch_leads, sql.restore_leads] if on_cluster else []
        tried += [sql.stage_table] if whole_only and pair.differences else []
        problems = []
        for statement in tried:
            error = await self._try(transaction, statement.fill(values))
            if error is not None:
                problem = server_problem(error, grants)
                if problem is None:
                    raise error
                problems.append(problem)
        return list(dict.fromkeys(problems))

    async def _read(self, transaction: Transaction, statement: Statement, **values: str) -> DatabaseError | None:
        """Run a SELECT for two leads: PREPARE opens the tables, but does not notice that a file is missing. Nor does a SELECT
        for lead 0 alone where a statement asks for numbers above 0. Return the error, None if there is none."""
        return await self._failure(transaction.select(statement.fill({"lead_ids": "0, 1", **values})))

    async def _try(self, transaction: Transaction, statement: str) -> DatabaseError | None:
        """Have the server prepare a statement. Return the error, None if there is none."""
        return await self._failure(transaction.select(self._statements.prepare.fill({"statement": literal(statement)})))

    async def _failure(self, answer: Awaitable[object]) -> DatabaseError | None:
        """Return the error with which the server refuses, None if it does not refuse. Raises DatabaseError if it does not
        answer."""
        try:
            await answer
        except DatabaseError as error:
            if not error.from_server or (error.is_transient and error.code != NO_SUCH_COLUMN):
                raise
            return error
        return None


def _reason(error: DatabaseError) -> str:
    """Return what everybody may know about the error of a table."""
    return str(error) if error.code in UNUSABLE_TABLE else f"MariaDB says error {error.code}"
