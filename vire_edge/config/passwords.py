"""Passwords: read from their files or systemd's credentials, and who else may read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr

from vire_edge.config.settings import Config, redact_source
from vire_edge.config.toml import read_toml
from vire_edge.errors import MISPLACED, ConfigError, ConfigUnavailableError

MAX_PASSWORD_BYTES = 4096
_log = structlog.get_logger()


def add_credentials(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Point to systemd's credentials where a login has no password yet (systemd.exec(5), LoadCredential=)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for section in ("mqtt", "broker") if folder else ():
        table = values.get(section)
        credential = Path(str(folder)) / f"{section}_password"
        needs_one = isinstance(table, dict) and "username" in table and not {"password", "password_file"} & set(table)
        if isinstance(table, dict) and needs_one and credential.exists():
            table["password_file"] = str(credential)


def with_passwords(config: Config) -> Config:
    """Return the configuration with the passwords that stand in files.

    Raises:
        ConfigError: such a file is missing, or its first line is no password.
        ConfigUnavailableError: such a file cannot be read now.
    """
    changes: dict[str, Any] = {}
    for name, section in (("mqtt", config.mqtt), ("broker", config.broker)):
        if section.password_file is not None:
            password = _read_password(f"{name}.password_file", section.password_file)
            changes[name] = section.model_copy(update={"password": password})
    return config.model_copy(update=changes)


def secret_files(config: Config, path: Path | None) -> Iterator[tuple[str, Path]]:
    """Name each file that holds a password or key.

    Args:
        config: as it was read.
        path: the file it was read from; None if there is none.
    """
    if path is not None and _holds_secret(read_toml(path)):
        yield "configuration's password", path
    for name, file in (
        ("mqtt.password_file", config.mqtt.password_file),
        ("broker.password_file", config.broker.password_file),
        ("mqtt.tls.key_file", config.mqtt.tls.key_file if config.mqtt.tls else None),
    ):
        if file is not None:
            yield name, file


def readable_by_everyone(file: Path) -> bool:
    """Whether every user of this machine may read a file; no, if it cannot be looked at."""
    try:
        return bool(stat.S_IMODE(file.stat().st_mode) & 0o007)
    except OSError:
        return False


def warn_of_readers(config: Config, path: Path | None) -> None:
    """Log each file with a password or key that every user may read."""
    for name, file in secret_files(config, path):
        if readable_by_everyone(file):
            _log.warning("every user can read a secret", secret=name, path=str(file), remedy=f"chmod o= {file}")


def _holds_secret(values: dict[str, Any]) -> bool:
    """Whether the file itself holds a password: a broker's, or a camera's in what is never shown of its address."""
    if any("password" in values.get(section, {}) for section in ("mqtt", "broker")):
        return True
    sources = [str(camera.get("source", "")) for camera in values.get("cameras", [])]
    return any(redact_source(source) != source for source in sources)


def _read_password(key: str, path: Path) -> SecretStr:
    try:
        with path.open("rb") as file:
            first_line = file.readline(MAX_PASSWORD_BYTES + 1).decode("utf-8").rstrip("\r\n")
    except OSError as error:
        what = f"{key}: {path} cannot be read: {error.strerror}"
        if isinstance(error, MISPLACED):
            raise ConfigError(f"{what}; make it, with the password as its first line, or correct {key}") from None
        if isinstance(error, PermissionError):
            what += f"; let the daemon's user read it, for the service: sudo chown vire-edge {path}"
        raise ConfigUnavailableError(what) from None
    except ValueError:  # no UTF-8, or a path that cannot be one
        raise ConfigError(f"{key}: {path!r} is no text file in UTF-8") from None
    if len(first_line) > MAX_PASSWORD_BYTES:
        raise ConfigError(f"{key}: the first line of {path} is longer than {MAX_PASSWORD_BYTES:,} bytes")
    if not first_line.strip():
        raise ConfigError(f"{key}: the first line of {path} is empty; it must be the password")
    return SecretStr(first_line)
