"""Two services on two nodes of a Galera cluster: failing nodes and writes on other nodes lose no lead."""

from __future__ import annotations

import random
import subprocess
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from support.api import Api
from support.clients import Batch, Clients
from support.databases import create_database, migrate
from support.dialler import GONE, Dialler, assert_no_lead_is_lost
from support.galera import PATIENCE, Cluster, gate
from support.paths import SCRATCH
from support.process import SLACK, ServiceProcess
from support.settings import write_keys_file
from support.tables import Tables
from support.waiting import wait_until

REQUEST_TIMEOUT = 4
"""Seconds, less than a cluster needs to exclude a node that does not answer."""

CLIENT_TIMEOUT = REQUEST_TIMEOUT + 5 + SLACK
"""Seconds after which a client gives up a request."""

RETURN_TIMEOUT = 10
"""Seconds within which a service must serve again when its node is back."""

LEADS = [range(first, first + 500) for first in (1, 10_001, 20_001)]
"""The first leads of the dialler at each node. It adds leads with the ids after these."""

DATABASE = "asterisk"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder:
        with Cluster(Path(folder)) as cluster:
            create_database(cluster.nodes[0], DATABASE)
            migrate(cluster.nodes[0].url(DATABASE), "head")
            yield cluster
        assert subprocess.run(["pgrep", "--full", folder], check=False).returncode == 1  # nothing of it is left


@pytest.fixture(scope="module")
def services(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    """Two services: one on the first node, one on the second."""
    settings = {
        "API_KEYS_FILE": str(write_keys_file(tmp_path_factory.mktemp("keys"))),
        "OFFICE_HOURS": "none",
        "REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(ServiceProcess({**settings, "DATABASE_URL": node.url(DATABASE)})) for node in cluster.nodes[:2]
        ]


@pytest.fixture(autouse=True)
def no_node_ends(cluster: Cluster) -> Iterator[None]:
    """Say why a node has ended during a test, and start it again for the next one."""
    yield
    for end_of_log in cluster.wait_until_in_step():
        pytest.fail(f"a node has ended and was started again. {end_of_log}")


@pytest.fixture
def apis(services: list[ServiceProcess]) -> Iterator[list[Api]]:
    with ExitStack() as stack:
        yield [Api(stack.enter_context(client_of(service))) for service in services]


@pytest.fixture
def tables(cluster: Cluster) -> Iterator[list[Tables]]:
    """The tables on each node, empty at first."""
    with cluster.nodes[0].connect(DATABASE) as connection, connection.cursor() as cursor:
        for table in ("vicidial_list", "vicidial_list_archive"):
            cursor.execute(f"DELETE FROM {table}")
    tables = tables_of(cluster)
    yield tables
    for seen in tables:
        seen.close()


def tables_of(cluster: Cluster) -> list[Tables]:
    """Return the tables of each node. Each query waits until the node has applied what the others committed."""
    tables = [Tables(node, DATABASE) for node in cluster.nodes]
    for seen in tables:
        seen.execute("SET SESSION wsrep_sync_wait = 15")
    return tables


def client_of(service: ServiceProcess) -> httpx2.Client:
    # A new connection for each request: an idle one may be closed by the service just when it is used again.
    no_reuse = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(base_url=service.base_url, timeout=CLIENT_TIMEOUT, limits=no_reuse)


def retries(services: list[ServiceProcess]) -> int:
    """Return how often the services retried a batch because of a conflict with another transaction."""
    lines = [line for service in services for line in service.log_lines if line["event"] == "transaction retried"]
    return sum("Deadlock" in line["error"] for line in lines)


def draw(rng: random.Random) -> Batch:
    """Return leads of every dialler. Those of two batches often overlap."""
    first = rng.randrange(len(LEADS[0]) - 40)
    return "archive_all", [lead for leads in LEADS for lead in rng.sample(leads[first : first + 40], 7)]


# --- What happens to a node --------------------------------------------------------------------------------------------


def tables_are_altered(cluster: Cluster, _: list[Api]) -> None:
    for table in ("vicidial_list_archive", "vicidial_list"):
        time.sleep(1)
        cluster.nodes[2].execute(f"ALTER TABLE {DATABASE}.{table} ADD COLUMN site VARCHAR(9) DEFAULT 'x'")
    time.sleep(1)


def a_node_is_killed(cluster: Cluster, apis: list[Api]) -> None:
    cluster.nodes[0].kill()
    one_node_is_missed(cluster, *apis)
    cluster.nodes[0].start_again()


def a_node_is_frozen(cluster: Cluster, apis: list[Api]) -> None:
    with cluster.nodes[0].frozen():
        one_node_is_missed(cluster, *apis)


def a_node_is_cut_off(cluster: Cluster, apis: list[Api]) -> None:
    with cluster.nodes[1].cut_off():
        one_node_is_missed(cluster, *reversed(apis))


def one_node_is_missed(cluster: Cluster, missing: Api, other: Api) -> None:
    """Wait until the cluster has excluded the node. Assert that the service on it reports that it is not ready."""
    wait_until(lambda: cluster.nodes[2].status("wsrep_cluster_size") == "2", PATIENCE)
    wait_until(lambda: other.get("/readyz").status_code == 200, RETURN_TIMEOUT + SLACK)
    assert missing.get("/readyz").status_code == 503
    assert missing.archive_all([LEADS[0][0]]).status_code == 503
    assert other.get("/readyz").status_code == 200


# The dialler's connections to a node that is frozen or killed break in the middle of an answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default:a node has ended")
@pytest.mark.parametrize("happens", [tables_are_altered, a_node_is_killed, a_node_is_frozen, a_node_is_cut_off])
def test_no_lead_is_lost_whatever_happens_to_a_node(
    cluster: Cluster,
    services: list[ServiceProcess],
    apis: list[Api],
    tables: list[Tables],
    happens: Callable[[Cluster, list[Api]], None],
) -> None:
    for leads in LEADS:
        tables[0].live(*leads)
        tables[0].archived(*leads[::3], status="NEW")
    retries_before, started = retries(services), datetime.now(UTC).isoformat()
    diallers = [Dialler(node, DATABASE, leads, threads=2) for node, leads in zip(cluster.nodes, LEADS, strict=True)]
    clients = [Clients(service, draw, threads=3, timeout=CLIENT_TIMEOUT, keep_alive=False) for service in services]
    with ExitStack() as stack:
        for dialler in diallers:
            stack.enter_context(dialler)
        for running in clients:
            stack.enter_context(running)
        time.sleep(1)
        happens(cluster, apis)
        # MariaDB may end itself when it returns to the cluster. A warning at the end of pytest's output says why.
        for end_of_log in cluster.wait_until_in_step():
            warnings.warn(f"a node has ended and was started again. {end_of_log}", stacklevel=1)
        wait_until(lambda: all(api.get("/readyz").status_code == 200 for api in apis), RETURN_TIMEOUT + SLACK)

    first, *others = tables = tables_of(cluster)
    live, _ = first.both()
    assert all(other.both() == first.both() for other in others)
    bounds = [assert_no_lead_is_lost(first, dialler) for dialler in diallers]
    at_least, at_most = (sum(bound) for bound in zip(*bounds, strict=True))
    for seen in tables:
        seen.close()
    for running in clients:
        assert running.problems == []
        # 404: a lead that a dialler itself deleted.
        assert running.answers.keys() <= {"200", "404", "503"}
        assert running.answers["200"] > 0
        assert running.slowest < REQUEST_TIMEOUT + 1 + SLACK
    # The leads that a batch with a 503 moved are not counted.
    deleted = sum(running.deleted for running in clients)
    assert 0 < deleted <= at_most, claims_too_many(services, started, live, diallers)
    if not any(running.answers["503"] for running in clients):
        assert deleted >= at_least
    assert retries(services) > retries_before


def claims_too_many(services: list[ServiceProcess], since: str, live: Collection[int], diallers: list[Dialler]) -> str:
    """Return the claims of services to have deleted a lead that is there, or that somebody else claims to have deleted."""
    claims: dict[int, list[str]] = defaultdict(list)
    for number, service in enumerate(services):
        for line in service.log_lines:
            for lead_id in line.get("deleted_lead_ids", ()) if line["timestamp"] > since else ():
                claims[lead_id].append(f"service {number} at {line['timestamp']}, request {line['request_id']}")
    by_dialler = {lead_id for dialler in diallers for lead_id, state in dialler.state.items() if state == GONE}
    return "\n".join(
        f"{lead_id}: {who}; live: {lead_id in live}, deleted by the dialler: {lead_id in by_dialler}"
        for lead_id, who in claims.items()
        if len(who) > 1 or lead_id in live or lead_id in by_dialler
    )


# --- What another node commits at the same moment ----------------------------------------------------------------------


ArchiveWhile = Callable[..., dict[str, Any]]


@pytest.fixture
def archive_while(cluster: Cluster, apis: list[Api]) -> Iterator[ArchiveWhile]:
    """archive_while(lead_ids, what, at_insert=None) -> the answer of the first service. Just before its COMMIT, another node
    commits the statement `what`, or the changes of the function; while it inserts lead 1, the statement at_insert."""
    node, other, _ = cluster.nodes
    gates = {"delete": "BEFORE DELETE ON {}.vicidial_list FOR EACH ROW {}"}
    gates["insert"] = "BEFORE INSERT ON {}.vicidial_list_archive FOR EACH ROW IF NEW.lead_id = 1 THEN {}; END IF"
    for name, trigger in gates.items():
        cluster.execute(f"CREATE TRIGGER {DATABASE}.at_{name} {trigger.format(DATABASE, gate(name))}")

    def execute(what: str) -> None:
        with other.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(what)

    def wait_for_a_gate() -> None:
        sleeping = "SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'"
        wait_until(lambda: node.execute(sleeping), PATIENCE)

    def archive(lead_ids: list[int], what: str | Callable[[], Any], at_insert: str | None = None) -> dict[str, Any]:
        with ExitStack() as held_back, ThreadPoolExecutor(1) as executor:
            with node.locked("delete"):
                with node.locked("insert") if at_insert else nullcontext():
                    answer = executor.submit(apis[0].archive_all, lead_ids)
                    if at_insert:
                        wait_for_a_gate()
                        execute(at_insert)
                        time.sleep(0.5)  # until the node has it
                time.sleep(0.2 if at_insert else 0)
                wait_for_a_gate()
                held_back.enter_context(cluster.held_back(node))
                if callable(what):
                    what()
                else:
                    execute(what)
            wait_until(lambda: node.execute("SELECT 1 FROM information_schema.processlist WHERE info = 'COMMIT'"), PATIENCE)
            time.sleep(0.2)  # until it has been sent to the other nodes
            held_back.close()
            response = answer.result()
        assert response.status_code == 200
        body: dict[str, Any] = response.json()
        return body

    yield archive
    for name in gates:
        cluster.execute(f"DROP TRIGGER {DATABASE}.at_{name}")


def test_a_conflict_at_commit_changes_nothing_and_is_tried_again(
    cluster: Cluster,
    services: list[ServiceProcess],
    tables: list[Tables],
    archive_while: ArchiveWhile,
) -> None:
    tables[0].live(1)
    retries_before = retries(services)
    conflicts_before = int(cluster.nodes[0].status("wsrep_local_cert_failures"))

    answer = archive_while([1], "UPDATE vicidial_list SET comments = 'changed' WHERE lead_id = 1")

    assert (answer["insert_count"], answer["delete_count"]) == (1, 1)
    assert retries(services) == retries_before + 1
    assert int(cluster.nodes[0].status("wsrep_local_cert_failures")) == conflicts_before + 1
    for seen in tables:
        assert seen.ids() == ([], [1])
        assert seen.execute("SELECT comments FROM vicidial_list_archive") == [(b"changed",)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM vicidial_list_archive WHERE lead_id = 1",
        "UPDATE vicidial_list_archive SET comments = '' WHERE lead_id = 1",
    ],
)
def test_the_archived_row_is_deleted_or_edited_on_another_node(
    tables: list[Tables], archive_while: ArchiveWhile, statement: str
) -> None:
    tables[0].live(1, comments="the last")
    tables[0].archived(1, comments="the last")

    archive_while([1], statement)

    for seen in tables:
        assert seen.ids() == ([], [1])
        assert seen.execute("SELECT comments FROM vicidial_list_archive") == [(b"the last",)]


def test_a_lead_is_brought_back_on_another_node(
    apis: list[Api],
    tables: list[Tables],
    archive_while: ArchiveWhile,
) -> None:
    """Both tables have the lead. Each service deletes it from one of them, since the other one has it."""
    tables[0].live(1)
    tables[0].archived(1)
    brought_back: list[dict[str, Any]] = []

    archive_while([1], lambda: brought_back.append(apis[1].dearchive_all([1]).json()))

    assert brought_back[0]["delete_count"] == 1
    # The dearchive committed first, so the archive was retried, and archived the lead again.
    for seen in tables:
        assert seen.ids() == ([], [1])


def test_a_batch_that_is_repeated_on_another_node_is_known_there(
    cluster: Cluster, apis: list[Api], tables: list[Tables]
) -> None:
    with ThreadPoolExecutor(1) as executor, cluster.held_back(cluster.nodes[1]):
        tables[0].live(1)
        assert apis[0].archive_all([1]).json()["delete_count"] == 1
        repeated = executor.submit(apis[1].archive_all, [1])
        time.sleep(0.5)
        assert not repeated.done()
    assert (repeated.result().status_code, repeated.result().json()["select_count"]) == (200, 0)


def test_a_table_that_is_not_copied_to_the_other_nodes_takes_no_leads(apis: list[Api], tables: list[Tables]) -> None:
    tables[0].live(1)
    tables[0].execute("ALTER TABLE vicidial_list_archive ENGINE = MyISAM")
    try:
        status = apis[0].archive_all([1]).status_code
        assert [seen.ids() for seen in tables] == [([1], [])] * 3
        assert status == 503
        assert apis[0].get("/readyz").json()["problems"][0]["remedy"] == "ALTER TABLE `vicidial_list_archive` ENGINE = InnoDB"
    finally:
        for seen in tables:
            seen.execute("TRUNCATE vicidial_list_archive")
        tables[0].execute("ALTER TABLE vicidial_list_archive ENGINE = InnoDB")


# --- What is written so that other nodes conflict, and reset ----------------------------------------------------------


@pytest.fixture
def on_update(cluster: Cluster) -> Iterator[None]:
    """A column of the site in both tables, with ON UPDATE CURRENT_TIMESTAMP."""
    both = [f"{DATABASE}.{table}" for table in ("vicidial_list", "vicidial_list_archive")]
    for table in both:
        cluster.execute(f"ALTER TABLE {table} ADD COLUMN synced TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP")
    yield
    for table in both:
        cluster.execute(f"ALTER TABLE {table} DROP COLUMN synced")


@pytest.mark.usefixtures("on_update")
@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_a_lead_that_is_in_both_tables_already_is_left_as_it_is(apis: list[Api], tables: list[Tables], way: str) -> None:
    """Columns with ON UPDATE CURRENT_TIMESTAMP keep their values too."""
    for insert in (tables[0].live, tables[0].archived):
        insert(1, synced="2020-02-02 02:02:02")
        insert(2, synced=None)
        insert(3, modify_date="2000-01-01 00:00:00", synced="2000-01-01 00:00:00")
    before, same = tables[0].both()
    assert before == same

    answer = (apis[0].archive_all if way == "archive" else apis[0].dearchive_all)([1, 2, 3]).json()

    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 3, [])
    assert answer.get("update_count", 0) == 0
    for seen in tables:
        assert seen.both() == (({}, before) if way == "archive" else (before, {}))


def test_a_copy_that_cannot_be_kept_from_other_nodes_is_not_relied_on(
    cluster: Cluster, apis: list[Api], tables: list[Tables]
) -> None:
    """A trigger refuses the UPDATE that would lock the copy: another node could delete it at the same moment."""
    for insert in (tables[0].live, tables[0].archived):
        insert(1, 2, 3)
    before, _ = tables[0].both()
    cluster.execute(
        f"CREATE TRIGGER {DATABASE}.refuse BEFORE UPDATE ON {DATABASE}.vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id = 2 THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    try:
        answer = apis[0].archive_all([1, 2, 3]).json()
        assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 2, [2])
        for seen in tables:
            assert seen.both() == ({2: before[2]}, before)
    finally:
        cluster.execute(f"DROP TRIGGER {DATABASE}.refuse")


@pytest.mark.parametrize(
    "trigger",
    [
        "IF OLD.lead_id = 2 AND OLD.modify_date < '2001-01-01' THEN SIGNAL SQLSTATE '45000'; END IF",
        "IF OLD.lead_id = 2 AND OLD.modify_date < '2001-01-01' THEN SET NEW.modify_date = OLD.modify_date; END IF",
        "IF OLD.lead_id = 2 THEN SET NEW.comments = 'touched'; END IF",
    ],
    ids=["refuses", "keeps", "stamps"],
)
def test_a_copy_that_cannot_be_restored_is_not_touched(
    cluster: Cluster, apis: list[Api], tables: list[Tables], trigger: str
) -> None:
    """A trigger takes the UPDATE that locks the copy, and refuses or changes the one that restores it."""
    for insert in (tables[0].live, tables[0].archived):
        insert(1, 2, 3)
    before, _ = tables[0].both()
    cluster.execute(
        f"CREATE TRIGGER {DATABASE}.refuse BEFORE UPDATE ON {DATABASE}.vicidial_list_archive FOR EACH ROW {trigger}"
    )
    try:
        answer = apis[0].archive_all([1, 2, 3]).json()
        assert (answer["insert_count"], answer["update_count"], answer["delete_count"]) == (0, 0, 2)
        assert answer["remaining_lead_ids"] == [2]
        for seen in tables:
            assert seen.both() == ({2: before[2]}, before)
    finally:
        cluster.execute(f"DROP TRIGGER {DATABASE}.refuse")


@pytest.fixture
def defaults(cluster: Cluster) -> Iterator[None]:
    """MariaDB's default: the other nodes do not run the triggers again."""
    for node in cluster.nodes:
        node.execute("SET GLOBAL slave_run_triggers_for_rbr = NO")
    yield
    for node in cluster.nodes:
        node.execute("SET GLOBAL slave_run_triggers_for_rbr = ENFORCE")


@pytest.fixture
def new_service(cluster: Cluster, keys_file: Path) -> Iterator[Callable[[], Api]]:
    """Start a service on the first node, whose sessions have written nothing yet."""
    with ExitStack() as stack:

        def start() -> Api:
            settings = {"API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none", "REQUEST_TIMEOUT": "10"}
            service = ServiceProcess({**settings, "DATABASE_URL": cluster.nodes[0].url(DATABASE)})
            return Api(stack.enter_context(client_of(stack.enter_context(service))))

        yield start


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("damaged", [[1, 2, 3], [2]], ids=["all", "one"])
def test_a_damaged_copy_that_is_undone_is_undone_on_all_nodes(
    cluster: Cluster, tables: list[Tables], new_service: Callable[[], Api], damaged: list[int]
) -> None:
    tables[0].archived(1, 2, 3, address1="12 Main Street")
    _, before = tables[0].both()
    cluster.execute(
        f"CREATE TRIGGER {DATABASE}.damage BEFORE INSERT ON {DATABASE}.vicidial_list FOR EACH ROW"
        f" IF NEW.lead_id IN ({', '.join(map(str, damaged))}) THEN SET NEW.address1 = 'damaged'; END IF"
    )
    try:
        answer = new_service().dearchive_all([1, 2, 3]).json()
    finally:
        cluster.execute(f"DROP TRIGGER {DATABASE}.damage")

    back = {lead_id: row for lead_id, row in before.items() if lead_id not in damaged}
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (len(back), len(back), damaged)
    for seen in tables:
        assert seen.both() == (back, {lead_id: before[lead_id] for lead_id in damaged})


MANY = list(range(1, 201))
"""More leads than MariaDB keeps in memory until it writes them to what the other nodes get: 8 KiB."""

REFUSALS = {
    "insert": "BEFORE INSERT ON {archive} FOR EACH ROW {note}; IF NEW.lead_id = 150 THEN {refuse}; END IF",
    "stored": "AFTER INSERT ON {archive} FOR EACH ROW {note}; IF NEW.lead_id = 150 THEN {refuse}; END IF",
    "touch": "BEFORE UPDATE ON {archive} FOR EACH ROW {note}; IF NEW.lead_id = 150 THEN {refuse}; END IF",
    "delete": "BEFORE DELETE ON {list} FOR EACH ROW {note}; IF OLD.lead_id = 150 THEN {refuse}; END IF",
}


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("notes", [True, False], ids=["writes", "writes not"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_statement_had_done_that_has_failed_reaches_no_other_node(
    cluster: Cluster, tables: list[Tables], new_service: Callable[[], Api], refusal: str, notes: bool
) -> None:
    """MariaDB sends it to them, unless the whole transaction is rolled back. notes: whether the trigger writes to a table."""
    tables[0].live(*MANY)
    if refusal == "touch":
        tables[0].archived(*MANY)
    before, _ = tables[0].both()
    cluster.execute(f"CREATE TABLE {DATABASE}.site_log (lead_id INT, id SERIAL) ENGINE = InnoDB")
    row = "OLD" if refusal == "delete" else "NEW"
    names = {
        "archive": f"{DATABASE}.vicidial_list_archive",
        "list": f"{DATABASE}.vicidial_list",
        "note": f"BEGIN INSERT INTO {DATABASE}.site_log (lead_id) VALUES ({row}.lead_id)" if notes else "BEGIN",
        "refuse": "SIGNAL SQLSTATE '45000'",
    }
    trigger = REFUSALS[refusal].format(**names).replace("BEGIN;", "BEGIN") + "; END"
    cluster.execute(f"CREATE TRIGGER {DATABASE}.refuse {trigger}")
    try:
        answer = new_service().archive_all(MANY)
        logs = [seen.execute("SELECT lead_id FROM site_log ORDER BY id") for seen in tables]
    finally:
        cluster.execute(f"DROP TRIGGER {DATABASE}.refuse")
        cluster.execute(f"DROP TABLE {DATABASE}.site_log")

    assert (answer.status_code, answer.json().get("remaining_lead_ids")) == (200, [150])
    archived = {lead_id: row for lead_id, row in before.items() if lead_id != 150 or refusal in {"touch", "delete"}}
    for seen in tables:
        assert seen.both() == ({150: before[150]}, archived)
    assert logs == [logs[0]] * 3


@pytest.mark.parametrize("and_then", ["DELETE FROM", "UPDATE"])
def test_a_copy_that_another_node_has_made_meanwhile_is_not_relied_on_unprotected(
    tables: list[Tables], archive_while: ArchiveWhile, and_then: str
) -> None:
    """Another node archives lead 2 while the batch inserts, and deletes or edits the copy before the COMMIT of the batch."""
    tables[0].live(1, 2, comments="the last")
    change = " SET comments = 'edited'" if and_then == "UPDATE" else ""

    archive_while(
        [1, 2],
        f"{and_then} vicidial_list_archive{change} WHERE lead_id = 2",
        "INSERT INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE lead_id = 2",
    )

    for seen in tables:
        assert seen.ids() == ([], [1, 2])
        assert seen.execute("SELECT DISTINCT comments FROM vicidial_list_archive") == [(b"the last",)]


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("size", [1, 10])
def test_a_batch_is_not_sent_to_the_other_nodes_in_parts(
    cluster: Cluster, tables: list[Tables], new_service: Callable[[], Api], size: int
) -> None:
    leads = list(range(1, 31))
    tables[0].live(*leads)
    before, _ = tables[0].both()
    node = cluster.nodes[0]
    cluster.execute(
        f"CREATE TRIGGER {DATABASE}.refuse BEFORE INSERT ON {DATABASE}.vicidial_list_archive FOR EACH ROW"
        " IF NEW.lead_id IN (7, 21) THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    node.execute("SET GLOBAL wsrep_trx_fragment_unit = 'rows'")
    node.execute(f"SET GLOBAL wsrep_trx_fragment_size = {size}")
    try:
        answer = new_service().archive_all(leads)
    finally:
        node.execute("SET GLOBAL wsrep_trx_fragment_size = 0")
        node.execute("SET GLOBAL wsrep_trx_fragment_unit = 'bytes'")
        cluster.execute(f"DROP TRIGGER {DATABASE}.refuse")

    assert (answer.status_code, answer.json().get("remaining_lead_ids")) == (200, [7, 21])
    stay = {lead_id: before.pop(lead_id) for lead_id in (7, 21)}
    for seen in tables:
        assert seen.both() == (stay, before)


@pytest.mark.parametrize("way", ["archive", "dearchive"])
def test_a_trigger_of_the_update_deletes_no_lead(cluster: Cluster, apis: list[Api], tables: list[Tables], way: str) -> None:
    """A trigger of the target deletes the lead from the source when its copy is changed for a moment."""
    source, target = ("vicidial_list", "vicidial_list_archive")[:: 1 if way == "archive" else -1]
    for insert in (tables[0].live, tables[0].archived):
        insert(1, 2, 3)
    before, _ = tables[0].both()
    cluster.execute(
        f"CREATE TRIGGER {DATABASE}.deletes AFTER UPDATE ON {DATABASE}.{target} FOR EACH ROW"
        f" IF NEW.lead_id = 2 THEN DELETE FROM {source} WHERE lead_id = NEW.lead_id; END IF"
    )
    try:
        answer = (apis[0].archive_all if way == "archive" else apis[0].dearchive_all)([1, 2, 3]).json()
        assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (0, 2, [2])
        for seen in tables:
            assert (seen.rows(source), seen.rows(target)) == ({2: before[2]}, before)
    finally:
        cluster.execute(f"DROP TRIGGER {DATABASE}.deletes")
