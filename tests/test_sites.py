"""Sites as administrators make them: on each of them the service archives and brings back without a loss, or refuses with the
remedy, which works.

LEAD_ARCHIVE_SITES sets how many are tried; scripts/chaos tries more. A failure prints the site as a script.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pymysql
import pytest
from api import Api
from conftest import ROOT, write_keys_file
from httpx2 import Response
from hypothesis import HealthCheck, given, note, settings
from mariadb import PrivateMariaDB
from site_columns import ARCHIVE, LIST, TYPES
from site_combinations import HUGE
from site_model import Model
from site_rows import Reader, Snapshot, same
from site_server import LENIENT, OPTIONS, STRICT, SiteServer, World
from site_surroundings import ALL
from sites import Call, Site, sites

SITES = int(os.environ.get("LEAD_ARCHIVE_SITES", "40"))

SHRINKING = 60
"""Seconds that a site that fails is made simpler."""

MOST_REMEDIES = 20

VALUES_DO_NOT_ALLOW_IT = (1048, 1062, 1138, 1264, 1265, 1292, 1366, 1406, 1416, 1452, 4025)
"""Errors of an ALTER TABLE that would have damaged values or rows: the administrator has to see to those first."""

WITHOUT_REMEDY = ("is no table that keeps rows, but a view",)
"""What /readyz says where no statement mends it. An account that may not connect to the database is beyond its help, too."""


@pytest.fixture(scope="module")
def site_server() -> Iterator[SiteServer]:
    scratch = ROOT / ".test"
    scratch.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder, PrivateMariaDB(Path(folder), OPTIONS) as mariadb:
        server = SiteServer(mariadb)
        yield server
        server.close()


def test_sites(site_server: SiteServer, tmp_path: Path) -> None:
    keys_file = write_keys_file(tmp_path)
    novelty = Novelty(SITES)

    # Hypothesis likes to vary what it has tried: it is asked for more, and what is not new is passed over.
    @settings(
        max_examples=SITES * 8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
    )
    @given(site=sites())
    def check(site: Site) -> None:
        if novelty.is_worth_trying(site):
            with novelty.trying(site):
                check_site(site_server, site, keys_file)

    try:
        check()
    finally:
        print(summary(site_server))


class Novelty:
    """Which sites are tried: as many as are wanted, no two with the same peculiarities.

    After a failure: any, as long as it may take to make the site simpler; then those that have failed only.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._tried: set[frozenset[str]] = set()
        self._failed: set[str] = set()
        self._deadline = 0.0

    def is_worth_trying(self, site: Site) -> bool:
        if self._failed:
            return time.monotonic() < self._deadline or repr(site) in self._failed
        return len(self._tried) < self._wanted and site.names not in self._tried

    @contextmanager
    def trying(self, site: Site) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._deadline = self._deadline or time.monotonic() + SHRINKING
            self._failed.add(repr(site))
            raise
        self._tried.add(site.names)


TWINS = [
    ("DOUBLE", "0.3e0", "0.30000000000000004e0"),
    ("DOUBLE", "0e0", "NULL"),
    ("FLOAT", "0.1e0", "0.10000001e0"),
    ("ENUM('','0','1')", "0", "''"),
    ("VARCHAR(5)", "'a'", "'a '"),
    ("VARCHAR(5)", "'a'", "'A'"),
    ("VARCHAR(5)", "''", "NULL"),
    ("JSON", "'{}'", "'{ }'"),
    ("DATE", "'0000-00-00'", "NULL"),
    ("TIMESTAMP", "'0000-00-00 00:00:00'", "NULL"),
    ("BIT(13)", "0", "NULL"),
    ("LONGBLOB", *HUGE),
]


@pytest.fixture
def every_type(site_server: SiteServer) -> Iterator[Reader]:
    """A database that only has vicidial_list, which a test makes."""
    reader = Reader(site_server.connection, "every_type")
    for statement in ("CREATE DATABASE every_type", "USE every_type", LENIENT):
        reader.execute(statement)
    yield reader
    reader.execute("DROP DATABASE every_type")


def make_one(reader: Reader, kind: str, values: Sequence[str]) -> None:
    reader.execute(f"CREATE OR REPLACE TABLE {LIST} (lead_id INT PRIMARY KEY, own {kind} NULL) ENGINE=MyISAM")
    for number, value in enumerate(values):
        reader.execute(f"INSERT INTO {LIST} VALUES ({number}, {value})")


@pytest.mark.parametrize(("kind", "one", "other"), TWINS, ids=lambda value: value[:40])
def test_the_model_tells_values_apart_that_look_alike(every_type: Reader, kind: str, one: str, other: str) -> None:
    make_one(every_type, kind, [one, other])
    seen = every_type.read()
    column = seen.columns[LIST]["own"]
    values = [row["own"] for row in seen.rows[LIST].values()]
    assert not same(column, column, *values)
    assert all(same(column, column, value, value) for value in values)


def test_every_type_and_value_that_a_site_may_have_is_one_that_mariadb_has(every_type: Reader) -> None:
    unknown = set()
    for kind, values in TYPES.items():
        try:
            make_one(every_type, kind, values)
        except pymysql.err.MySQLError:
            unknown.add(kind)
    assert unknown <= {"UUID", "INET4", "VECTOR(2)"}, "these came with MariaDB 10.7, 10.10 and 11.7"


def check_site(server: SiteServer, site: Site, keys_file: Path) -> None:
    with server.site(site, keys_file) as world:
        if not world.is_readable:
            server.outcomes["unreadable"] += 1
            return
        try:
            server.outcomes[Trial(world).run()] += 1
        except BaseException:
            note("\n".join(["This site as a script:", *world.script]))
            raise


class Trial:
    """What a site is put through."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Model(world.site, world.reader, world.in_use)
        self.errors: dict[str, int] = {}
        """What MariaDB said to the remedies of the last round; 0: nothing."""
        self.lead_ids = [lead.lead_id for lead in world.site.leads]
        everything = {"insert_leads": True, "delete_leads": True, "lead_ids": self.lead_ids}
        self.both_ways = [Call("archive", {**everything, "update_leads": True}), Call("dearchive", everything)]

    def run(self) -> str:
        """What came of it, in a word."""
        with self.world.served() as api:
            problems = self.world.problems(api)
            unsafe = self.model.unsafe(self.world.reader.read(), self.world.site.grants == ALL)
            assert problems or not unsafe, f"/readyz is green, and it is not safe: {unsafe}"
            answers, exercised = self.exercise(api, green=not problems)
            if not problems:
                return "accepted"
            assert not (exercised and set(answers) == {200}), f"/readyz is red, and both ways work: {problems}"
            refusal = " + ".join(sorted({in_general(problem["message"]) for problem in problems}))
            if self.mend(api):
                self.exercise(api, green=True)
                return f"refused, mended: {refusal}"
        # Variables of a session are as they were when it began: what the remedy set is seen by new connections.
        with self.world.served() as api:
            if self.mend(api):
                self.exercise(api, green=True)
                return f"refused, mended: {refusal}"
            problems = self.world.problems(api)
            unknown = [each for each in problems if not self.is_without_remedy(each)]
            assert not unknown, f"the remedies mend nothing: {unknown}"
            return f"refused for good: {refusal}"

    def exercise(self, api: Api, green: bool) -> tuple[list[int], bool]:
        """The calls of the site, then all leads there and back. The statuses, and whether every statement was needed."""
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

    def mend(self, api: Api) -> bool:
        """Run the remedies until /readyz is green. Whether it is."""
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
        """The number of the error, if there is one: it may be in the way of another remedy, or not be needed any more."""
        before = self.world.reader.read()
        error = self.world.attempt("a remedy", remedy, expected=VALUES_DO_NOT_ALLOW_IT)
        self.keeps_all(before, self.world.reader.read(), remedy)
        return error

    def is_without_remedy(self, problem: dict[str, Any]) -> bool:
        if problem["remedy"]:
            return self.errors.get(problem["remedy"]) in VALUES_DO_NOT_ALLOW_IT
        return not self.world.can_connect() or any(words in problem["message"] for words in WITHOUT_REMEDY)

    def keeps_all(self, before: Snapshot, after: Snapshot, remedy: str) -> None:
        """A remedy harms no lead."""
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
            for name in added:  # Vicidial copies rows by the position of their columns
                places = [self.world.reader.place(name, columns) for columns in (after.columns[table], other)]
                assert places[0] == places[1], (
                    f"{remedy} puts it behind {places[0]}, the other table has it behind {places[1]}"
                )


def unexpected(operation: str, response: Response, green: bool) -> str:
    return f"{operation}: {response.status_code} {response.json()['message']}, while /readyz is {'green' if green else 'red'}"


def in_general(message: str) -> str:
    """A problem without the names that the site gave."""
    return re.sub(r"(column|table|key) .*|[`'].*[`']|^\S+ is [A-Z].*", "…", message)


def summary(server: SiteServer) -> str:
    total = sum(server.outcomes.values()) or 1
    lines = [f"{count / total:6.1%}  {outcome}" for outcome, count in server.outcomes.most_common()]
    refused = [f"{count:6}  {name}" for name, count in server.refused.most_common(20)]
    return "\n".join([f"{total} sites", *lines, "MariaDB refused of them:", *refused])
