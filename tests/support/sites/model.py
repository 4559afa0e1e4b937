"""A model of what a request on a site may and must do. It compares the rows before the request with those after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.sites.columns import ARCHIVE, LIST
from support.sites.drawn import Call, Site
from support.sites.rows import Column, Reader, Row, Snapshot, same

Verdicts = dict[str, bool | None]
"""For each column of the source: whether the other row has the same value. None: uncertain."""


FOREIGN_KEY = "a foreign key that changes other rows"

UNSAFE = {
    "an engine that is not known to keep rows": "SELECT 1 FROM information_schema.tables WHERE table_schema = '<db>'"
    f" AND table_name IN ('{LIST}', '{ARCHIVE}') AND COALESCE(engine, '') NOT IN ('InnoDB', 'MyISAM', 'Aria')",
    FOREIGN_KEY: "SELECT 1 FROM information_schema.referential_constraints"
    f" WHERE unique_constraint_schema = '<db>' AND referenced_table_name IN ('{LIST}', '{ARCHIVE}')"
    " AND (delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', 'NO ACTION'))",
    "a binary log of statements": "SELECT 1 FROM DUAL WHERE @@log_bin AND @@global.binlog_format = 'STATEMENT'",
    "packets that are too small": "SELECT 1 FROM DUAL WHERE @@global.max_allowed_packet < 1048576",
}
"""Reasons to refuse a site, each with a query that returns rows if the reason applies."""


@dataclass(frozen=True)
class Model:
    """The expected results on a site."""

    site: Site
    reader: Reader
    in_use: Mapping[int, frozenset[str]]
    """For each lead in use, the table.column that show it. Empty if LEADS_IN_USE allows to archive leads in use."""
    foreign_keys_act: Callable[[], bool]
    """Whether foreign keys have an effect: the account sees one of the two tables' keys, so the checks are on."""

    def verdicts(self, seen: Snapshot, source: str, target: str, row: Row, copy: Row) -> Verdicts:
        found: Verdicts = {}
        for name, column in seen.columns[source].items():
            if column.is_counter:
                continue
            other = self.reader.counterpart(name, seen.columns[target])
            found[name] = other is not None and same(column, other, row[name], copy[other.name])
        return found

    def reused(self, seen: Snapshot, row: Row | None, copy: Row | None) -> bool | None:
        """Return whether the id was reused for another lead. None: uncertain."""
        if row is None or copy is None:
            return False
        verdicts = self.verdicts(seen, LIST, ARCHIVE, row, copy)
        told = []
        for name in ("entry_date", "phone_number"):
            values = [value for each in (row, copy) for column, value in each.items() if column.lower() == name]
            if len(values) < 2 or (name == "entry_date" and None in {value.raw for value in values}):
                return False
            verdict = next(verdict for column, verdict in verdicts.items() if column.lower() == name)
            told.append(verdict)
        return False if True in told else (True if told == [False, False] else None)

    def unsafe(self, seen: Snapshot, all_privileges: bool) -> list[str]:
        """Return the reasons for which the service must refuse the site."""
        why = [name for name, query in UNSAFE.items() if self.reader.execute(query.replace("<db>", self.reader.database))]
        if FOREIGN_KEY in why and not self.foreign_keys_act():
            why.remove(FOREIGN_KEY)
        if not all_privileges and self.reader.execute("SELECT 1 FROM DUAL WHERE @@global.read_only"):
            why.append("the server is read-only for the account")
        largest = {table: largest_lead_id(seen.columns[table]) for table in (LIST, ARCHIVE)}
        if largest[LIST] is None or largest[LIST] != largest[ARCHIVE]:
            why.append(f"lead ids reach {largest}")
        for table, other in ((LIST, ARCHIVE), (ARCHIVE, LIST)):
            why += [
                f"{other} lacks {name}"
                for name, column in seen.columns[table].items()
                if column.generated is None
                and not column.is_counter
                and self.reader.counterpart(name, seen.columns[other]) is None
            ]
        return why

    def no_loss(self, before: Snapshot, after: Snapshot, call: Call | None) -> None:
        """Assert, for any answer, that no lead is lost, none appears, and nothing else is changed."""
        assert not before.others - after.others, f"other tables lost {before.others - after.others}"
        assert after.twice <= before.twice, f"leads are in a table twice: {after.twice}"
        asked = set(call.body["lead_ids"]) if call else set()
        source, target = tables_of(call)
        may_refresh = call is not None and call.body.get("update_leads", False)
        for table in (LIST, ARCHIVE):
            for lead_id in before.rows[table].keys() | after.rows[table].keys():
                if lead_id not in asked:
                    changed = before.rows[table].get(lead_id) != after.rows[table].get(lead_id)
                    assert not changed, f"lead {lead_id}, which nobody asked for, was changed in {table}"
        for lead_id in sorted(asked):
            row, row_after, copy, copy_after = rows_of(before, after, source, target, lead_id)
            if row_after is not None:
                assert row_after == row, f"lead {lead_id} was changed in {source}, in {differences(row, row_after)}"
            elif row is not None:
                assert copy_after is not None, f"lead {lead_id} is in neither table"
                lost = [name for name, kept in self.verdicts(after, source, target, row, copy_after).items() if kept is False]
                assert not lost, f"lead {lead_id} lost its {lost}"
            if copy is not None and copy_after != copy:
                assert copy_after is not None, f"lead {lead_id} was deleted from {target}"
                assert may_refresh, f"lead {lead_id} was changed in {target}, in {differences(copy, copy_after)}"
                assert row is not None, f"lead {lead_id} was changed in {target}, in {differences(copy, copy_after)}"
            if copy is None and copy_after is not None:
                assert row is not None, f"lead {lead_id} appeared in {target}"

    def moved(self, before: Snapshot, after: Snapshot, call: Call, answer: dict[str, Any]) -> None:
        """Assert that a 200 reports what happened, and that everything possible was done."""
        source, target = tables_of(call)
        expected: dict[str, Any] = dict.fromkeys(("select_count", "insert_count", "update_count", "delete_count"), 0)
        remaining, reused, may_be_reused = [], [], []
        for lead_id in sorted(call.body["lead_ids"]):
            row, row_after, copy, copy_after = rows_of(before, after, source, target, lead_id)
            again = self.reused(before, *((row, copy) if source == LIST else (copy, row)))
            reused += [lead_id] if again else []
            may_be_reused += [lead_id] if again is None else []
            self._lead(before, call, lead_id, row, row_after, copy, copy_after, again)
            expected["select_count"] += row is not None
            expected["insert_count"] += copy is None and copy_after is not None
            expected["update_count"] += copy is not None and copy != copy_after
            expected["delete_count"] += row is not None and row_after is None
            if call.body["delete_leads"] and row_after is not None:
                remaining.append(lead_id)
        if call.operation == "dearchive":
            del expected["update_count"]
        expected["remaining_lead_ids"] = remaining
        told = {name: answer[name] for name in expected}
        made = " ".join(statement for each in self.site.peculiarities for statement in each.early)
        if "SYSTEM VERSIONING" in made or "Aria" in made:
            # MariaDB counts an UPDATE that stores the same values if the table has system versioning or is an Aria table.
            expected["update_count"] = max(expected.get("update_count", 0), told.get("update_count", 0))
            expected = {name: expected[name] for name in told}
        assert told == expected, f"the answer says {told}, and what happened is {expected}"
        assert set(reused) <= set(answer["reused_lead_ids"]) <= {*reused, *may_be_reused}, f"reused are {reused}"

    def _lead(
        self,
        seen: Snapshot,
        call: Call,
        lead_id: int,
        row: Row | None,
        row_after: Row | None,
        copy: Row | None,
        copy_after: Row | None,
        reused: bool | None,
    ) -> None:
        source, target = tables_of(call)
        body = call.body
        kept = source == LIST and body["delete_leads"] and lead_id in self.in_use
        if row is None or kept or reused:
            why = "reused" if reused else "in use"
            assert (row_after, copy_after) == (row, copy), f"lead {lead_id} is {why} and was not left alone"
            return
        excused = lead_id in self.site.stuck(call.operation, self.foreign_keys_act()) or reused is None
        if copy is None and not body["insert_leads"]:
            assert copy_after is None, f"lead {lead_id} was inserted"
        if copy is not None and not body.get("update_leads", False):
            assert copy_after == copy, f"lead {lead_id} was updated"
        if copy_after is not None and copy_after != copy:
            self._copied(seen, call, lead_id, row, copy_after)
        elif not excused and body["insert_leads"] and copy is None:
            fits = source == LIST or self._holds_all(seen, source, target)
            assert not fits, f"lead {lead_id} could be inserted, and was not"
        elif not excused and body.get("update_leads", False) and copy is not None:
            stale = [
                name for name in self._certain(seen, source, target) if not self._same(seen, source, target, row, copy, name)
            ]
            assert not stale or self.site.alters(target), f"lead {lead_id} could be updated, and was not, in {stale}"
        if row_after is not None and body["delete_leads"] and copy_after is not None and not excused:
            verdicts = self.verdicts(seen, source, target, row, copy_after)
            assert not all(verdicts.values()), f"lead {lead_id} could be deleted, and was not"

    def _copied(self, seen: Snapshot, call: Call, lead_id: int, row: Row, copy: Row) -> None:
        source, target = tables_of(call)
        if self.site.alters(target) and target == ARCHIVE:  # but a lead that is brought back must not be altered
            return
        damaged = [
            name for name in self._certain(seen, source, target) if not self._same(seen, source, target, row, copy, name)
        ]
        if target == LIST:  # the dialler would use damaged data
            damaged += [name for name, kept in self.verdicts(seen, source, target, row, copy).items() if kept is False]
        assert not damaged, f"lead {lead_id} was damaged in {target}, in {damaged}"

    def _same(self, seen: Snapshot, source: str, target: str, row: Row, copy: Row, name: str) -> bool | None:
        return self.verdicts(seen, source, target, row, copy)[name]

    def _certain(self, seen: Snapshot, source: str, target: str) -> list[str]:
        """Return the columns of the source whose values the target can certainly store. Skip generated columns."""
        columns = seen.columns[source]
        return [name for name in self._alike(seen, source, target) if columns[name].generated is None]

    def _alike(self, seen: Snapshot, source: str, target: str) -> list[str]:
        return [
            name
            for name, column in seen.columns[source].items()
            if (other := self.reader.counterpart(name, seen.columns[target])) is not None and other.holds_all_of(column)
        ]

    def _holds_all(self, seen: Snapshot, source: str, target: str) -> bool:
        return len(self._alike(seen, source, target)) == len(seen.columns[source]) == len(seen.columns[target])

    def compared(self, seen: Snapshot, lead_ids: list[int], leads: list[dict[str, Any]]) -> None:
        """Assert that a comparison reports what the tables hold."""
        assert [lead["lead_id"] for lead in leads] == lead_ids
        for lead in leads:
            lead_id = lead["lead_id"]
            row, copy = seen.rows[LIST].get(lead_id), seen.rows[ARCHIVE].get(lead_id)
            assert (lead["in_list"], lead["in_archive"]) == (row is not None, copy is not None), lead
            verdicts = self.verdicts(seen, LIST, ARCHIVE, row, copy) if row is not None and copy is not None else {}
            different = {name for name, kept in verdicts.items() if kept is False}
            unsure = {name for name, kept in verdicts.items() if kept is None}
            told = lead["different_columns"]
            assert different <= set(told) <= different | unsure, f"lead {lead_id} differs in {different}, not {told}"
            assert told == [name for name in seen.columns[LIST] if name in told], "the order is not that of the table"
            assert lead["identical"] == (bool(verdicts) and not told), lead
            reused = self.reused(seen, row, copy)
            assert reused is None or lead["reused"] == reused, lead
            used_by = sorted(self.in_use.get(lead_id, ())) if row is not None else []
            assert sorted(lead["used_by"]) == used_by, f"lead {lead_id} is used by {used_by}: {lead}"
            assert lead["in_use"] == bool(used_by), lead


BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
LARGEST_LEAD_ID = 2**32 - 1
"""The largest lead_id that the API accepts."""


def largest_lead_id(columns: Mapping[str, Column]) -> int | None:
    """Return the largest lead_id that a table with these columns can store and the API accepts. None: it is not an integer."""
    column = next((column for name, column in columns.items() if name.lower() == "lead_id"), None)
    if column is None or column.data_type not in BITS:
        return None
    bits: int = BITS[column.data_type] - ("unsigned" not in column.column_type)
    most: int = 2**bits - 1
    return min(most, LARGEST_LEAD_ID)


def tables_of(call: Call | None) -> tuple[str, str]:
    """Return the names of the source table and the target table."""
    return (ARCHIVE, LIST) if call and call.operation == "dearchive" else (LIST, ARCHIVE)


def rows_of(
    before: Snapshot, after: Snapshot, source: str, target: str, lead_id: int
) -> tuple[Row | None, Row | None, Row | None, Row | None]:
    return (
        before.rows[source].get(lead_id),
        after.rows[source].get(lead_id),
        before.rows[target].get(lead_id),
        after.rows[target].get(lead_id),
    )


def differences(row: Row | None, other: Row | None) -> list[str]:
    row, other = row or {}, other or {}
    return [name for name in row if row[name] != other.get(name)]
