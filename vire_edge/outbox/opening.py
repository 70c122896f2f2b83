"""Opening the SQLite file: made where there is none, migrated when it is older, set aside when it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from vire_edge.domain import Instant
from vire_edge.errors import StorageError
from vire_edge.outbox.clock import Clock, read_boot
from vire_edge.outbox.database import Contents, Database, Recalled, transaction
from vire_edge.outbox.folder import DATABASE, create_private
from vire_edge.outbox.schema import STEPS

BUSY_SECONDS = 0.25
"""How long to wait for another program that looks into the file: the main loop waits with us."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that is ready."""

    database: Database
    contents: Contents
    set_aside: Path | None = None
    """Where a damaged file was put that stood in its place."""


def open_database(path: Path, *, now: Clock, steps: Sequence[str] = STEPS) -> Opened:
    """Open the file, or make it; migrate it when it is older; set it aside when it is damaged.

    Args:
        path: the file; its folder must exist.
        now: the clocks.
        steps: SQL scripts, each of which makes the next version.

    Raises:
        StorageError: the file was made by a newer version of this software.
        sqlite3.Error, OSError: the disk fails.
    """
    try:
        return _open(path, now, steps)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        reason = str(error)
    aside = _set_aside(path, now)
    log.error("state_file_damaged", file=str(path), reason=reason, kept_as=str(aside))
    return replace(_open(path, now, steps), set_aside=aside)


def peek(folder: Path, key: str, *, now: Instant) -> Recalled | None:
    """Look up what the daemon of a state folder remembers, whether or not it runs now; nothing is changed.

    Args:
        folder: the state folder.
        key: the name under which it was kept.
        now: the present moment.

    Returns:
        What was kept, and how long ago; None if nothing was, or if it cannot be read.
    """
    path = folder / DATABASE
    try:
        with contextlib.closing(_connect(path, read_only=True)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a log's index of our own: the daemon's is in use
            contents = Database(path, connection).load(Clock.read(read_boot(), now))
    except (OSError, sqlite3.Error, ValueError, TypeError):
        return None
    kept = contents.memory.get(key)
    return None if kept is None else kept.recall(now.monotonic)


def _open(path: Path, now: Clock, steps: Sequence[str]) -> Opened:
    create_private(path)
    connection = _connect(path)
    try:
        # Before anything is read: otherwise the log's index is a memory-mapped file, and a full disk ends us by SIGBUS.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        with _reading():
            version = _check(
                connection, path, len(steps)
            )  # before anything is changed: what is not ours stays as it is
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version < len(steps):
            _migrate(connection, path, version, now, steps)
        database = Database(path, connection)
        with _reading():
            return Opened(database, database.load(now))
    except BaseException:
        connection.close()
        raise


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    if read_only or not os.access(path, os.W_OK):
        # A disk that has become read-only grants no lock and needs none; what it holds is read, with its log if any.
        has_log = path.with_name(f"{path.name}-wal").exists()
        uri += "?mode=ro&vfs=unix-none" if has_log else "?immutable=1"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Tell from a disk that fails what SQLite can read and what cannot be ours."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise _DamagedError(str(error)) from error
    except sqlite3.OperationalError as error:
        # A table or a column is missing, or a text is no UTF-8, which Python finds and gives no code.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
            raise
        raise _DamagedError(str(error)) from error


def _check(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Return the version, 0 for an empty file."""
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _DamagedError(verdict)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise StorageError(
            f"{path} is of version {version}, and this vire-edge knows versions up to {newest}; "
            "install the newer vire-edge again, or move the file away"
        )
    if not version and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise _DamagedError("it is a database of something else")
    return version


def _migrate(connection: sqlite3.Connection, path: Path, version: int, now: Clock, steps: Sequence[str]) -> None:
    if version:
        _back_up(connection, path.with_name(f"{path.name}.version-{version}-{_stamp(now)}"))
    with transaction(connection):
        for number, step in enumerate(steps[version:], start=version + 1):
            for statement in step.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    if version:
        log.info("state_file_migrated", file=str(path), from_version=version, to_version=len(steps))


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    create_private(path)
    with contextlib.closing(sqlite3.connect(path)) as copy:
        connection.backup(copy)


def _set_aside(path: Path, now: Clock) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{_stamp(now)}")
    attempt = 1
    while aside.exists():
        attempt += 1
        aside = path.with_name(f"{path.name}.damaged-{_stamp(now)}-{attempt}")
    path.rename(aside)
    for companion in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(aside.with_name(aside.name + companion))
    return aside


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is broken: writing it again would not help, another file does."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED or isinstance(error, _DamagedError)


class _DamagedError(sqlite3.DatabaseError):
    """SQLite can read the file, and what it reads cannot be ours."""


def _stamp(now: Clock) -> str:
    return datetime.fromtimestamp(now.utc, UTC).strftime("%Y%m%dT%H%M%SZ")
