"""`vire-edge evaluate`: how well models read faces, side by side."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vire_edge.cli.training.options import Data
from vire_edge.errors import ConfigError

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.comparison import Comparison
    from vire_edge.training.dataset import Split
    from vire_edge.training.report.document import Table as TextTable


PIPED_WIDTH = 160
"""Columns of text that no terminal shows."""


def evaluate(
    *,
    data: Data,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "--run",
            help="An .onnx or .keras file or a run directory, in the order to show; may be repeated. "
            "Without any, the shipped model.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which images to measure on: PublicTest, PrivateTest or Training.")] = (
        "PublicTest"
    ),
    report: Annotated[
        Path | None,
        typer.Option(help="Also write a report with plots: one .html file, or .md with a folder beside it."),
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(help="Also write each confusion matrix into this folder, CSV and PNG.")
    ] = None,
    time: Annotated[
        bool, typer.Option("--time", help="Also take the time for a face on one thread, of ONNX files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure models on FER2013 or faces of one's own, with intervals, and without the repeats of training images.

    Several models stand in one table, each beside the first one. A report holds the tables and all plots.
    """
    from vire_edge.emotions import shipped_model_path
    from vire_edge.training.comparison import compared
    from vire_edge.training.dataset import load
    from vire_edge.training.reading import read_faces
    from vire_edge.training.report.content import compose
    from vire_edge.training.report.write import check_report, write_confusion, write_report

    measured_on = _split(split)
    if report is not None:
        check_report(report)
    dataset = load(data)
    images = dataset[measured_on].images
    files = model or [shipped_model_path()]
    comparison = compared([read_faces(path, images, timed=time) for path in files], dataset, measured_on)
    if confusion is not None:
        write_confusion(comparison, confusion)
    if report is not None:
        command = [
            "vire-edge",
            "evaluate",
            "--data",
            data.name,
            *(word for path in files for word in ("--model", str(path))),
        ]
        command += ["--split", split] + ["--time"] * time + ["--report", report.name]
        write_report(compose(comparison, command=shlex.join(command)), report)
    if as_json:
        print(json.dumps(comparison.as_dict(), indent=2))
        return
    _print(comparison)
    for written in (confusion, report):
        if written is not None:
            print(f"{written}: written")


def _split(name: str) -> Split:
    from vire_edge.training.dataset import Split

    try:
        return Split(name)
    except ValueError:
        raise ConfigError(f'--split must be one of {", ".join(Split)}, got "{name}"') from None


def _print(comparison: Comparison) -> None:
    from vire_edge.training.report import tables

    # A file has room; on a terminal a table folds.
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    several = [tables.models(comparison), *tables.figures(comparison)]
    leads = tables.leads(comparison)
    several += [] if leads is None else [leads]
    for name, evaluation in zip(tables.names(comparison), comparison.evaluations, strict=True):
        several.append(tables.by_class(evaluation, f"Model {name}, by class"))
        several.append(tables.confusion(evaluation, f"Model {name}, images by label and reading"))
    for table in several:
        console.print(f"[bold]{escape(table.caption)}[/bold]")
        console.print(_rich(table))


def _rich(table: TextTable) -> Table:
    drawn = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column, head in enumerate(table.head):
        words = column in (0, *table.words)
        drawn.add_column(escape(head), justify="left" if words else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn
