"""Options that several of these commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(help="FER2013 as the challenge gave it: fer2013.csv or fer2013.csv.gz.")]
Model = Annotated[Path, typer.Option(help="A model file that vire-edge exported.")]
