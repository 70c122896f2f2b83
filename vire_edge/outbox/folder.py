"""The state folder: made for this device alone, and used by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import structlog

from vire_edge.errors import StorageError

DATABASE = "state.sqlite3"
LOCK = "state.lock"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def claim(folder: Path) -> int:
    """Make the folder, close it to others, and lock it.

    Returns:
        The descriptor that holds the lock, for as long as it is open.

    Raises:
        StorageError: the folder is no folder, not ours, shared with other things, or used by another process.
        OSError: the disk fails.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(folder)
        create_private(folder / DATABASE)
        return _lock(folder / LOCK)
    except (FileExistsError, NotADirectoryError):
        raise StorageError(f"{folder} is no folder; name another one, or move away what stands there") from None
    except PermissionError as error:
        if not os.access(folder, os.F_OK):
            raise StorageError(
                f"{folder} cannot be reached or made ({error.strerror}); "
                "set state_dir to a folder that the daemon's user may write"
            ) from None
        raise StorageError(
            f"{error.filename or folder} may not be used ({error.strerror}); give {folder} to the daemon's user"
        ) from None


def create_private(path: Path) -> None:
    """Make the file if there is none, and see that it is readable for its owner alone.

    SQLite gives the files that it makes beside it the same rights.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & _OTHERS:
            os.fchmod(descriptor, 0o600)
            log.warning("state_file_closed_to_others", file=str(path))
    finally:
        os.close(descriptor)


def _close_to_others(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & _OTHERS:
        return
    # A folder such as /tmp or a home must not be taken away from everybody else.
    if any(not entry.name.startswith("state.") for entry in folder.iterdir()):
        raise StorageError(
            f"{folder} is open to others (mode {mode:04o}) and holds other files; "
            f"name a folder of its own, or close it: chmod 700 {folder}"
        )
    folder.chmod(0o700)
    log.warning("state_folder_closed_to_others", folder=str(folder), mode=f"{mode:04o}")


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StorageError(
            f"{path.parent} is used by another vire-edge, and each alert would be sent twice; "
            "stop it, or give this one a state folder of its own"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
