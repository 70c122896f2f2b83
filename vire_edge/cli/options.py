"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="VIRE_EDGE_CONFIG",
        metavar="FILE",
        help="TOML file; without it /etc/vire-edge/config.toml if it is there, and the defaults otherwise.",
    ),
]


def name_source_option(text: str) -> str:
    """Put --source into a camera's words where it stands for the setting that they name."""
    return text.replace("source under [[cameras]]", "--source")
