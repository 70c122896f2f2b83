"""The commented example file, made from the settings themselves so that the two cannot differ."""

from __future__ import annotations

import json
import textwrap
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vire_edge.config.rules import default_alerts
from vire_edge.config.settings import CameraConfig, Config

_HEADER = """\
VIRE Edge configuration. Every line that is commented out shows a setting's default.
Environment variables go before this file: VIRE_EDGE_MQTT__HOST sets mqtt.host.
Check it with: vire-edge check-config /etc/vire-edge/config.toml"""


def example_toml() -> str:
    """Return a TOML file that explains each setting and changes none."""
    lines = [*_comment(_HEADER), ""]
    tables: list[str] = []
    for key, field in Config.model_fields.items():
        if key in {"cameras", "alerts"}:
            continue
        section = _section(field)
        if key == "version":  # not left out, so that a later version knows what it reads
            lines += [*_comment(field.description or ""), f"version = {field.default}", ""]
        elif section is None:
            lines += [*_setting(key, field, field.get_default(call_default_factory=True)), ""]
        else:
            tables += _table(f"[{key}]", section)
    lines += _table("[[cameras]]", CameraConfig)
    lines += tables
    lines += _comment("Alert rules: these are the default ones; a file that has any replaces them all.")
    lines.append("")
    explained: set[type[BaseModel]] = set()
    for alert in default_alerts():
        lines += ["[[alerts]]", f'kind = "{alert.kind}"', f'name = "{alert.name}"']
        kind = type(alert)
        for key, field in kind.model_fields.items():
            if key in {"kind", "name"}:
                continue
            value = getattr(alert, key)
            if key in alert.model_fields_set:
                lines += [] if kind in explained else _comment(field.description or "")
                lines.append(f"{key} = {_toml(value)}")
            elif kind not in explained:
                lines += _setting(key, field, value)
        explained.add(kind)
        lines.append("")
    return "\n".join(lines)


def _table(header: str, section: type[BaseModel]) -> list[str]:
    lines = [*_comment(section.__doc__ or ""), header]
    for key, field in section.model_fields.items():
        nested = _section(field)
        if nested is None:
            lines += _setting(key, field, field.get_default(call_default_factory=True))
        else:
            lines += [*_comment(field.description or nested.__doc__ or ""), f"#{key} = {{}}"]
            for inner, inner_field in nested.model_fields.items():
                lines += _setting(f"{key}.{inner}", inner_field, inner_field.get_default())
    return [*lines, ""]


def _section(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _setting(key: str, field: FieldInfo, value: Any) -> list[str]:
    return [*_comment(field.description or ""), f"#{key} = {_toml(value)}"]


def _comment(text: str) -> list[str]:
    words = " ".join(text.split()) if "\n" in text and text != _HEADER else text
    return [
        f"# {line}" for paragraph in words.splitlines() for line in textwrap.wrap(paragraph, 98, break_on_hyphens=False)
    ]


def _toml(value: Any) -> str:
    if value is None:
        return "…"  # no default; uncommented as it stands, the file would not parse
    if isinstance(value, Enum):
        return json.dumps(value.value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
