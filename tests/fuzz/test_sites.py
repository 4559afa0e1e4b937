"""Sites as administrators set them up: on each, the service archives and brings back leads without loss, or refuses with a
remedy that works.

LEAD_ARCHIVE_SITES sets the number of sites. scripts/chaos tries more. A failure prints the site as an SQL script.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pymysql
import pytest
from hypothesis import HealthCheck, given, note, settings
from mariadb import PrivateMariaDB
from support.paths import databases
from support.settings import write_keys_file
from support.sites.columns import LIST, TYPES
from support.sites.combinations import HUGE
from support.sites.drawn import Site, sites
from support.sites.rows import Reader, same
from support.sites.server import LENIENT, OPTIONS, SiteServer
from support.sites.trial import Trial

SITES = int(os.environ.get("LEAD_ARCHIVE_SITES", "12" if os.environ.get("LEAD_ARCHIVE_BRIEF") else "40"))

SHRINKING = 60
"""Seconds to simplify a site that fails."""


@pytest.fixture(scope="module")
def site_server() -> Iterator[SiteServer]:
    with (
        TemporaryDirectory(dir=databases(), prefix="lead-archive-") as folder,
        PrivateMariaDB(Path(folder), OPTIONS) as mariadb,
    ):
        server = SiteServer(mariadb)
        yield server
        server.close()


def test_a_site_is_served_without_loss_or_refused_with_a_remedy_that_works(site_server: SiteServer, tmp_path: Path) -> None:
    keys_file = write_keys_file(tmp_path)
    novelty = Novelty(SITES)

    # Hypothesis often varies earlier sites: request more examples, and skip those that are not new.
    @settings(
        max_examples=SITES * 8,
        deadline=None,
        # Use the same sites in each run to test a change, and new ones in each run to search for failures.
        derandomize="LEAD_ARCHIVE_SITES" not in os.environ,
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
    """Decide which sites to try: the requested number, no two with the same peculiarities.

    After a failure, try any site for as long as simplifying may take, and then only sites that have failed.
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
    """A database with only vicidial_list, which a test creates."""
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


def summary(server: SiteServer) -> str:
    total = sum(server.outcomes.values()) or 1
    lines = [f"{count / total:6.1%}  {outcome}" for outcome, count in server.outcomes.most_common()]
    refused = [f"{count:6}  {name}" for name, count in server.refused.most_common(20)]
    return "\n".join([f"{total} sites", *lines, "MariaDB refused of them:", *refused])
