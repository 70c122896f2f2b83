"""`vire-edge export`: a run's network as the file that the edge runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.progress import Reporter
from vire_edge.errors import StorageError

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.int8_export import Comparison


def export(
    *,
    run: Annotated[Path, typer.Option(help="The directory of a finished training run.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    int8: Annotated[
        Path | None, typer.Option(help="Also write this variant in 8-bit integers, and measure both.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="For --int8: the FER2013 that the run learnt from, if it lies elsewhere now.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Also write the model card, Markdown.")] = None,
    remark: Annotated[str, typer.Option(help="A sentence for the card that the run's record does not hold.")] = "",
) -> None:
    """Write a run's network as the ONNX file that the edge runs, and on request its int8 variant and its card."""
    from vire_edge.training.backend import check_packages
    from vire_edge.training.card import model_card
    from vire_edge.training.export import prepare_place
    from vire_edge.training.finish import export_run
    from vire_edge.training.int8_export import export_int8
    from vire_edge.training.preconditions import check_sources
    from vire_edge.training.progress import Stage
    from vire_edge.training.settings import stored_settings

    _check(out, int8, card, data=data, remark=remark)
    check_packages("keras", "onnx")
    for path in (out, int8, card):
        if path is not None:
            prepare_place(path)
    settings = stored_settings(run)
    if int8 is not None:
        check_sources(settings if data is None else replace(settings, data=data))
    console = Console(soft_wrap=True, markup=False, highlight=False)
    report = Reporter(console)
    report(Stage("exporting"))
    export_run(run, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    compared = None
    if int8 is not None:
        comparison = export_int8(run, out, int8, data=data, on_event=report)
        compared = (int8.name, comparison)
        print(f"{int8}: {int8.stat().st_size / 1e6:.1f} MB")
        _print_comparison(console, comparison)
    if card is not None:
        try:
            card.write_text(model_card(run, out.name, int8=compared, remark=remark), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{card} cannot be written ({error.strerror}); name another file") from error
        print(f"{card}: written")


def _check(out: Path, int8: Path | None, card: Path | None, *, data: Path | None, remark: str) -> None:
    """Refuse options that say nothing without another one, and one file for two contents."""
    if data is not None and int8 is None:
        raise typer.BadParameter("it needs --int8 beside it", param_hint="--data")
    if remark and card is None:
        raise typer.BadParameter("it needs --card beside it", param_hint="--remark")
    taken = {out.resolve(): "--out"}
    for option, path in (("--int8", int8), ("--card", card)):
        if path is not None and (other := taken.setdefault(path.resolve(), option)) != option:
            raise typer.BadParameter(f"{path} is the file of {other}; name another", param_hint=option)


def _print_comparison(console: Console, comparison: Comparison) -> None:
    sides = (comparison.float32, comparison.int8)
    table = Table("", "float32", "int8", box=SIMPLE)
    for name, of in (("held out", "held_out"), ("evaluation", "evaluation"), ("without repeats", "fresh")):
        for figure in ("accuracy", "loss", "macro_f1", "calibration_error"):
            values = (getattr(getattr(side, of), figure) for side in sides)
            table.add_row(f"{name}: {figure.replace('_', ' ')}", *(f"{value:.4f}" for value in values))
    table.add_row("size, MB", *(f"{side.size / 1e6:.2f}" for side in sides))
    table.add_row("ms a face, one thread: median", *(f"{side.median_ms:.3f}" for side in sides))
    table.add_row("ms a face, one thread: least", *(f"{side.least_ms:.3f}" for side in sides))
    console.print(table)
    console.print(
        f"both read {comparison.agreement:.1%} of the evaluation's faces alike; "
        f"their probabilities differ by {comparison.largest_difference:.3f} at most"
    )
