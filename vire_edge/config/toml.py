"""TOML text, bounded: file → tables and back. A file may be anything; what cannot be a configuration ends here."""

from __future__ import annotations

import json
import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from vire_edge.errors import MISPLACED, ConfigError, ConfigUnavailableError, StorageError

MAX_BYTES = 256 << 10
"""A whole configuration has some ten thousand, one of 256 alerts a hundred thousand."""
MAX_LINE = 4096
"""The time for a key of many parts grows with their square: a line bounds it."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ConfigError: it is missing, too large, or no TOML.
        ConfigUnavailableError: it cannot be read now.
    """
    text = _read_text(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE:
            raise ConfigError(
                f"configuration {path}: line {number} has {len(line):,} characters, more than {MAX_LINE:,}; "
                "write it on several lines"
            )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = "text needs quotes" if "Invalid value" in str(error) else "compare: vire-edge check-config --example"
        raise ConfigError(f"configuration {path} is not valid TOML: {_one_line(error)}; {hint}") from None
    except RecursionError:
        raise ConfigError(f"configuration {path} is nested too deeply; no setting is deeper than three") from None
    except ValueError:  # int() of more digits than Python is set to read
        raise ConfigError(f"configuration {path} holds a number with too many digits") from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"configuration {path} does not exist; make one with: vire-edge check-config --example > {path}"
        ) from None
    except OSError as error:
        kind = ConfigError if isinstance(error, MISPLACED) else ConfigUnavailableError
        raise kind(f"configuration {path} cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL byte in it
        raise ConfigError(f"configuration {str(path)!r} cannot be the name of a file") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"configuration {path} has more than {MAX_BYTES >> 10} KiB; is it the right file?")
    try:
        return content.decode("utf-8-sig")  # Windows editors put a mark before the text
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"configuration {path} is not UTF-8 text (line {line}); save it as UTF-8") from None


def write_toml(path: Path, values: dict[str, Any]) -> None:
    """Write a configuration file in one step, with the owner, group and permissions of the one that it replaces.

    Raises:
        StorageError: it cannot be written.
    """
    half = path.with_name(path.name + ".half")
    try:
        replaced = path.stat()
        mode = replaced.st_mode & 0o777
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(dump_toml(values))
            file.flush()
            os.fsync(file.fileno())
        os.chown(half, replaced.st_uid, replaced.st_gid)  # root may write it; the daemon's group must read it
        half.chmod(mode)
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink()  # it may hold a password
        raise StorageError(f"configuration {path} cannot be written: {error.strerror}") from error


def dump_toml(values: dict[str, Any]) -> str:
    """Return tables as text: plain values first, as TOML asks, then each section and each item of a list of tables."""
    plain: list[str] = []
    tables: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            tables += ["", f"[{_key(key)}]", *(f"{_key(inner)} = {_value(item)}" for inner, item in value.items())]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for table in value:
                tables += [
                    "",
                    f"[[{_key(key)}]]",
                    *(f"{_key(inner)} = {_value(item)}" for inner, item in table.items()),
                ]
        else:
            plain.append(f"{_key(key)} = {_value(value)}")
    return "\n".join([*plain, *tables, ""])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value.isoformat()


def _string(text: str) -> str:
    """JSON's strings are TOML's, but for the one control character that only TOML escapes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
