"""Run nginx with the shipped configuration on a free port, under the account of the tests."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from mariadb import free_port

from support.paths import ROOT
from support.process import PATIENCE

DEPLOY = ROOT / "deploy"
CERTIFICATE = "/etc/lead-archive/tls"
JOURNAL = "syslog:server=unix:/dev/log,nohostname,tag=lead_archive_nginx"

MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
"""Stands for Debian's nginx.conf, which includes the shipped file. nginx writes only to a folder of the test."""


def program() -> str:
    found = shutil.which("nginx", path=f"{ROOT}/.nginx:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, "nginx is not installed: run scripts/install --tests"
    return found


@dataclass(frozen=True)
class Front:
    """A reverse proxy in front of the service."""

    folder: Path
    port: int

    @property
    def base_url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def logged(self, count: int) -> list[dict[str, Any]]:
        """Wait until the access log has this many lines, and return them. A line is written after its answer was sent."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := (self.folder / "access.log").read_text().splitlines()) < count:
            assert time.monotonic() < deadline, f"{len(lines)} lines in the access log, not {count}"
            time.sleep(0.02)
        return [parsed(line) for line in lines]


def parsed(line: str) -> dict[str, Any]:
    """Return the fields of a line, which is JSON from nginx, and text from Apache."""
    if line.startswith("{"):
        return dict(json.loads(line))
    request_id, client, status, _ = line.split(" ", 3)
    return {"request_id": request_id, "client": client, "status": int(status)}


def render(folder: Path, service_port: int, port: int, changes: Mapping[str, str]) -> None:
    """Write the shipped configuration with paths and addresses replaced, and with `changes`.

    Raise AssertionError if a text to replace is not in it.
    """
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "    listen [::]:443 ssl http2;\n": "",
        CERTIFICATE: str(folder),
        "http://127.0.0.1:8000": f"http://127.0.0.1:{service_port}",
        f"access_log {JOURNAL}": f"access_log {folder}/access.log",
        f"error_log {JOURNAL}": f"error_log {folder}/error.log",
        "include lead-archive-errors.conf": f"include {DEPLOY}/lead-archive-errors.conf",
        **changes,
    }.items():
        assert old in site, old
        site = site.replace(old, new)
    (folder / "site.conf").write_text(site)
    # If nginx is started as root, it changes to another account, which has no access to the test's folder.
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""))


def check(folder: Path) -> str:
    """Return the output of `nginx -t` for a rendered configuration."""
    command = [program(), "-t", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False).stderr


@contextmanager
def nginx(folder: Path, service_port: int, **changes: str) -> Iterator[Front]:
    """Run nginx in front of a service. changes: directives and their values, such as proxy_read_timeout="1s"."""
    folder.mkdir()
    shipped = (DEPLOY / "nginx.conf").read_text()
    lines = {name: next(line for line in shipped.splitlines() if line.strip().startswith(f"{name} ")) for name in changes}
    port = free_port()
    render(folder, service_port, port, {lines[name]: f"    {name} {value};" for name, value in changes.items()})
    process = subprocess.Popen(
        [program(), "-p", str(folder), "-c", f"{folder}/nginx.conf"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, check(folder)
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        yield Front(folder, port)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
