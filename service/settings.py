"""The settings: read from the environment once, at start. A message names each one that is not valid."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from databases import DatabaseURL
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.access.certificate import Certificate
from service.access.keys import Keys
from service.access.keys_file import KeysFile
from service.access.office_hours import OfficeHours
from service.database import tls
from service.errors import SettingsError
from service.files import read_existing
from service.observability import appending
from service.tables.reused_lead_ids import Reused

SOCKET_OPTION = "?unix_socket=/run/mysqld/mysqld.sock"


def _database_url(url: SecretStr) -> SecretStr:
    form = "write it as mysql+asyncmy://user:password@host:port/database, special characters percent-encoded"
    if not url.get_secret_value().startswith("mysql+asyncmy://"):
        raise ValueError(f"does not start with mysql+asyncmy://; {form}")
    # Use the parser that the connections use: another one may find another host or password in the same text.
    parts = DatabaseURL(url.get_secret_value())
    try:
        hostname, port = parts.components.hostname, parts.port
    except ValueError:
        raise ValueError(f"not a URL; {form}") from None
    for part, value in (("user", parts.username), ("host", hostname), ("database", parts.database)):
        if not value:
            raise ValueError(f"names no {part}; {form}")
    if port == 0:
        raise ValueError(f"names port 0; {form}")
    options = parse_qsl(parts.components.query, keep_blank_values=True)
    if parts.components.fragment or [name for name, _ in options] not in ([], ["unix_socket"]):
        raise ValueError(f"has a ? or a # after the database, and the only option there is {SOCKET_OPTION}; {form}")
    if options and not options[0][1].startswith("/"):
        raise ValueError(f"names no socket by its whole path, as {SOCKET_OPTION} does")
    if not (parts.password or "").isascii():
        raise ValueError("has a password with characters outside of ASCII, which the database driver cannot send")
    return url


def _office_hours(text: str) -> str:
    return str(OfficeHours.parse(text, ZoneInfo("UTC")))


def _keys_file(path: Path) -> Path:
    Keys.load(path)
    return path


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no IANA time zone named {name}; one is Europe/Berlin") from None
    return name


def _readable(path: Path) -> Path:
    read_existing(path)
    return path


def _appendable(path: Path) -> Path:
    # Never create the file here: commands that an administrator runs would own it, and the service could not write to it.
    try:
        appending.look(path)
    except OSError as error:
        raise ValueError(f"cannot append to {path}: {error.strerror}") from None
    return path


def _database_tls(mode: tls.Mode, authorities: Path | None) -> ssl.SSLContext | None:
    return tls.client_context(mode, read_existing(authorities).decode("ascii") if authorities else None)


def _integer(value: object) -> object:
    # pydantic accepts 8.0 and 1_000 as integers. In a setting these are more likely mistakes.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f"{value!r} is not a whole number")
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]


class Settings(BaseSettings):
    """All settings, named like their environment variables. README.md has a table of them."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", hide_input_in_errors=True)

    DATABASE_URL: Annotated[SecretStr, AfterValidator(_database_url)]
    API_KEYS_FILE: Annotated[Path, AfterValidator(_keys_file)]
    OFFICE_HOURS: Annotated[str, AfterValidator(_office_hours)]
    DEARCHIVE_OFFICE_HOURS: Annotated[str, AfterValidator(_office_hours)] = "none"
    OFFICE_HOURS_TIMEZONE: Annotated[str, AfterValidator(_time_zone)] | None = None
    LEAD_IDS_LIMIT: Annotated[Integer, Field(ge=1, le=10_000)] = 500
    LEADS_IN_USE: Literal["keep", "ignore"] = "keep"
    REUSED_LEAD_IDS: Reused = "keep"
    DATABASE_TLS: tls.Mode = "off"
    DATABASE_TLS_CA_FILE: ReadableFile | None = None
    PACE: Literal["auto", "gentle", "full"] = "auto"
    DATABASE_POOL_SIZE: Annotated[Integer, Field(ge=1, le=1_000)] = 8
    REQUEST_TIMEOUT: Annotated[Integer, Field(ge=1, le=3_600)] = 30
    HOST: str = "127.0.0.1"
    PORT: Annotated[Integer, Field(ge=1, le=65_535)] = 8000
    METRICS_PORT: Annotated[Integer, Field(ge=1, le=65_535)] | None = None
    WORKERS: Annotated[Integer, Field(ge=1, le=256)] = 1
    TLS_CERT_FILE: ReadableFile | None = None
    TLS_KEY_FILE: ReadableFile | None = None
    DOCS: Literal["on", "off"] = "on"
    AUDIT_LOG: Annotated[Path, AfterValidator(_appendable)] | None = None
    ADMIN_LOG: Literal["off", "on"] = "off"
    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("is set, but empty")
        return value

    @field_validator("LOG_LEVEL", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("OFFICE_HOURS_TIMEZONE")
    @classmethod
    def _given_with_windows(cls, timezone: str | None, info: ValidationInfo) -> str | None:
        for setting in ("OFFICE_HOURS", "DEARCHIVE_OFFICE_HOURS"):
            if timezone is None and info.data.get(setting, "none") != "none":
                raise ValueError(f"is not set; {setting} has windows, so name an IANA time zone")
        return timezone

    @field_validator("DATABASE_TLS")
    @classmethod
    def _over_the_network(cls, mode: tls.Mode, info: ValidationInfo) -> tls.Mode:
        url = info.data.get("DATABASE_URL")
        if mode != "off" and url and DatabaseURL(url.get_secret_value()).options:
            raise ValueError("is of no use with a unix_socket, which does not leave this machine: leave it out")
        return mode

    @field_validator("DATABASE_TLS_CA_FILE")
    @classmethod
    def _authorities(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None or "DATABASE_TLS" not in info.data:  # it was refused already
            return path
        if info.data["DATABASE_TLS"] != "verify":
            raise ValueError("is not used: set DATABASE_TLS=verify too")
        try:
            _database_tls("verify", path)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"{path} does not hold PEM certificates: {error}") from None
        return path

    @field_validator("METRICS_PORT")
    @classmethod
    def _another_port(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and port == info.data.get("PORT"):
            raise ValueError("is the same as PORT, which serves /metrics if METRICS_PORT is not set: leave it out")
        return port

    @field_validator("TLS_KEY_FILE")
    @classmethod
    def _belongs_to_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "TLS_CERT_FILE" not in info.data:  # it was refused already
            return key
        certificate = info.data["TLS_CERT_FILE"]
        if (certificate is None) != (key is None):
            raise ValueError("goes together with TLS_CERT_FILE: set both or neither")
        if certificate and key:
            try:
                Certificate(certificate, key)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"TLS_CERT_FILE and it are not a PEM certificate and its key, without a passphrase: {error}"
                ) from None
        return key

    @property
    def database_tls(self) -> ssl.SSLContext | None:
        """The context of connections to the database. Reads the file again."""
        return _database_tls(self.DATABASE_TLS, self.DATABASE_TLS_CA_FILE)

    @property
    def office_hours(self) -> OfficeHours:
        return self._parsed(self.OFFICE_HOURS)

    @property
    def dearchive_office_hours(self) -> OfficeHours:
        return self._parsed(self.DEARCHIVE_OFFICE_HOURS)

    def _parsed(self, windows: str) -> OfficeHours:
        return OfficeHours.parse(windows, ZoneInfo(self.OFFICE_HOURS_TIMEZONE or "UTC"))

    @property
    def keys(self) -> KeysFile:
        return KeysFile(self.API_KEYS_FILE)


def read_settings() -> Settings:
    """Return the settings in the environment. Raises SettingsError, which names every setting that is wrong in one line."""
    try:
        return Settings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False, include_input=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "missing":
                problem = "is not set" if name not in os.environ else detail["msg"]
            else:
                problem = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{name}: {problem}" if name else problem)
        raise SettingsError(problems) from None
