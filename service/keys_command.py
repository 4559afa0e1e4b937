"""`python -m service keys …`: makes, lists and revokes API keys in API_KEYS_FILE."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

import click
import tomlkit
from rich import box
from rich.console import Console
from rich.table import Table

from service.keys import LARGEST_LIST_ID, Key, Keys, fingerprint

KEY_BYTES = 32
"""Bytes of randomness in a key: nobody guesses one, so its hash needs no salt."""


@click.group()
def keys() -> None:
    """Make, list and revoke API keys. A running service sees the change at once."""


@keys.command()
@click.argument("name")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="From the start of this day, UTC, the key is refused.")
@click.option(
    "--list-id",
    "list_ids",
    type=click.IntRange(0, LARGEST_LIST_ID),
    multiple=True,
    help="May be repeated. The key sees leads of these lists only.",
)
def create(name: str, expires: datetime | None, list_ids: tuple[int, ...]) -> None:
    """Make a key for NAME and print it, this once.

    A name may have several keys: make the new one, give it to the client, and revoke the old one when it is no longer used.
    """
    if not name.strip() or not name.isprintable():
        raise click.UsageError("NAME must be a text that can be printed")
    key = secrets.token_urlsafe(KEY_BYTES)
    entry = tomlkit.table()
    entry["name"] = name
    entry["sha256"] = fingerprint(key)
    if expires:
        entry["expires"] = expires.date()
    if list_ids:
        entry["list_ids"] = sorted(set(list_ids))

    def add(document: tomlkit.TOMLDocument) -> None:
        if "keys" in document:
            _load(path)  # of what is broken nobody knows what it would be afterwards
        else:
            document["keys"] = tomlkit.aot()
        document["keys"].append(entry)

    path = _path()
    _change(path, add, missing_ok=True)
    click.echo(key)
    click.echo(f"That is the key of {name}. It is shown only now: the file holds no more than its SHA-256.", err=True)


@keys.command("list")
def list_keys() -> None:
    """Show all keys: whose they are, when they expire, which lists they see. The keys themselves are nowhere."""
    table = Table("Name", "SHA-256", "Expires", "Lists", "State", box=box.SIMPLE_HEAD)
    today = datetime.now(UTC).date()
    for key in _load(_path()).entries:
        lists = "all" if key.list_ids is None else ", ".join(map(str, sorted(key.list_ids)))
        table.add_row(key.name, f"{key.short}…", str(key.expires or "never"), lists, state(key, today))
    Console(soft_wrap=True, highlight=False).print(table)


@keys.command()
@click.argument("name")
@click.option("--sha256", "prefix", metavar="DIGITS", help="The key whose SHA-256 begins with DIGITS.")
@click.option("--all", "every", is_flag=True, help="All keys of NAME.")
def revoke(name: str, prefix: str | None, every: bool) -> None:
    """Delete the key of NAME. If it has several, say which."""
    path = _path()
    found = [key for key in _load(path).entries if key.name == name and key.digest.hex().startswith((prefix or "").lower())]
    if not found:
        raise click.ClickException(f"{path} holds no such key of {name!r}; `python -m service keys list` shows all")
    if len(found) > 1 and not every:
        digits = ", ".join(key.short for key in found)
        raise click.ClickException(f"{name!r} has {len(found)} keys: name one with --sha256 ({digits}), or give --all")
    if len(found) == len(_load(path).entries):
        raise click.ClickException(
            f"it is the last key in {path}, and the service does not start without one: make another before"
        )
    revoked = {key.digest.hex() for key in found}

    def remove(document: tomlkit.TOMLDocument) -> None:
        tables = document["keys"]
        for number in reversed(range(len(tables))):
            if str(tables[number]["sha256"]).lower() in revoked:
                del tables[number]

    _change(path, remove)
    click.echo(f"revoked: {name} {', '.join(key.short for key in found)}", err=True)


def state(key: Key, today: date) -> str:
    """Whether a key can be used. today: the date in UTC."""
    if not key.is_valid_on(today):
        return "expired"
    return f"valid for {(key.expires - today).days} days" if key.expires else "valid"


def _path() -> Path:
    """Of all settings these commands need only this one."""
    path = os.environ.get("API_KEYS_FILE", "").strip()
    if not path:
        raise click.ClickException("API_KEYS_FILE is not set")
    return Path(path)


def _load(path: Path) -> Keys:
    try:
        return Keys.load(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _change(path: Path, change: Callable[[tomlkit.TOMLDocument], None], missing_ok: bool = False) -> None:
    """Change the file as a whole or not at all: whoever reads it meanwhile, or a crash, sees the old or the new one.

    Comments stay. The file belongs to whom it belonged, and nobody else can read it.
    """
    path = path.resolve()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() or not missing_ok else tomlkit.document()
        change(document)
        owner = path.stat() if path.exists() else path.parent.stat()
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8") as file:
            try:
                file.write(tomlkit.dumps(document))
                file.flush()
                os.fsync(file.fileno())
                Keys.load(Path(file.name))  # nothing that the service would refuse gets there
                if os.geteuid() == 0:
                    os.chown(file.name, owner.st_uid, owner.st_gid)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise click.ClickException(f"cannot change {path}: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
