"""Options that several of these commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA = "FER2013: fer2013.csv (.gz, .zip), or a folder or zip with train/<class>/ and test/<class>/."
Data = Annotated[Path, typer.Option(help=DATA)]
Model = Annotated[Path, typer.Option(help="A model file that vire-edge exported.")]
