"""A Galera cluster of three private MariaDB servers on loopback. A test can kill, freeze, disconnect or delay its nodes."""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mariadb import PrivateMariaDB, free_port
from pymysql.err import OperationalError

from support.paths import ROOT
from support.waiting import wait_until

SST_SCRIPTS = ROOT / ".galera" / "bin"
"""Where scripts/install --cluster puts the script that copies a node's data to another."""

SST_METHOD = "lead_archive"
"""What follows wsrep_sst_ in the script's name. No package has a script of this name, which MariaDB would prefer."""

PROVIDER = "/usr/lib/galera/libgalera_smm.so"

PATIENCE = 120
"""Seconds that a test waits for the cluster, much longer than an idle machine needs."""


class Node(PrivateMariaDB):
    """One server of a cluster.

    It ends itself on its return to the cluster if no other node has all that it missed in its cache of write sets ("Will never
    receive state. Need to abort": a running server takes no complete copy), or if another program uses one of its ports then.
    """

    def __init__(self, folder: Path, number: int, cluster_ports: list[int], password: str) -> None:
        address = "127.0.0.1"
        options = (
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-autoinc-lock-mode=2",
            "--binlog-format=ROW",
            "--slave-run-triggers-for-rbr=ENFORCE",  # for held_back()
            "--wsrep-on=ON",
            f"--wsrep-provider={PROVIDER}",
            f"--wsrep-node-name=node{number}",
            f"--wsrep-node-address={address}",
            "--wsrep-cluster-address=gcomm://" + ",".join(f"{address}:{port}" for port in cluster_ports),
            f"--wsrep-sst-method={SST_METHOD}",
            f"--wsrep-sst-receive-address={address}:{free_port()}",
            f"--wsrep-provider-options=base_port={cluster_ports[number]}"
            f";gmcast.listen_addr=tcp://{address}:{cluster_ports[number]};ist.recv_addr={address}:{free_port()}",
            # gcache.size stays at its default, 128M: 32M were nearly full with what two nodes write while the third is missed.
        )
        super().__init__(folder, options)
        self.environment["PATH"] = f"{SST_SCRIPTS}:{os.environ['PATH']}"
        self.password = password  # the same for all nodes: a node that joins gets the accounts of another

    def start_again(self) -> None:
        """Start after a crash as a distribution's service does: find the last position in its data, and get the rest."""
        self.kill()
        self.launch("--wsrep-recover")
        assert self._process is not None
        self._process.wait(PATIENCE)
        self.kill()
        *_, position = re.findall(r"Recovered position: (\S+)", self.error_log.read_text(errors="replace"))
        self.start(f"--wsrep-start-position={position}")

    def end_of_log(self, lines: int = 40) -> str:
        """Return the last error of the error log, and its last lines, without those about connections that broke.

        If the error is not among these, as after a crash with its stack trace, return the lines that follow the error.
        """
        log = [line for line in self.error_log.read_text(errors="replace").splitlines() if "Aborted connection" not in line]
        log = [line for line in log if line.strip()][-2 * lines :]
        errors = [number for number, line in enumerate(log) if "[ERROR]" in line]
        error = log[errors[-1]] if errors else "none"
        first = min([max(len(log) - lines, 0), *errors[-1:]])
        return "\n".join([f"{self.folder.name}: the last error in its log: {error}", *log[first : first + lines]])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the node: it does not answer, but its process stays."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Disconnect the node from the others. Clients can still connect to it."""
        self.execute("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
        try:
            yield
        finally:
            self.execute("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Make this node, and no other, wait at gate(name)."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT GET_LOCK('{name}', 0)")
            yield

    def execute(self, statement: str, **options: Any) -> list[tuple[Any, ...]]:
        with self.connect(**options) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def status(self, name: str) -> str:
        ((_, value),) = self.execute(f"SHOW STATUS LIKE '{name}'")
        return str(value)


def gate(name: str) -> str:
    """Return the body of a trigger that waits while the server that runs it is locked by locked(name)."""
    return f"WHILE IS_USED_LOCK('{name}') DO DO SLEEP(0.01); END WHILE"


class Cluster:
    """Three nodes in one cluster, in sync with each other."""

    def __init__(self, folder: Path) -> None:
        password = secrets.token_hex(16)
        ports = [free_port() for _ in range(3)]
        self.nodes = [Node(folder / f"node{number}", number, ports, password) for number in range(3)]

    def __enter__(self) -> Self:
        try:
            first, *others = self.nodes
            first.start("--wsrep-new-cluster")
            first.execute("CREATE DATABASE held_back")
            first.execute("CREATE TABLE held_back.gate (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB")
            first.execute(f"CREATE TRIGGER held_back.gate AFTER INSERT ON held_back.gate FOR EACH ROW {gate('held back')}")
            for node in others:
                node.launch()
            for node in others:
                node.wait_until_it_answers()
            if ended := self.wait_until_in_step():
                raise RuntimeError(f"a node has ended. {ended[0]}")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._kill()

    def _kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def execute(self, statement: str) -> None:
        """Execute a statement on a node that runs. What it changes reaches all nodes."""
        next(node for node in self.nodes if node.is_running).execute(statement)

    def wait_until_in_step(self) -> list[str]:
        """Wait until all three nodes are in one cluster, and each has applied every earlier commit.

        Start nodes that have ended again, as a distribution's service does. Return what each of them logged last.
        """
        ended: list[str] = []

        def in_step() -> bool:
            for node in self.nodes:
                if not node.is_running:
                    ended.append(node.end_of_log())
                    node.start_again()
            try:
                return all(
                    (node.status("wsrep_cluster_size"), node.status("wsrep_local_state_comment")) == ("3", "Synced")
                    for node in self.nodes
                )
            except OperationalError:  # a node is about to end
                return False

        wait_until(in_step, PATIENCE, lambda: "\n".join(node.end_of_log(15) for node in self.nodes))
        for node in self.nodes:
            node.execute("SELECT 1", init_command="SET SESSION wsrep_sync_wait = 1")
        return ended

    @contextmanager
    def held_back(self, node: Node) -> Iterator[None]:
        """Prevent the node from applying the commits of the others until the end of the block."""
        other = next(other for other in self.nodes if other is not node)
        with node.locked("held back"):
            other.execute("INSERT INTO held_back.gate VALUES ()")
            yield
