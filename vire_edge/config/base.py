"""What every section of the configuration shares."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ENV_PREFIX = "VIRE_EDGE_"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _check_name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        raise ValueError("must be 1 to 64 lower-case letters, digits, '-' or '_': it becomes part of an MQTT topic")
    return value


Name = Annotated[str, AfterValidator(_check_name)]
"""A name that can stand in an MQTT topic."""

Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
"""Above 0: a level that everything reaches would fire for ever."""
Seconds = Annotated[float, Field(ge=0, le=604_800)]
PositiveSeconds = Annotated[float, Field(gt=0, le=604_800)]


class Section(BaseModel):
    """A table of the configuration file; a setting's docstring becomes its comment in the example file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_text(cls, values: Any) -> Any:
        """Refuse what no file name, login or topic can hold: it would fail later, out of the settings' sight."""
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
                raise ValueError(f"{str(key)[:60]!r} must be text without NUL characters and broken Unicode")
        return values
