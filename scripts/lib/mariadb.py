"""A private MariaDB server for the demo and the tests, with its own folder and port. It ends when its owner ends.

It never reads /etc/mysql and never connects to another server on the machine.

The environment variable LEAD_ARCHIVE_MARIADB names the folder of another MariaDB than the installed one, such as .mariadb/10.5
as scripts/install --versions makes it: its programs are in usr/bin and usr/sbin there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymysql

START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0

_OTHER = Path(os.environ["LEAD_ARCHIVE_MARIADB"]) if os.environ.get("LEAD_ARCHIVE_MARIADB") else None


class PrivateMariaDB:
    """One mariadbd process on 127.0.0.1.

    folder keeps the data, the socket and the error log; it is made on the first start and used again on later ones.
    options are mariadbd options such as "--innodb-buffer-pool-size=1G". timezone is the server's TZ, its local time.
    """

    def __init__(
        self, folder: Path, options: tuple[str, ...] = (), port: int | None = None, timezone: str | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.options = options
        self.port = port or free_port()
        self.environment = {"TZ": timezone} if timezone else {}
        self.user = "vicidial"
        self.password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def socket(self) -> Path:
        # A socket's path may not be longer than about 107 bytes: it is named from the server's own folder.
        return Path("mariadb.sock")

    @property
    def error_log(self) -> Path:
        return self.folder / "error.log"

    def url(self, database: str) -> str:
        """Return a DATABASE_URL for this server."""
        return f"mysql+asyncmy://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self, *options: str) -> None:
        """Start the server and wait until it answers. Raises RuntimeError with the log's end if it does not.

        options: more of them, for this start alone.
        """
        self.launch(*options)
        self.wait_until_it_answers()

    def launch(self, *options: str) -> None:
        """Start the server, as start() does, and leave it to the caller to wait."""
        assert self._process is None, "the server is running already"
        mariadbd = _find("mariadbd")
        basedir = [f"--basedir={_OTHER.absolute() / 'usr'}"] if _OTHER else []
        data = self.folder / "data"
        scratch = self.folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        if not (data / "mysql").is_dir():
            shutil.rmtree(data, ignore_errors=True)  # an interrupted first start may have left it
            fresh = self.folder / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            install = [
                _find("mariadb-install-db"),
                "--no-defaults",
                *basedir,
                f"--datadir={fresh}",
                f"--tmpdir={scratch}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *as_root,
                *self.options,
            ]
            installed = subprocess.run(install, capture_output=True, text=True, check=False)
            if installed.returncode:
                raise RuntimeError(f"mariadb-install-db failed:\n{installed.stdout}{installed.stderr}")
            fresh.rename(data)
        # Accounts are made at every start, so that a folder that is used again needs no stored password. The account
        # may do everything (the tests alter tables and kill connections), but only from this machine.
        init = self.folder / "init.sql"
        init.touch(mode=0o600)
        init.write_text(
            f"CREATE OR REPLACE USER '{self.user}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'127.0.0.1' WITH GRANT OPTION;\n"
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.password}';\n"
        )
        command = [
            mariadbd,
            "--no-defaults",
            *basedir,
            f"--datadir={data}",
            f"--tmpdir={scratch}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--log-error={self.error_log}",
            f"--init-file={init}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--skip-name-resolve",
            *as_root,
            *self.options,
            *options,
        ]
        # setpriv (util-linux) makes the kernel end the server when this process dies for any reason. A session of
        # its own keeps Ctrl-C from reaching it: the owner stops it in order.
        setpriv = shutil.which("setpriv")
        self._process = subprocess.Popen(
            [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.connect().close()
                return
            except pymysql.err.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self.error_log.read_text(errors="replace") if self.error_log.exists() else ""
                    self.kill()
                    raise RuntimeError(f"mariadbd did not start: {error}\n{log[-2000:]}") from None
                time.sleep(0.05)

    def connect(self, database: str | None = None, **options: Any) -> pymysql.connections.Connection[Any]:
        """Return a new connection in autocommit mode, independent of the service's. Without TLS: PyMySQL would read the
        certificates of all authorities for each connection, which takes longer than most tests."""
        defaults = {"charset": "utf8mb4", "autocommit": True, "connect_timeout": 5, "ssl_disabled": True}
        settings: dict[str, Any] = {**defaults, **options}
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            **settings,
        )

    def stop(self) -> None:
        """Shut the server down in order; kill it if that takes longer than STOP_TIMEOUT seconds."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


PORTS = range(10_000, 32_000)[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) :: 32]
"""Below those that Linux gives to outgoing connections: one of these would not stay free until a server uses it. Each of the
processes in which the tests run has its own: two of them that start a server at the same moment must not choose the same."""

_chosen: set[int] = set()


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nothing uses now, another one each time."""
    while True:
        port = secrets.choice([port for port in PORTS if port not in _chosen] or PORTS)
        _chosen.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _find(program: str) -> str:
    path = f"{_OTHER}/usr/bin:{_OTHER}/usr/sbin" if _OTHER else f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        # Never fall back to another server: its results would be taken for those of the requested one.
        command = "scripts/install --versions" if _OTHER else "scripts/install"
        raise RuntimeError(f"{program} is not in {path}: run {command}")
    return str(Path(found).absolute())
