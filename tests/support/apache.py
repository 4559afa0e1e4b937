"""Run Apache with the shipped configuration on a free port, under the account of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme
from mariadb import free_port

from support.nginx import CERTIFICATE, DEPLOY, Front, listens
from support.paths import ROOT
from support.process import PATIENCE

UNPACKED = ROOT / ".apache"
INSTALLED = Path("/usr/lib/apache2/modules")
MODULES = (
    *("mpm_event", "authz_core", "socache_shmcb", "setenvif"),
    *("proxy", "proxy_http", "ssl", "http2", "headers", "asis", "alias", "reqtimeout", "unique_id"),
)
"""Modules that Debian enables by default, and those that the shipped files need."""

MAIN = """
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
User #{user}
Group #{group}
{modules}
Listen 127.0.0.1:{port}
ErrorLog {folder}/main.log
LogLevel warn
<Directory />
    Require all denied
</Directory>
Include {folder}/site.conf
"""
"""Stands for Debian's apache2.conf, which includes the shipped files. Apache writes only to a folder of the test."""

VICIDIAL = """
<VirtualHost *:{port}>
    ServerName vicidial.example.com
    DocumentRoot {folder}/htdocs
    <Directory {folder}/htdocs>
        Require all granted
    </Directory>
    SSLEngine on
    SSLCertificateFile {folder}/fullchain.pem
    SSLCertificateKeyFile {folder}/privkey.pem
    CustomLog {folder}/access.log "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\""
    ErrorLog {folder}/error.log
    Define lead_archive_path /vicidial/leads/
    Include {folder}/proxy.conf
</VirtualHost>
"""
"""A virtual host like Vicidial's, with the two lines that include proxy.conf."""


NOBODY = 65_534
"""Apache that is started as root changes to this account. It has no access to pytest's folders."""


def environment() -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(UNPACKED / "lib")}


def command(folder: Path, *options: str) -> list[str]:
    found = shutil.which("apache2", path=f"{UNPACKED}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, "apache2 is not installed: run scripts/install --tests"
    return [found, "-f", f"{folder}/apache.conf", *options]


def replaced(text: str, changes: dict[str, str]) -> str:
    """Return the text with paths and addresses replaced. Raise AssertionError if one of them is not in the text."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def render(folder: Path, service_port: int, port: int, timeout: int = 40, *, vicidial: bool = False) -> None:
    """Write the configuration.

    timeout: seconds that Apache waits for the service, and for a body. vicidial: in Vicidial's own virtual host.
    """
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    proxy = replaced(
        (DEPLOY / "apache/proxy.conf").read_text(),
        {
            "/etc/lead-archive/apache": str(folder),
            "http://127.0.0.1:8000": f"http://127.0.0.1:{service_port}",
            " timeout=40 ": f" timeout={timeout} ",
        },
    )
    site = replaced(
        (DEPLOY / "apache.conf").read_text(),
        {
            "*:443": f"127.0.0.1:{port}",
            CERTIFICATE: str(folder),
            " body=40": f" body={timeout}",
            "/etc/lead-archive/apache": str(folder),
            'CustomLog "|/usr/bin/logger -t lead_archive_apache"': f"CustomLog {folder}/access.log",
            'ErrorLog "|/usr/bin/logger -t lead_archive_apache"': f"ErrorLog {folder}/error.log",
        },
    )
    shutil.copytree(DEPLOY / "apache/errors", folder / "errors")
    shutil.copy(DEPLOY / "apache/errors.conf", folder)
    (folder / "htdocs").mkdir()
    (folder / "htdocs/index.html").write_text("Vicidial")
    (folder / "proxy.conf").write_text(proxy)
    (folder / "site.conf").write_text(VICIDIAL.format(port=port, folder=folder) if vicidial else site)
    where = UNPACKED / "modules" if UNPACKED.exists() else INSTALLED
    modules = "\n".join(f"LoadModule {name}_module {where}/mod_{name}.so" for name in MODULES)
    user = os.geteuid() or NOBODY
    (folder / "apache.conf").write_text(MAIN.format(folder=folder, modules=modules, port=port, user=user, group=user))


def check(folder: Path) -> str:
    """Return the output of Apache's syntax check of a rendered configuration."""
    done = subprocess.run(
        command(folder, "-t"), env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.stderr


@contextmanager
def apache(service_port: int, timeout: int = 40, *, vicidial: bool = False) -> Iterator[Front]:
    """Apache in front of a service."""
    with TemporaryDirectory(prefix="apache.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        render(folder, service_port, port, timeout, vicidial=vicidial)
        with started(folder, port):
            yield Front(folder, port)


@contextmanager
def started(folder: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        command(folder, "-D", "FOREGROUND"), env=environment(), stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, check(folder)
            assert time.monotonic() < deadline, "Apache does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
