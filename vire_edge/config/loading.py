"""TOML file + environment → `Config`, or one `ConfigError` that names each wrong key, its value and the remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from vire_edge.config.base import ENV_PREFIX
from vire_edge.config.migration import up_to_date
from vire_edge.config.passwords import add_credentials, with_passwords
from vire_edge.config.problems import describe, models_at, models_in
from vire_edge.config.settings import Config
from vire_edge.config.toml import read_toml
from vire_edge.errors import ConfigError

DEFAULT_PATH = Path("/etc/vire-edge/config.toml")
ENV_CONFIG = ENV_PREFIX + "CONFIG"
"""Names the configuration file; every other variable with the prefix is a setting."""
MAX_VARIABLE = 65_536
"""Sixteen cameras as JSON have some three thousand characters."""
MAX_NAME = 80
"""The longest name of a setting has 42 characters."""


def load_config(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the configuration.

    Args:
        path: the TOML file; None takes `DEFAULT_PATH` if it is there and the defaults otherwise.
        environ: the environment, the process's own when left out. `VIRE_EDGE_MQTT__HOST` sets `mqtt.host`;
            a list or table is given as JSON.

    Returns:
        The validated configuration with its passwords read from their files or systemd's credentials.

    Raises:
        ConfigError: the file is missing or no TOML, or a key or value is wrong.
        ConfigUnavailableError: it, or a file of a password, cannot be read now.
    """
    environ = os.environ if environ is None else environ
    path = chosen_path(path)
    values = {} if path is None else up_to_date(read_toml(path), path)
    variables = _lay_over(values, environ)
    add_credentials(values, environ)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        where = "the environment" if path is None else f"configuration {path}"
        raise ConfigError(f"{where}: {describe(error, variables, values)}") from None
    return with_passwords(config)


def chosen_path(path: Path | None) -> Path | None:
    """Return the file that is read where `path` is asked for: `DEFAULT_PATH` for None, if it is there."""
    if path is not None:
        return path
    try:
        return DEFAULT_PATH if DEFAULT_PATH.exists() else None
    except PermissionError:
        return DEFAULT_PATH  # reading it then says so


def _lay_over(values: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Write the environment's settings into `values`; return location → variable."""
    variables: dict[tuple[str, ...], str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == ENV_CONFIG:
            continue
        location = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        if len(variable) > MAX_NAME or not variable.isprintable():
            raise ConfigError(f"{variable[:MAX_NAME]!r} in the environment is not a setting")
        if len(text) > MAX_VARIABLE:
            raise ConfigError(f"{variable} has {len(text):,} characters, more than {MAX_VARIABLE:,}; use the file")
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
    except ValueError:  # int() of thousands of digits
        raise ConfigError(f"{variable} must be a JSON list or table: a number has too many digits") from None


def _is_container(location: tuple[str, ...]) -> bool:
    """Whether a list or a table belongs at `location`."""
    key = location[-1]
    fields = [model.model_fields[key] for model in models_at(location[:-1]) if key in model.model_fields]
    return any(models_in(field.annotation) or get_origin(field.annotation) is list for field in fields)
