"""The service at work: a private MariaDB with 500 made-up leads, TLS, an API key, and the documented call with curl."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

import trustme
from mariadb import PrivateMariaDB
from sample_leads import LISTS, made_up_leads

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / ".demo"
HOST, PORT = "127.0.0.1", 8443
DATABASE = "asterisk"  # as Vicidial calls it
LEADS = 500
START_TIMEOUT = 30.0


class DemoError(Exception):
    """The demo cannot continue. The message gives the reason."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end after the call; status 0 if all leads were archived")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_in_order)
    try:
        return demo(serve_on=not arguments.exit)
    except (DemoError, RuntimeError) as error:  # RuntimeError: MariaDB did not start
        print(f"demo: {error}", file=sys.stderr)
        return 1


def end_in_order(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def demo(serve_on: bool) -> int:
    refuse_port_in_use()
    DEMO.mkdir(mode=0o700, exist_ok=True)
    say(f"Starting a private MariaDB in {DEMO.relative_to(ROOT)}/, with {LEADS} made-up leads")
    with PrivateMariaDB(DEMO / "mariadb", ("--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M")) as mariadb:
        create_tables(mariadb)
        lead_ids = insert_leads(mariadb)
        key = secrets.token_urlsafe(24)
        authority = write_certificate()
        write_key(key)
        write_client_options(mariadb)
        write_bulk_client_settings(key)
        say(f"Starting the service on https://{HOST}:{PORT}")
        with service(mariadb.url(DATABASE), authority) as process:
            archived = archive(mariadb, key, lead_ids)
            if serve_on:
                print(what_next(key, lead_ids), flush=True)
                process.wait()
                raise DemoError(f"the service ended by itself, with status {process.returncode}:\n{last_log_lines()}")
            return 0 if archived else 1


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def refuse_port_in_use() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError as error:
            raise DemoError(f"cannot listen on {HOST}:{PORT} (another demo?): {error.strerror}") from None


# --- the database ------------------------------------------------------------------------------------------------------


def create_tables(mariadb: PrivateMariaDB) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")  # an earlier demo's
        cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8 COLLATE utf8_unicode_ci")
    migration = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": mariadb.url(DATABASE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if migration.returncode != 0:
        raise DemoError(f"the tables could not be made:\n{migration.stdout}")


def insert_leads(mariadb: PrivateMariaDB) -> list[int]:
    leads = list(made_up_leads(LEADS))
    columns = ", ".join(f"`{name}`" for name in leads[0])
    values = ", ".join(f"%({name})s" for name in leads[0])
    with mariadb.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO vicidial_list ({columns}) VALUES ({values})", leads)
        cursor.executemany(
            "INSERT INTO vicidial_lists (list_id, list_name, campaign_id, active) VALUES (%s, %s, %s, %s)",
            [(list_id, *columns) for list_id, columns in LISTS.items()],
        )
        cursor.execute("SELECT lead_id FROM vicidial_list ORDER BY lead_id")
        return [lead_id for (lead_id,) in cursor.fetchall()]


def count_rows(mariadb: PrivateMariaDB) -> dict[str, int]:
    counts = {}
    with mariadb.connect(DATABASE) as connection, connection.cursor() as cursor:
        for table in ("vicidial_list", "vicidial_list_archive"):
            cursor.execute(f"SELECT COUNT(*) FROM {table}")
            (counts[table],) = cursor.fetchone()
    return counts


def print_rows(when: str, counts: dict[str, int]) -> None:
    print(f"\nRows {when}: " + ", ".join(f"{table} {count}" for table, count in counts.items()), flush=True)


# --- the service -------------------------------------------------------------------------------------------------------


def write_certificate() -> trustme.CA:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.cert_chain_pems[0].write_to_path(DEMO / "cert.pem")
    certificate.private_key_pem.write_to_path(DEMO / "key.pem")
    authority.cert_pem.write_to_path(DEMO / "ca.pem")
    return authority


def write_key(key: str) -> None:
    digest = hashlib.sha256(key.encode()).hexdigest()
    (DEMO / "keys.toml").write_text(f'[[keys]]\nname = "demo"\nsha256 = "{digest}"\n')


def write_client_options(mariadb: PrivateMariaDB) -> None:
    """Write a file with which the mariadb client connects, so that no password is on the screen."""
    (DEMO / "client.cnf").write_text(
        f"[client]\nhost={HOST}\nport={mariadb.port}\nuser={mariadb.user}\npassword={mariadb.password}\n"
    )


def write_bulk_client_settings(key: str) -> None:
    """Write a shell file with the variables with which lead-archive reaches the service."""
    (DEMO / "lead-archive.sh").write_text(
        f"export LEAD_ARCHIVE_URL=https://{HOST}:{PORT} LEAD_ARCHIVE_KEY={key} SSL_CERT_FILE={shlex.quote(str(DEMO))}/ca.pem\n"
        f'lead-archive() {{ {shlex.quote(sys.executable)} -m lead_archive "$@"; }}\n'
    )


@contextmanager
def service(database_url: str, authority: trustme.CA) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as a process with only this environment. Enter the block when it is ready."""
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "API_KEYS_FILE": str(DEMO / "keys.toml"),
        "OFFICE_HOURS": "none",
        "HOST": HOST,
        "PORT": str(PORT),
        "TLS_CERT_FILE": str(DEMO / "cert.pem"),
        "TLS_KEY_FILE": str(DEMO / "key.pem"),
    }
    # As in mariadb.py: the kernel ends the service when the demo dies, and Ctrl-C goes to the demo alone.
    setpriv = shutil.which("setpriv")
    command = [sys.executable, "-m", "service"]
    with (DEMO / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_ready(process, authority)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_TIMEOUT)
        finally:
            process.kill()


def wait_until_ready(process: subprocess.Popen[bytes], authority: trustme.CA) -> None:
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    deadline = monotonic() + START_TIMEOUT
    answer = "none"
    while answer != "200":
        if process.poll() is not None:
            raise DemoError(f"the service did not start, it ended with status {process.returncode}:\n{last_log_lines()}")
        if monotonic() > deadline:
            raise DemoError(
                f"the service is not ready after {START_TIMEOUT:.0f} seconds; the answer of /readyz is {answer}\n"
                f"{last_log_lines()}"
            )
        connection = http.client.HTTPSConnection(HOST, PORT, timeout=5, context=tls)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            answer = str(response.status) if response.status == 200 else f"{response.status} {response.read()!r}"
        except OSError as error:
            answer = str(error)
        finally:
            connection.close()
        sleep(0.05)


def last_log_lines() -> str:
    lines = (DEMO / "service.log").read_text(errors="replace").splitlines()
    return "\n".join(f"    {line[:500]}" for line in lines[-20:])


# --- the call ----------------------------------------------------------------------------------------------------------


def call(key: str, body: str, path: str = "archive") -> list[str]:
    """Return the documented call."""
    return [
        *("curl", "-k", "-X", "POST", f"https://{HOST}:{PORT}/vicidial/leads/{path}"),
        *("-H", f"Authorization: Key={key}"),
        *("-H", "Content-Type: application/json"),
        *("-d", body),
    ]


def archive(mariadb: PrivateMariaDB, key: str, lead_ids: list[int]) -> bool:
    """Run the call for all leads and print it. Return whether every lead is then in the archive only."""
    flags = {"insert_leads": True, "update_leads": True, "delete_leads": True}
    body = json.dumps({**flags, "lead_ids": lead_ids}, separators=(",", ":"))
    (DEMO / "batch.json").write_text(body)
    before = count_rows(mariadb)
    print_rows("before", before)

    first, last = ",".join(map(str, lead_ids[:3])), lead_ids[-1]
    shown = body.replace(",".join(map(str, lead_ids)), f"{first},…,{last}")
    say(f"The call, for {len(lead_ids)} leads (only here the list of ids is shortened, to …)")
    print(shlex.join(call(key, shown)), flush=True)
    answer = subprocess.run(call(key, body), capture_output=True, text=True, check=False, env={**os.environ, "NO_PROXY": HOST})
    if answer.returncode != 0:
        raise DemoError(f"curl ended with status {answer.returncode}: {answer.stderr.strip()}\n{last_log_lines()}")
    say("The answer")
    print(answer.stdout)

    after = count_rows(mariadb)
    print_rows("after", after)
    try:
        counts = json.loads(answer.stdout)
    except ValueError:
        counts = {}
    archived = (
        (counts.get("insert_count"), counts.get("delete_count")) == (LEADS, LEADS)
        and before == {"vicidial_list": LEADS, "vicidial_list_archive": 0}
        and after == {"vicidial_list": 0, "vicidial_list_archive": LEADS}
    )
    say(f"All {LEADS} leads are archived" if archived else f"NOT all {LEADS} leads are archived\n{last_log_lines()}")
    return archived


def what_next(key: str, lead_ids: list[int]) -> str:
    look = json.dumps({"lead_ids": lead_ids[:3]}, separators=(",", ":"))
    bring_back = json.dumps({"insert_leads": True, "delete_leads": True, "lead_ids": lead_ids[:3]}, separators=(",", ":"))
    url = f"https://{HOST}:{PORT}"
    folder = DEMO.relative_to(ROOT)
    client = f"mariadb --defaults-file={folder}/client.cnf {DATABASE}"
    return f"""
== The service keeps serving until Ctrl-C. From another terminal, in {ROOT}:

The same batch again; all of it is archived already, so every count is 0:
  {shlex.join(call(key, f"@{folder}/batch.json"))}
Where three of the leads are, and in what their rows differ; it changes nothing:
  {shlex.join(call(key, look, "compare"))}
The way back for these three; then look again, or archive them again:
  {shlex.join(call(key, bring_back, "dearchive"))}
Is it ready, and what does its contract say:
  curl -k {url}/readyz
  curl -k {url}/openapi.yaml
The bulk client finds the leads itself. Bring all of them back; look for those of a campaign that nobody has called for 90
days; see what the rules in deploy/rules.example.toml would archive; then let them do it:
  . {folder}/lead-archive.sh
  lead-archive dearchive --entered-days-ago 1
  lead-archive find --campaign SPRING --called-days-ago 90 --entered-days-ago 90
  lead-archive run --dry-run deploy/rules.example.toml
  lead-archive run deploy/rules.example.toml
The same in a browser, where "Authorize" takes the line Key={key}
  {url}/docs
The tables, and what the service logs:
  {client} -e 'SELECT lead_id, status, phone_number, first_name, last_name FROM vicidial_list_archive LIMIT 10'
  {client}
  tail -f {folder}/service.log
"""


if __name__ == "__main__":
    sys.exit(main())
