"""What a disk that fails says, what a person can do about it, and when it is worth another attempt."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

FIRST_RETRY_SECONDS = 1.0
"""Doubles with each attempt at a disk that fails …"""
RETRY_LIMIT_SECONDS = 60.0
"""… up to this: somebody who has made room wants to see that it helped."""
_REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on this disk",
    sqlite3.SQLITE_READONLY: "make the disk writable; a memory card that has become read-only is worn out",
    sqlite3.SQLITE_IOERR: "the disk fails or a quota is reached; make room, or replace the card",
    sqlite3.SQLITE_BUSY: "close the other program that has the file open",
    sqlite3.SQLITE_CANTOPEN: "make the disk writable, and this folder for the daemon's user",
}
_SAME = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EIO: sqlite3.SQLITE_IOERR,
    errno.EACCES: sqlite3.SQLITE_CANTOPEN,
    errno.EPERM: sqlite3.SQLITE_CANTOPEN,
}
"""What the kernel says → what SQLite says of the same."""


def complaint(path: Path, error: OSError | sqlite3.Error) -> str:
    """What the disk or the database says is wrong with the file, and what the user can do about it."""
    if isinstance(error, sqlite3.Error):
        reason, code = str(error), getattr(error, "sqlite_errorcode", 0) & 0xFF
    else:
        reason, code = error.strerror or str(error), _SAME.get(error.errno or 0, 0)
    return f"{path} cannot be written ({reason}); {_REMEDIES.get(code, 'check the disk')}"


def retry_seconds(failures: int) -> float:
    """How long to leave a disk alone that has failed before, so many times in a row, and now again."""
    return min(RETRY_LIMIT_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16))
