"""`python -m service keys …`: make, list and revoke API keys in API_KEYS_FILE."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

import click
import tomlkit
from rich import box
from rich.console import Console
from rich.table import Table

from service.access.keys import LARGEST_LIST_ID, Key, Keys, fingerprint, parse_toml
from service.files import read_file

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another command that is changing the file."""

KEY_BYTES = 32
"""Random bytes in a key. Nobody can guess a key, so its hash needs no salt."""


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

    def add(document: tomlkit.TOMLDocument, text: bytes) -> None:
        if "keys" in document:
            Keys.parse(text, path)  # a file with invalid content cannot be changed safely
        else:
            document["keys"] = tomlkit.aot()
        document["keys"].append(entry)

    path = _path()
    _change(path, add, missing_ok=True, before_it_counts=lambda: _show(key))
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
    revoked: list[Key] = []

    def remove(document: tomlkit.TOMLDocument, text: bytes) -> None:
        entries = Keys.parse(text, path).entries
        revoked.extend(key for key in entries if key.name == name and key.digest.hex().startswith((prefix or "").lower()))
        if not revoked:
            raise click.ClickException(f"{path} holds no such key of {name!r}; `python -m service keys list` shows all")
        if len(revoked) > 1 and not every:
            digits = ", ".join(key.short for key in revoked)
            raise click.ClickException(f"{name!r} has {len(revoked)} keys: name one with --sha256 ({digits}), or give --all")
        if len(revoked) == len(entries):
            raise click.ClickException(
                f"it is the last key in {path}, and the service does not start without one: make another before"
            )
        tables = document["keys"]
        for number in reversed(range(len(entries))):
            if entries[number] in revoked:
                del tables[number]

    _change(path, remove)
    click.echo(f"revoked: {name} {', '.join(key.short for key in revoked)}", err=True)


def _show(key: str) -> None:
    """Print a key. Raises ClickException if not all of it can be written."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        print(key, flush=True)
    except OSError as error:
        with contextlib.suppress(OSError, AttributeError):  # or the end of the process would try to write it once more
            sys.stdout.close()
        raise click.ClickException(f"the key cannot be shown, and was not made: {error.strerror}") from None


def state(key: Key, today: date) -> str:
    """Return whether a key is valid. today: the date in UTC."""
    if not key.is_valid_on(today):
        return "expired"
    return f"valid for {(key.expires - today).days} days" if key.expires else "valid"


def _path() -> Path:
    """These commands need only this setting."""
    path = os.environ.get("API_KEYS_FILE", "").strip()
    if not path:
        raise click.ClickException("API_KEYS_FILE is not set")
    return Path(path)


def _load(path: Path) -> Keys:
    try:
        return Keys.load(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _change(
    path: Path,
    change: Callable[[tomlkit.TOMLDocument, bytes], None],
    missing_ok: bool = False,
    before_it_counts: Callable[[], None] = lambda: None,
) -> None:
    """Change the file completely or not at all: a reader, or a crash, sees the old or the new file.

    change: gets the document and its text. No other command changes them meanwhile. Comments, owner and mode stay.
    before_it_counts: called when the new file is on disk and has yet to take the place of the old one. If it raises, nothing
    is changed.
    """
    path = path.resolve()
    try:
        with _locked(path.parent) as folder:
            is_new = missing_ok and not path.exists()
            if not is_new and path.stat().st_nlink > 1:
                raise OSError(errno.EMLINK, "it has another name (hard link), under which the old keys would stay valid")
            text = b"" if is_new else read_file(path)
            parse_toml(text, path)  # raises ValueError, which says what is not valid
            document = tomlkit.parse(text)
            change(document, text)
            _replace(path, tomlkit.dumps(document), is_new, before_it_counts)
            os.fsync(folder)
    except OSError as error:
        raise click.ClickException(f"cannot change {path}: {error.strerror}") from None
    except RecursionError:
        raise click.ClickException(f"cannot change {path}: its values are nested too deeply") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Let no other command change a file in a folder until the end of the block. Yield the descriptor of the folder.

    The folder is locked, not the file, since the file is replaced. Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise click.ClickException(f"another command holds the lock on {folder}: try again") from None
                time.sleep(0.05)
            except OSError as error:
                reason = f"{error.strerror}; the file system of {folder} must support flock on folders, as local ones do"
                raise OSError(error.errno, reason) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str, is_new: bool, before_it_counts: Callable[[], None]) -> None:
    """Replace a file by one with this text. Every account that could read the old file, above all the service, can read the
    new one."""
    try:
        file = NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8")  # noqa: SIM115
    except PermissionError:
        reason = f"another file is put in its place, and the folder {path.parent} cannot be written by this user"
        raise PermissionError(errno.EACCES, reason) from None
    try:
        with file:
            file.write(text)
            file.flush()
            _give(path.parent if is_new else path, file.fileno(), mode=0o600 if is_new else None)
            os.fsync(file.fileno())
        Keys.load(Path(file.name))  # never write what the service would refuse
        before_it_counts()
        Path(file.name).replace(path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


def _give(like: Path, descriptor: int, mode: int | None) -> None:
    """Give a new file the owner of the old one, and its mode and access control list unless a mode is given."""
    status = like.stat()
    new = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (new.st_uid, new.st_gid) and (mode is None or os.geteuid() == 0):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError:
            reason = "it has another owner or group, which only that owner or root can give to the file in its place"
            raise PermissionError(errno.EPERM, reason) from None
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) if mode is None else mode)
    if mode is None:
        for name in _attributes(like):
            with contextlib.suppress(OSError):  # the kernel sets some itself
                os.setxattr(descriptor, name, os.getxattr(like, name))


def _attributes(path: Path) -> list[str]:
    """Return the names of a file's extended attributes. None exist on some file systems."""
    try:
        return os.listxattr(path)
    except OSError:
        return []
