"""A configuration of an older version → one of the present version; a newer one is refused.

The daemon does so in memory at each start and leaves the file alone: it is the user's, and under systemd it cannot be
written. `vire-edge check-config --migrate` writes the present form and keeps the old file beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vire_edge.config.toml import read_toml, write_toml
from vire_edge.errors import ConfigError, StorageError

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""The tables of one version → those of the next."""
MIGRATIONS: tuple[Migration, ...] = ()
"""The first one leads from version 1 to version 2, and so on; so far there is one version."""
CONFIG_VERSION = len(MIGRATIONS) + 1
_WITHOUT_VERSION = 1
"""What a file that names none is, for ever."""


def up_to_date(values: dict[str, Any], path: Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> dict[str, Any]:
    """Return a file's tables in the form of the present version.

    Args:
        values: as they were read.
        path: where from, for the message.
        migrations: from the first version to the present one.

    Raises:
        ConfigError: the version is a newer one, or none at all.
    """
    known = len(migrations) + 1
    version = _version(values, path, known)
    for migrate in migrations[version - 1 :]:
        values = migrate(values)
    return values | {"version": known}


def migrate_file(path: Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> Path | None:
    """Write a file in the form of the present version; its comments stay behind in the backup.

    Returns:
        The backup, or None if the file was up to date.

    Raises:
        ConfigError: the file cannot be read, or is of a newer version.
        StorageError: it or its backup cannot be written.
    """
    values, known = read_toml(path), len(migrations) + 1
    version = _version(values, path, known)
    if version == known:
        return None
    migrated = up_to_date(values, path, migrations=migrations)
    backup = _backup_of(path, version)
    if backup.exists():
        raise StorageError(f"{backup} is there already and would be overwritten; move it away first")
    try:
        shutil.copy2(path, backup)
        replaced = path.stat()
        os.chown(backup, replaced.st_uid, replaced.st_gid)
    except OSError as error:
        raise StorageError(f"backup {backup} cannot be written: {error.strerror}") from error
    write_toml(path, {"version": known} | migrated)  # the version at the top
    return backup


def _backup_of(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.v{version}.bak")


def _version(values: dict[str, Any], path: Path, known: int) -> int:
    version = values.get("version", _WITHOUT_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f"configuration {path}: version must be a whole number from 1 to {known}")
    if version > known:
        shown = version if version < 10**9 else "of many digits"
        backup = _backup_of(path, known)
        or_back = f", or go back to the file's backup, {backup.name}" if backup.exists() else ""
        raise ConfigError(
            f"configuration {path} is of version {shown}, and this vire-edge knows {known}; upgrade vire-edge{or_back}"
        )
    return version
