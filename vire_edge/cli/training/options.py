"""Options that several of these commands share, and their answer to Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

DATA = "FER2013: fer2013.csv (.gz, .zip), or a folder or zip with train/<class>/ and test/<class>/."
Data = Annotated[Path, typer.Option(help=DATA)]
Model = Annotated[Path, typer.Option(help="A model file that vire-edge exported.")]

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells give it."""


@contextlib.contextmanager
def answering_ctrl_c(say: Callable[[], str]) -> Iterator[None]:
    """Answer Ctrl-C with a line that tells how to go on, and with its exit status."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"vire-edge: {say()}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
