"""TOML file + environment → `Config`, or one `ConfigError` that names each wrong key, its value and the remedy."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from vire_edge.config.settings import Config, redact_source
from vire_edge.errors import ConfigError

DEFAULT_PATH = Path("/etc/vire-edge/config.toml")
ENV_PREFIX = "VIRE_EDGE_"
ENV_CONFIG = ENV_PREFIX + "CONFIG"
"""Names the configuration file; every other variable with the prefix is a setting."""

_PHRASES = {
    "missing": "{key} is missing",
    "list_type": "{key} must be a list; tables of it are written in double brackets, [[{key}]]",
    "greater_than": "{key} must be above {gt}, got {value!r}",
    "greater_than_equal": "{key} must be at least {ge}, got {value!r}",
    "less_than_equal": "{key} must be at most {le}, got {value!r}",
    "literal_error": "{key} must be {expected}, got {value!r}",
    "enum": "{key} must be {expected}, got {value!r}",
    "union_tag_invalid": "{key}.kind must be one of {expected_tags}, got {tag!r}",
    "union_tag_not_found": "{key}.kind is missing; it must be 'sustained', 'spike', 'absence' or 'camera'",
}
"""pydantic's error types in this project's words."""


def load_config(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the configuration.

    Args:
        path: the TOML file; None takes `DEFAULT_PATH` if it is there and the defaults otherwise.
        environ: the environment, the process's own when left out. `VIRE_EDGE_MQTT__HOST` sets `mqtt.host`;
            a list or table is given as JSON.

    Returns:
        The validated configuration with its passwords read from their files or systemd's credentials.

    Raises:
        ConfigError: the file is missing, unreadable or no TOML, or a key or value is wrong.
    """
    environ = os.environ if environ is None else environ
    if path is None and _may_exist(DEFAULT_PATH):
        path = DEFAULT_PATH
    values = {} if path is None else _read_toml(path)
    variables = _lay_over(values, environ)
    _add_credentials(values, environ)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        lines = [_describe(detail, variables, values) for detail in error.errors(include_url=False)]
        where = "the environment" if path is None else f"configuration {path}"
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(lines))) from None
    return _with_secrets(config)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"configuration {path} does not exist; make one with: vire-edge check-config --example > {path}"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration {path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = "; text needs quotes" if "Invalid value" in str(error) else ""
        raise ConfigError(f"configuration {path} is not valid TOML: {error}{hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"configuration {path} cannot be read: {reason}") from None


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # reading it then says so


def _lay_over(values: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Write the environment's settings into `values`; return location → variable."""
    variables: dict[tuple[str, ...], str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == ENV_CONFIG:
            continue
        location = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        table = values
        for depth, key in enumerate(location[:-1]):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                whole = ENV_PREFIX + "__".join(location[: depth + 1]).upper()
                raise ConfigError(f"{variable}: there is no table {key!r} to set it in; give {whole} as a whole")
        table[location[-1]] = _json(variable, text) if _is_container(location) else text
        variables[location] = variable
    return variables


def _json(variable: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:  # without the text itself: a camera's URL may hold a password
        raise ConfigError(f"{variable} must be a JSON list or table: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ConfigError(f"{variable} must be a JSON list or table: it is nested too deeply") from None


def _is_container(location: tuple[str, ...]) -> bool:
    """Whether a list or a table belongs at `location`."""
    fields = [
        model.model_fields[location[-1]] for model in _models(location[:-1]) if location[-1] in model.model_fields
    ]
    return any(_models_in(field.annotation) or get_origin(field.annotation) is list for field in fields)


def _add_credentials(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Point to systemd's credentials where a login has no password yet (systemd.exec(5), LoadCredential=)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for section in ("mqtt", "broker") if folder else ():
        table = values.get(section)
        credential = Path(str(folder)) / f"{section}_password"
        needs_one = isinstance(table, dict) and "username" in table and not {"password", "password_file"} & set(table)
        if isinstance(table, dict) and needs_one and credential.exists():
            table["password_file"] = str(credential)


def _describe(detail: ErrorDetails, variables: Mapping[tuple[str, ...], str], values: dict[str, Any]) -> str:
    """One wrong key in one clause: `alerts[0].hold_seconds must be above 0, got -3`."""
    location = _without_tags(detail["loc"], values)
    key = variables.get(tuple(str(part) for part in location)) or _dotted(location)
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if isinstance(value, str):
        value = redact_source(value)  # an address may carry a password, where it belongs and where it doesn't
    if kind == "extra_forbidden":
        as_variable = tuple(str(part) for part in location) in variables
        return f"{key} is not a setting{_suggestion(location, as_variable=as_variable)}"
    if kind in _PHRASES:
        return _PHRASES[kind].format(key=key, value=value, **context)
    if kind == "value_error":  # one of our own validators: its words already fit behind the key
        table = isinstance(value, dict)
        return f"{key}{':' if table and key else ''} {context['error']}{'' if table else f', got {value!r}'}".strip()
    is_secret = "password" in str(location[-1:])
    shown = "" if is_secret or isinstance(value, dict | list) else f", got {value!r}"
    return f"{key}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _without_tags(location: tuple[int | str, ...], values: Any) -> tuple[int | str, ...]:
    """Drop what pydantic adds for the branch of a union, so that the location is the file's own."""
    kept: list[int | str] = []
    for position, part in enumerate(location):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            is_tag = isinstance(values, dict) and values.get("kind") == part
            if is_tag or position < len(location) - 1:
                continue
        kept.append(part)
    return tuple(kept)


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _suggestion(location: tuple[int | str, ...], *, as_variable: bool) -> str:
    """Offer the nearest key of the same table, or the table where the key lives."""
    *tables, wrong = map(str, location)
    keys = _keys(location[:-1])
    found: list[str] | None = None
    for table in Config.model_fields:
        if wrong in _keys((table,)) and tables != [table]:
            found = found or [table, wrong]
        if wrong.startswith(f"{table}_") and wrong.removeprefix(f"{table}_") in _keys((table,)):
            found = [table, wrong.removeprefix(f"{table}_")]  # one underscore instead of two
    if found is None and (near := difflib.get_close_matches(wrong, keys, n=1, cutoff=0.6)):
        found = [*tables, near[0]]
    if found is None:
        return f"; there is {', '.join(keys)}"
    if as_variable:
        return f"; did you mean {ENV_PREFIX}{'__'.join(found).upper()}?"
    return f"; did you mean {found[-1] if found[:-1] == tables else '.'.join(found)!r}?"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at `location` may have."""
    return sorted({key for model in _models(location) for key in model.model_fields})


def _models(location: tuple[int | str, ...]) -> set[type[BaseModel]]:
    """The models that the table at `location` may follow."""
    models: set[type[BaseModel]] = {Config}
    for part in location:
        if isinstance(part, str):
            models = {
                found
                for model in models
                if part in model.model_fields
                for found in _models_in(model.model_fields[part].annotation)
            }
    return models


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models_in(argument)}


def _with_secrets(config: Config) -> Config:
    """Read the passwords that stand in files."""
    changes: dict[str, Any] = {}
    for name, section in (("mqtt", config.mqtt), ("broker", config.broker)):
        if section.password_file is not None:
            password = _read_password(f"{name}.password_file", section.password_file)
            changes[name] = section.model_copy(update={"password": password})
    return config.model_copy(update=changes)


def _read_password(key: str, path: Path) -> SecretStr:
    try:
        first_line, _, _ = path.read_text(encoding="utf-8").partition("\n")
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from None
    except ValueError:  # no UTF-8, or a path that cannot be one
        raise ConfigError(f"{key}: {path!r} is no text file in UTF-8") from None
    if not first_line.strip():
        raise ConfigError(f"{key}: the first line of {path} is empty; it must be the password")
    return SecretStr(first_line.rstrip("\r"))
