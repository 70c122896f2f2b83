"""What pydantic found wrong → this project's words: each wrong key, its value and the remedy, never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vire_edge.config.base import ENV_PREFIX
from vire_edge.config.rules import Alert
from vire_edge.config.settings import Config, redact_source

MAX_TOLD = 10
"""Whoever has made more mistakes than these has given the wrong file."""
_MAX_SHOWN = 80
_MAX_BITS = 128
_PHRASES = {
    "missing": "{key} is missing",
    "list_type": "{key} must be a list, got {value}",
    "float_parsing": "{key} must be a number, got {value}",
    "float_type": "{key} must be a number, got {value}",
    "int_parsing": "{key} must be a whole number, got {value}",
    "int_from_float": "{key} must be a whole number, got {value}",
    "int_type": "{key} must be a whole number, got {value}",
    "bool_parsing": "{key} must be true or false, got {value}",
    "bool_type": "{key} must be true or false, got {value}",
    "greater_than": "{key} must be above {gt}, got {value}",
    "greater_than_equal": "{key} must be at least {ge}, got {value}",
    "less_than_equal": "{key} must be at most {le}, got {value}",
    "literal_error": "{key} must be {expected}, got {value}",
    "enum": "{key} must be {expected}, got {value}",
    "union_tag_invalid": "{key}.kind must be one of {expected_tags}, got {tag}",
    "union_tag_not_found": "{key}.kind is missing; it must be one of {kinds}",
}
"""pydantic's error types in this project's words."""
_KINDS = ", ".join(
    repr(kind) for alert in get_args(get_args(Alert)[0]) for kind in get_args(alert.model_fields["kind"].annotation)
)
_TABLE_EXPECTED = frozenset({"dict_type", "model_type", "model_attributes_type"})


def describe(error: ValidationError, variables: Mapping[tuple[str, ...], str], values: dict[str, Any]) -> str:
    """Return all mistakes in one line.

    Args:
        error: what pydantic found.
        variables: location → the environment variable that has set it.
        values: what was validated.
    """
    details = error.errors(include_url=False)
    told = dict.fromkeys(_clause(detail, variables, values) for detail in details[:MAX_TOLD])
    more = [f"and {len(details) - MAX_TOLD} more"] if len(details) > MAX_TOLD else []
    return "; ".join([*told, *more])


def _clause(detail: ErrorDetails, variables: Mapping[tuple[str, ...], str], values: dict[str, Any]) -> str:
    """One wrong key: `alerts[0].hold_seconds must be above 0, got -3`."""
    location = _without_tags(detail["loc"], values)
    key = variables.get(tuple(str(part) for part in location)) or _dotted(location)
    kind, value, context = detail["type"], _shown(detail["input"]), detail.get("ctx", {})
    # A password, or words in the place of a table that may hold one.
    is_secret = "password" in str(location[-1:]) or kind in _TABLE_EXPECTED
    if kind == "extra_forbidden":
        as_variable = tuple(str(part) for part in location) in variables
        return f"{key} is not a setting{_suggestion(location, as_variable=as_variable)}"
    if kind == "list_type" and len(location) == 1:
        in_file = "written in double brackets" if key == location[0] else f"better set {location[0]} in the file"
        return f"{key} must be a list of tables; {in_file}, [[{location[0]}]]"
    if kind in _PHRASES:
        tag = _shown(context.get("tag"))
        return _PHRASES[kind].format(key=key, value=value, **{**context, "tag": tag, "kinds": _KINDS})
    shown = "" if is_secret or isinstance(detail["input"], dict | list) else f", got {value}"
    if kind == "value_error":  # one of our own validators: its words already fit behind the key
        table = isinstance(detail["input"], dict)
        return f"{key}{':' if table and key else ''} {context['error']}{'' if table else shown}".strip()
    return f"{key}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _shown(value: Any) -> str:
    """A value on one line and in bounds; an address without the password that it may carry, wherever it stands."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a number of many digits"  # Python refuses to write thousands of them
    text = repr(redact_source(value) if isinstance(value, str) else value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN // 2]}… ({len(text):,} characters)"


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
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w-]{1,64}", part) else _shown(part)
            text += f".{name}" if text else name
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
    if found is None and (near := difflib.get_close_matches(wrong[:_MAX_SHOWN], keys, n=1, cutoff=0.6)):
        found = [*tables, near[0]]
    if found is None:
        return f"; there is {', '.join(keys)}"
    if as_variable:
        return f"; did you mean {ENV_PREFIX}{'__'.join(found).upper()}?"
    return f"; did you mean {found[-1] if found[:-1] == tables else '.'.join(found)!r}?"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at `location` may have."""
    return sorted({key for model in models_at(location) for key in model.model_fields})


def models_at(location: tuple[int | str, ...]) -> set[type[BaseModel]]:
    """Return the models that the table at `location` may follow."""
    models: set[type[BaseModel]] = {Config}
    for part in location:
        if isinstance(part, str):
            models = {
                found
                for model in models
                if part in model.model_fields
                for found in models_in(model.model_fields[part].annotation)
            }
    return models


def models_in(annotation: Any) -> set[type[BaseModel]]:
    """Return the models that a value of this type may be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in models_in(argument)}
