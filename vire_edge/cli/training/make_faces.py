"""`vire-edge make-faces`: the synthetic camera's expressions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.options import Data, Model


def make_faces(
    *,
    data: Data,
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for seven PNG files.")] = Path("expressions"),
    count: Annotated[int, typer.Option(min=100, help="How many faces to average for each expression.")] = 160,
) -> None:
    """Average training faces into seven expressions that no person has, for the synthetic camera."""
    from vire_edge.training.data import cleaning
    from vire_edge.training.data.dataset import Split, load
    from vire_edge.training.export import run_file
    from vire_edge.training.expressions import make_expressions, write_pictures

    dataset = load(data)
    training = cleaning.clean(dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST])
    expressions = make_expressions(
        training,
        lambda faces: run_file(model, faces),
        count=count,
        on_class=lambda emotion, faces: print(f"{emotion}: {faces} faces aligned", flush=True),
    )
    write_pictures(expressions, out)
    table = Table("expression", "faces", "exaggerated", "found by the cascade", "read, at least", box=SIMPLE)
    for made in expressions:
        table.add_row(
            made.emotion, str(made.faces), f"{made.exaggeration:.0%}", f"{made.found:.0%}", f"{made.lowest:.2f}"
        )
    Console().print(table)
