"""Every setting, with valid and invalid values, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.fixtures import ReadSettings
from support.process import run_service

from service.errors import SettingsError
from service.settings import Settings

PASSWORD = "hunter2-the-password"
URL = f"mysql+asyncmy://cron:{PASSWORD}@db.example:3307/asterisk"
SOCKET = "?unix_socket=/run/mysqld/mysqld.sock"
FORM = "write it as mysql+asyncmy://user:password@host:port/database, special characters percent-encoded"


@pytest.fixture
def good(keys_file: Path) -> dict[str, str]:
    """The settings that have no default."""
    return {"DATABASE_URL": URL, "API_KEYS_FILE": str(keys_file), "OFFICE_HOURS": "none"}


@pytest.fixture
def refusal(settings_from: ReadSettings, good: dict[str, str]) -> Callable[..., str]:
    """refusal(SETTING=value, ...) -> the error message; None removes a setting."""

    def refuse(**changes: str | None) -> str:
        environment = {name: value for name, value in {**good, **changes}.items() if value is not None}
        with pytest.raises(SettingsError) as caught:
            settings_from(environment)
        message = str(caught.value)
        assert PASSWORD not in message
        assert "\n" not in message
        assert caught.value.__cause__ is None
        return message

    return refuse


def test_settings_that_are_not_set_have_their_defaults(
    settings_from: ReadSettings, good: dict[str, str], keys_file: Path
) -> None:
    settings = settings_from(good)

    assert settings.DATABASE_URL.get_secret_value() == URL
    assert settings.model_dump(exclude={"DATABASE_URL"}) == {
        "API_KEYS_FILE": keys_file,
        "OFFICE_HOURS": "none",
        "DEARCHIVE_OFFICE_HOURS": "none",
        "OFFICE_HOURS_TIMEZONE": None,
        "LEAD_IDS_LIMIT": 500,
        "LEADS_IN_USE": "keep",
        "REUSED_LEAD_IDS": "keep",
        "PACE": "auto",
        "DATABASE_TLS": "off",
        "DATABASE_TLS_CA_FILE": None,
        "DATABASE_POOL_SIZE": 8,
        "REQUEST_TIMEOUT": 30,
        "HOST": "127.0.0.1",
        "PORT": 8000,
        "METRICS_PORT": None,
        "WORKERS": 1,
        "TLS_CERT_FILE": None,
        "TLS_KEY_FILE": None,
        "DOCS": "on",
        "AUDIT_LOG": None,
        "ADMIN_LOG": "off",
        "LOG_LEVEL": "info",
    }
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LEAD_IDS_LIMIT", "1", 1),
        ("LEAD_IDS_LIMIT", "10000", 10_000),
        ("LEADS_IN_USE", "keep", "keep"),
        ("LEADS_IN_USE", "ignore", "ignore"),
        ("PACE", "gentle", "gentle"),
        *(("DATABASE_TLS", mode, mode) for mode in ("off", "required", "verify")),
        ("DATABASE_POOL_SIZE", "1", 1),
        ("DATABASE_POOL_SIZE", "1000", 1000),
        ("REQUEST_TIMEOUT", "1", 1),
        ("REQUEST_TIMEOUT", "3600", 3600),
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("HOST", "::1", "::1"),
        ("PORT", "1", 1),
        ("PORT", "65535", 65_535),
        ("METRICS_PORT", "65535", 65_535),
        ("WORKERS", "1", 1),
        ("WORKERS", "256", 256),
        ("DOCS", "on", "on"),
        ("DOCS", "off", "off"),
        ("ADMIN_LOG", "on", "on"),
        ("OFFICE_HOURS", " None ", "none"),
        ("OFFICE_HOURS_TIMEZONE", "America/New_York", "America/New_York"),
        *(("LOG_LEVEL", level, level.lower()) for level in ("debug", "info", "warning", "error", "INFO", "Warning")),
    ],
)
def test_a_valid_value_is_read(settings_from: ReadSettings, good: dict[str, str], name: str, text: str, value: object) -> None:
    assert getattr(settings_from({**good, name: text}), name) == value


def test_office_hours_are_in_their_time_zone(settings_from: ReadSettings, good: dict[str, str]) -> None:
    hours = "mon-fri 08:00-17:00;Sat,Sun 22:00-02:00"
    settings = settings_from({**good, "OFFICE_HOURS": hours, "OFFICE_HOURS_TIMEZONE": "Europe/Berlin"})

    assert str(settings.office_hours) == "Mon-Fri 08:00-17:00; Sat,Sun 22:00-02:00"
    assert settings.office_hours.timezone == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "mysql+asyncmy://cron@localhost/asterisk",
        "mysql+asyncmy://cron:p%40ss%2Fw%3Ford%23%25@127.0.0.1:3306/asterisk",
        "mysql+asyncmy://cron:p:w@[::1]:3306/asterisk",
        "mysql+asyncmy://b%C3%A9b%C3%A9:x@h/caf%C3%A9",
        "mysql+asyncmy://cron:x@localhost/asterisk?unix_socket=/run/mysqld/mysqld.sock",
        "mysql+asyncmy://cron@localhost/asterisk?unix_socket=%2Frun%2Fmysql.sock",
    ],
)
def test_a_valid_database_url_is_read(settings_from: ReadSettings, good: dict[str, str], url: str) -> None:
    assert settings_from({**good, "DATABASE_URL": url}).DATABASE_URL.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        *(
            (url, f"does not start with mysql+asyncmy://; {FORM}")
            for url in ("asterisk", "mysql://u:{}@h/d", "mysql+pymysql://u:{}@h/d", " mysql+asyncmy://u:{}@h/d", "u:{}@h/d")
        ),
        ("mysql+asyncmy://", f"names no user; {FORM}"),
        ("mysql+asyncmy://h/d", f"names no user; {FORM}"),
        ("mysql+asyncmy://:{}@h/d", f"names no user; {FORM}"),
        ("mysql+asyncmy://u:{}@/d", f"names no host; {FORM}"),
        ("mysql+asyncmy://u:{}@:3306/d", f"names no host; {FORM}"),
        ("mysql+asyncmy://u:{}@h", f"names no database; {FORM}"),
        ("mysql+asyncmy://u:{}@h:3306/", f"names no database; {FORM}"),
        *(
            (f"mysql+asyncmy://u:{{}}@{rest}", f"not a URL; {FORM}")
            for rest in ("h:x/d", "h:99999/d", "h:-1/d", "[::1/d", "h:3306:3306/d")
        ),
        ("mysql+asyncmy://u:{}@h:0/d", f"names port 0; {FORM}"),
        *((f"mysql+asyncmy://u:{{}}{mark}b@h/d", f"not a URL; {FORM}") for mark in "/?#"),
        *(
            (
                f"mysql+asyncmy://u:{{}}@h/d{rest}",
                f"has a ? or a # after the database, and the only option there is {SOCKET}; {FORM}",
            )
            for rest in (
                *("?charset=latin1", "?ssl=true&min_size=2", "#x", "?x#y", "?ssl=true"),
                *(f"{SOCKET}&ssl=true", f"{SOCKET}&unix_socket=/x", f"{SOCKET}#x"),
            )
        ),
        *(
            (f"mysql+asyncmy://u:{{}}@h/d?unix_socket={path}", f"names no socket by its whole path, as {SOCKET} does")
            for path in ("", "mysqld.sock", "./x")
        ),
        *(
            (
                f"mysql+asyncmy://u:{{}}{odd}@h/d",
                "has a password with characters outside of ASCII, which the database driver cannot send",
            )
            for odd in ("é", "%C3%A9", "%E2%82%AC", "%FF")
        ),
    ],
)
def test_an_invalid_database_url_is_refused(refusal: Callable[..., str], url: str, problem: str) -> None:
    assert refusal(DATABASE_URL=url.format(PASSWORD)) == f"DATABASE_URL: {problem}"


NO_INTEGERS = ["x", "-1", "1.0", "1e1", "1_0", "0x10", " 1", "1 ", "+1", "\uff11", "true", "1;2"]


@pytest.mark.parametrize(
    ("name", "smallest", "largest"),
    [
        ("LEAD_IDS_LIMIT", 1, 10_000),
        ("DATABASE_POOL_SIZE", 1, 1_000),
        ("REQUEST_TIMEOUT", 1, 3_600),
        ("PORT", 1, 65_535),
        ("WORKERS", 1, 256),
    ],
)
def test_a_number_that_is_none_or_out_of_range(refusal: Callable[..., str], name: str, smallest: int, largest: int) -> None:
    for value in NO_INTEGERS:
        assert refusal(**{name: value}) == f"{name}: {value!r} is not a whole number"
    for value in ("0", str(smallest - 1)):
        assert refusal(**{name: value}) == f"{name}: Input should be greater than or equal to {smallest}"
    for value in (str(largest + 1), "9" * 30):
        assert refusal(**{name: value}) == f"{name}: Input should be less than or equal to {largest}"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("LEADS_IN_USE", "KEEP", "Input should be 'keep' or 'ignore'"),
        ("METRICS_PORT", "8000", "is the same as PORT"),
        ("LEADS_IN_USE", "delete", "Input should be 'keep' or 'ignore'"),
        ("PACE", "slow", "Input should be 'auto', 'gentle' or 'full'"),
        ("DATABASE_TLS", "on", "Input should be 'off', 'required' or 'verify'"),
        ("DATABASE_TLS", "preferred", "Input should be 'off', 'required' or 'verify'"),
        ("DATABASE_TLS_CA_FILE", "/nowhere/ca.pem", "cannot read /nowhere/ca.pem: No such file or directory"),
        ("DOCS", "no", "Input should be 'on' or 'off'"),
        ("ADMIN_LOG", "yes", "Input should be 'off' or 'on'"),
        ("LOG_LEVEL", "trace", "Input should be 'debug', 'info', 'warning' or 'error'"),
        ("LOG_LEVEL", "20", "Input should be 'debug', 'info', 'warning' or 'error'"),
        *(
            ("OFFICE_HOURS_TIMEZONE", zone, f"there is no IANA time zone named {zone}; one is Europe/Berlin")
            for zone in ("Berlin", "Europe", "Mars/Base", "../etc/passwd", "/etc/localtime", "+02:00", "Europe/Berlin ")
        ),
        ("OFFICE_HOURS", "always", "'always' is not a window"),
        ("DEARCHIVE_OFFICE_HOURS", "always", "'always' is not a window"),
        ("OFFICE_HOURS", "Mon-Sun 00:00-24:00", "'Mon-Sun 00:00-24:00' covers the whole week"),
        ("TLS_CERT_FILE", "/nowhere/cert.pem", "cannot read /nowhere/cert.pem: No such file or directory"),
        ("TLS_KEY_FILE", "/nowhere/key.pem", "cannot read /nowhere/key.pem: No such file or directory"),
        ("TLS_CERT_FILE", "/tmp", "cannot read /tmp: Is a directory"),
        ("AUDIT_LOG", "/nowhere/audit.jsonl", "cannot append to /nowhere/audit.jsonl: No such file or directory"),
        ("AUDIT_LOG", "/tmp", "cannot append to /tmp: Is a directory"),
        ("AUDIT_LOG", "/dev/full", "cannot append to /dev/full: it is no regular file"),
    ],
)
def test_an_invalid_value_is_refused(refusal: Callable[..., str], name: str, value: str, problem: str) -> None:
    assert refusal(**{name: value}).startswith(f"{name}: {problem}")


@pytest.mark.parametrize("name", ["API_KEYS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "DATABASE_TLS_CA_FILE", "AUDIT_LOG"])
def test_a_fifo_is_refused_at_once(good: dict[str, str], tmp_path: Path, name: str) -> None:
    """The start does not wait for a writer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ended = run_service({**good, name: str(fifo)})
    assert ended.returncode == 2
    about = f"cannot append to {fifo}: it is no regular file" if name == "AUDIT_LOG" else f"{fifo} is not a regular file"
    assert ended.stderr.startswith(f"error: {name}: {about}")


@pytest.mark.parametrize("name", ["OFFICE_HOURS", "DEARCHIVE_OFFICE_HOURS"])
def test_windows_need_a_time_zone(refusal: Callable[..., str], name: str) -> None:
    assert refusal(**{name: "Mon-Fri 08:00-17:00"}) == (
        f"OFFICE_HOURS_TIMEZONE: is not set; {name} has windows, so name an IANA time zone"
    )


@pytest.mark.parametrize("name", Settings.model_fields)
@pytest.mark.parametrize("value", ["", " "])
def test_a_setting_that_is_empty_is_never_taken_for_one_that_is_not_set(
    refusal: Callable[..., str], name: str, value: str
) -> None:
    assert f"{name}: is set, but empty" in refusal(**{name: value})


@pytest.mark.parametrize("name", ["DATABASE_URL", "API_KEYS_FILE", "OFFICE_HOURS"])
def test_a_missing_setting_is_named(refusal: Callable[..., str], name: str) -> None:
    assert refusal(**{name: None}) == f"{name}: is not set"
    assert refusal(**{name: None, name.lower(): "none"}) == f"{name}: is not set"


def test_all_that_is_wrong_is_named_together(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    message = refusal(
        DATABASE_URL="x",
        API_KEYS_FILE="/nowhere",
        OFFICE_HOURS=None,
        DEARCHIVE_OFFICE_HOURS="x",
        OFFICE_HOURS_TIMEZONE="x",
        LEAD_IDS_LIMIT="0",
        LEADS_IN_USE="x",
        PACE="x",
        REUSED_LEAD_IDS="x",
        DATABASE_TLS="x",
        DATABASE_TLS_CA_FILE="/nowhere",
        DATABASE_POOL_SIZE="x",
        REQUEST_TIMEOUT="x",
        HOST="",
        PORT="x",
        METRICS_PORT="x",
        WORKERS="x",
        TLS_CERT_FILE=str(tmp_path / "cert.pem"),
        DOCS="x",
        AUDIT_LOG="/nowhere/audit.jsonl",
        ADMIN_LOG="x",
        LOG_LEVEL="x",
    )

    for name in Settings.model_fields.keys() - {"TLS_CERT_FILE"}:
        assert f"{name}: " in message
    assert "TLS_KEY_FILE: goes together with TLS_CERT_FILE: set both or neither" in message
    assert "OFFICE_HOURS_TIMEZONE: is not set" in refusal(LEAD_IDS_LIMIT="0", OFFICE_HOURS="Mon 08:00-17:00")


def test_authorities_are_those_of_a_checked_certificate(refusal: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    for mode in (None, "off", "required"):
        said = refusal(DATABASE_TLS=mode, DATABASE_TLS_CA_FILE=str(path))
        assert said == "DATABASE_TLS_CA_FILE: is not used: set DATABASE_TLS=verify too"

    for content in ("", "no certificate", "é", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        path.write_text(content)
        said = refusal(DATABASE_TLS="verify", DATABASE_TLS_CA_FILE=str(path))
        assert said.startswith(f"DATABASE_TLS_CA_FILE: {path} does not hold PEM certificates: ")


@pytest.mark.parametrize("mode", ["required", "verify"])
def test_a_socket_needs_no_tls(refusal: Callable[..., str], mode: str) -> None:
    said = refusal(DATABASE_URL=f"mysql+asyncmy://cron@localhost/asterisk{SOCKET}", DATABASE_TLS=mode)

    assert said == "DATABASE_TLS: is of no use with a unix_socket, which does not leave this machine: leave it out"


@pytest.mark.parametrize(
    ("cert", "key"), [("cert", None), (None, "key"), ("key", "cert"), ("cert", "other"), ("text", "key"), ("cert", "locked")]
)
def test_a_certificate_goes_with_its_key(
    settings_from: ReadSettings,
    good: dict[str, str],
    refusal: Callable[..., str],
    tmp_path: Path,
    cert: str | None,
    key: str | None,
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    authority.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "other")
    (tmp_path / "text").write_text("no certificate")
    key_object = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    passphrase = BestAvailableEncryption(b"passphrase")
    locked = key_object.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, passphrase)
    (tmp_path / "locked").write_bytes(locked)
    files = {"TLS_CERT_FILE": str(tmp_path / "cert"), "TLS_KEY_FILE": str(tmp_path / "key")}
    settings = settings_from({**good, **files})
    assert (tmp_path / "cert", tmp_path / "key") == (settings.TLS_CERT_FILE, settings.TLS_KEY_FILE)

    message = refusal(TLS_CERT_FILE=cert and str(tmp_path / cert), TLS_KEY_FILE=key and str(tmp_path / key))

    if cert and key:
        about = "TLS_CERT_FILE and it are not a PEM certificate and its key, without a passphrase: "
        assert message.startswith(f"TLS_KEY_FILE: {about}")
    else:
        assert message == "TLS_KEY_FILE: goes together with TLS_CERT_FILE: set both or neither"
