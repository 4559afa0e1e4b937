"""What a batch consists of: the seconds that each statement takes on a connection that does nothing else."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median

from mariadb import PrivateMariaDB

from benchmark.contestants import Batches
from benchmark.data import STATES, Database, batches
from benchmark.progress import progress
from benchmark.script import Script
from benchmark.sizes import BATCH

Anatomy = dict[str, dict[str, float]]
"""Seconds: a median over all batches, by state and by statement."""

SELECTS = ("select live ids", "select archived ids")
LIMIT = ("insert-ignore", "update-join", "compare-delete")


def measure_anatomy(mariadb: PrivateMariaDB, database: Database, script: Script, leads: int) -> Anatomy:
    progress("the time of each statement")
    anatomy = {}
    for state in STATES:
        database.reset(state, leads)
        anatomy[state] = time_statements(mariadb, database, script, batches(range(1, leads + 1), BATCH))
    return anatomy


def time_statements(mariadb: PrivateMariaDB, database: Database, script: Script, all_batches: Batches) -> dict[str, float]:
    seconds = defaultdict(list)
    with mariadb.connect(database.name) as connection, connection.cursor() as cursor:

        def run(name: str, *statements: str) -> None:
            started = time.perf_counter()
            for statement in statements:
                cursor.execute(statement)
            seconds[name].append(time.perf_counter() - started)

        cursor.execute(script.session)
        for lead_ids in all_batches:
            ids = ", ".join(map(str, lead_ids))
            run("begin", "START TRANSACTION")
            for name in (*SELECTS, *LIMIT):
                run(name, script.statement(name, ids))
                if name == SELECTS[-1]:
                    run("read definitions", "SHOW CREATE TABLE vicidial_list", "SHOW CREATE TABLE vicidial_list_archive")
            run("commit", "COMMIT")
    return {name: median(values) for name, values in seconds.items()}
