"""The configuration, who may read its secrets, and the place for the state."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from vire_edge.cli.doctor.check import Check, failed_with, failure, ok, warning
from vire_edge.config import Config, chosen_path, load_config, readable_by_everyone, secret_files, state_directory
from vire_edge.errors import ConfigError

SERVICE_HOME = Path("/var/lib/vire-edge")
"""The service's StateDirectory, and its user's home."""

_STATE = "state directory"
_FULL_MB, _NEARLY_FULL_MB = 50, 500


def check_configuration(path: Path | None) -> tuple[Config | None, list[Check]]:
    """Read the configuration together with the environment.

    Args:
        path: the file asked for; None for the default one.

    Returns:
        The configuration, None if it is wrong, and what was found.
    """
    path = chosen_path(path)
    try:
        config = load_config(path)
    except ConfigError as error:
        if path is not None and _is_forbidden(path):
            return None, [failure("configuration", str(error), "ask as its user: sudo -u vire-edge vire-edge doctor")]
        return None, [failed_with("configuration", error)]
    cameras = ", ".join(camera.name for camera in config.cameras)
    found = "no file, the defaults" if path is None else str(path)
    return config, [
        ok("configuration", f"{found} ({len(config.alerts)} alert rules, cameras: {cameras})"),
        *check_secrets(config, path),
    ]


def check_secrets(config: Config, path: Path | None) -> list[Check]:
    """Whether anybody but the daemon can read a password or key: one result for each file that holds one."""
    return [_check_secret(name, file) for name, file in secret_files(config, path)]


def check_state_directory(config: Config, service_home: Path = SERVICE_HOME) -> Check:
    """Whether what must survive a restart can be written, is private, and fits on the disk."""
    try:
        return _check_state(state_folder(config), service_home)
    except ConfigError as error:
        return failed_with(_STATE, error)


def state_folder(config: Config) -> Path:
    """Return where the daemon keeps its state, if it runs as the user who asks.

    Raises:
        ConfigError: nothing names a place, and the user has no home.
    """
    environ = dict(os.environ)
    with suppress(RuntimeError):  # the user has no home: not the service's user
        if "STATE_DIRECTORY" not in environ and Path.home() == SERVICE_HOME:
            environ["STATE_DIRECTORY"] = str(SERVICE_HOME)  # asked as the service's user: mean the service's place
    return state_directory(config, environ=environ)


def _check_state(folder: Path, service_home: Path) -> Check:
    remedy = "set state_dir to a folder that the daemon's user may write"
    if folder.exists():
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"doctor")
                probe.flush()
        except OSError as error:
            return failure(_STATE, f"{folder} cannot be written ({(error.strerror or str(error)).lower()})", remedy)
        existing = folder
    else:
        existing = next(parent for parent in folder.absolute().parents if parent.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            if folder.is_relative_to(service_home):
                remedy = "start the service once, it makes it: sudo systemctl start vire-edge"
            return failure(_STATE, f"{folder} does not exist and cannot be made in {existing}", remedy)
    free_mb = shutil.disk_usage(existing).free // 2**20
    detail = f"{folder}, {free_mb:,} MB free" + ("" if folder.exists() else " (made at the first start)")
    if free_mb < _FULL_MB:
        return failure(_STATE, detail, "free some space on the disk")
    if free_mb < _NEARLY_FULL_MB:
        return warning(_STATE, detail, "free some space on the disk before it is full")
    if folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o007:
        return warning(_STATE, f"{folder} can be read by every user", f"make it private: chmod 0700 {folder}")
    return ok(_STATE, detail)


def _is_forbidden(path: Path) -> bool:
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _check_secret(name: str, file: Path) -> Check:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        file.open("rb").close()
    except OSError as error:
        return failure(
            name, f"{file} cannot be read ({(error.strerror or str(error)).lower()})", "let the daemon's user read it"
        )
    if readable_by_everyone(file):
        return warning(name, f"{file} can be read by every user (mode {mode:04o})", f"sudo chmod o= {file}")
    return ok(name, f"{file} is private (mode {mode:04o})")
