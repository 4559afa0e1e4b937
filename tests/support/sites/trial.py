"""Test a site: serve it, call the API, and run the remedies if the service refuses it."""

from __future__ import annotations

import re
from typing import Any

from httpx2 import Response

from support.api import Api
from support.sites.columns import ARCHIVE, LIST
from support.sites.drawn import Call
from support.sites.model import Model
from support.sites.rows import Snapshot, same
from support.sites.server import STRICT, World
from support.sites.surroundings import ALL

MOST_REMEDIES = 20

VALUES_DO_NOT_ALLOW_IT = (1048, 1062, 1138, 1178, 1264, 1265, 1292, 1366, 1406, 1416, 1452, 1713, 4025, 4078)
"""Errors of an ALTER TABLE that would damage values or rows, or that MariaDB cannot run (a default that is too long, a
geometry in a partitioned table). An administrator has to remove the cause first."""

WITHOUT_REMEDY = (
    "is no table that keeps rows, but a view",
    " in vicidial_list and ",
    "with system versioning",
    "cannot be read",
)
"""Parts of the messages of /readyz about problems that no statement fixes.

Another such problem is an account that cannot connect to the database.
"""


class Trial:
    """The test of one site."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Model(world.site, world.reader, world.in_use, world.foreign_keys_act)
        self.errors: dict[str, int] = {}
        """The error number of each remedy of the last round; 0: success."""
        self.lead_ids = [lead.lead_id for lead in world.site.leads]
        everything = {"insert_leads": True, "delete_leads": True, "lead_ids": self.lead_ids}
        self.both_ways = [Call("archive", {**everything, "update_leads": True}), Call("dearchive", everything)]

    def run(self) -> str:
        """Run the trial, and return a short text of its result."""
        with self.world.served() as api:
            problems = self.world.problems(api)
            unsafe = self.model.unsafe(self.world.reader.read(), self.world.site.grants == ALL)
            assert problems or not unsafe, f"/readyz is green, and it is not safe: {unsafe}"
            answers, exercised = self.exercise(api, green=not problems)
            if not problems:
                return "accepted"
            assert not (exercised and set(answers) == {200}), f"/readyz is red, and both ways work: {problems}"
            refusal = " + ".join(sorted({in_general(problem["message"]) for problem in problems}))
            if self.apply_remedies(api):
                self.exercise(api, green=True)
                return f"refused, fixed: {refusal}"
        # A session keeps the variables with which it began. Only new connections see what a remedy has set.
        with self.world.served() as api:
            if self.apply_remedies(api):
                self.exercise(api, green=True)
                return f"refused, fixed: {refusal}"
            problems = self.world.problems(api)
            unknown = [each for each in problems if not self.is_without_remedy(each)]
            assert not unknown, f"the remedies fix nothing: {unknown}"
            return f"refused for good: {refusal}"

    def exercise(self, api: Api, green: bool) -> tuple[list[int], bool]:
        """Make the calls of the site, then archive all leads and bring them back.

        Return the statuses, and whether every statement changed rows.
        """
        statuses = []
        exercised = []
        for call in [*self.world.site.calls, *self.both_ways]:
            before = self.world.reader.read()
            there = [lead_id for lead_id in call.body["lead_ids"] if any(lead_id in rows for rows in before.rows.values())]
            if not there:
                continue
            asked = Call(call.operation, {**call.body, "lead_ids": there})
            if call in self.both_ways:
                self.compare(api, there, green)
            response = self.world.call(api, asked)
            after = self.world.reader.read()
            self.model.no_loss(before, after, asked)
            statuses.append(response.status_code)
            answer = response.json()
            assert response.status_code in ({200} if green else {200, 503}), unexpected(call.operation, response, green)
            if response.status_code == 200:
                self.model.moved(before, after, asked, answer)
                exercised += [f"{call.operation} {count}" for count in answer if count.endswith("_count") and answer[count]]
            elif "nothing was changed" in answer["message"]:
                assert before == after
        needed = [f"{way} {what}_count" for way in ("archive", "dearchive") for what in ("insert", "delete")]
        return statuses, {*needed, "archive update_count"} <= set(exercised)

    def compare(self, api: Api, lead_ids: list[int], green: bool) -> None:
        before = self.world.reader.read()
        response = self.world.call(api, Call("compare", {"lead_ids": lead_ids}))
        assert response.status_code in ({200} if green else {200, 503}), unexpected("compare", response, green)
        assert self.world.reader.read() == before
        if response.status_code == 200:
            self.model.compared(before, lead_ids, response.json()["leads"])

    def apply_remedies(self, api: Api) -> bool:
        """Run the remedies, and return whether /readyz became green."""
        self.world.execute(STRICT)
        for _ in range(MOST_REMEDIES):
            problems = self.world.problems(api)
            if not problems:
                return True
            remedies = [problem["remedy"] for problem in problems if problem["remedy"]]
            if not remedies:
                return False
            self.errors = {remedy: self.run_remedy(remedy) for remedy in remedies}
            if all(self.errors.values()):
                return False
        return False

    def run_remedy(self, remedy: str) -> int:
        """Run a remedy, and return its error number, or 0.

        A remedy may fail because another one has to run first, or has made it unnecessary.
        """
        before = self.world.reader.read()
        error = self.world.attempt("a remedy", remedy, expected=VALUES_DO_NOT_ALLOW_IT)
        self.keeps_all(before, self.world.reader.read(), remedy)
        return error

    def is_without_remedy(self, problem: dict[str, Any]) -> bool:
        if problem["remedy"]:
            return self.errors.get(problem["remedy"]) in VALUES_DO_NOT_ALLOW_IT
        return not self.world.can_connect() or (
            problem["remedy"] is None and any(words in problem["message"] for words in WITHOUT_REMEDY)
        )

    def keeps_all(self, before: Snapshot, after: Snapshot, remedy: str) -> None:
        """Assert that a remedy harms no lead."""
        for table, rows in before.rows.items():
            assert rows.keys() == after.rows[table].keys(), remedy
            for lead_id, row in rows.items():
                row_after = after.rows[table][lead_id]
                changed = [
                    name
                    for name, column in before.columns[table].items()
                    if name not in row_after or same(column, after.columns[table][name], row[name], row_after[name]) is False
                ]
                assert not changed, f"{remedy} changed {changed} of lead {lead_id} in {table}"
            other = after.columns[LIST if table == ARCHIVE else ARCHIVE]
            added = [name for name in after.columns[table] if name not in before.columns[table]]
            # A column that neither table had is added to the tables one after the other.
            # Vicidial copies rows by the position of their columns.
            for name in [each for each in added if self.world.reader.counterpart(each, other)]:
                places = [self.world.reader.place(name, columns) for columns in (after.columns[table], other)]
                assert places[0] == places[1], (
                    f"{remedy} puts it behind {places[0]}, the other table has it behind {places[1]}"
                )


def unexpected(operation: str, response: Response, green: bool) -> str:
    return f"{operation}: {response.status_code} {response.json()['message']}, while /readyz is {'green' if green else 'red'}"


def in_general(message: str) -> str:
    """Return a problem without the names that the site chose."""
    return re.sub(r"(column|table|key) .*|[`'].*[`']|^\S+ is [A-Z].*", "…", message)
