"""`vire-edge evaluate`: how well model files read faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.options import Data
from vire_edge.domain import EMOTIONS

if TYPE_CHECKING:
    from vire_edge.training.evaluate import Metrics


def evaluate(
    *,
    data: Data,
    model: Annotated[list[Path], typer.Option(help="A model file that vire-edge exported; may be repeated.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure model files on PublicTest, with and without the images that repeat a training image."""
    from vire_edge.training.dataset import Split, load
    from vire_edge.training.export import run_file
    from vire_edge.training.finish import SPLITS, with_and_without_repeats

    dataset = load(data)
    evaluation = dataset[Split.PUBLIC_TEST]
    results = {
        str(path): with_and_without_repeats(run_file(path, evaluation.images), evaluation, dataset[Split.TRAINING])
        for path in model
    }
    console = Console(soft_wrap=True)
    if as_json:
        values = {
            path: {name: metrics.as_dict() for name, metrics in zip(SPLITS, pair, strict=True)}
            for path, pair in results.items()
        }
        print(json.dumps(values, indent=2))
        return
    for path, (whole, fresh) in results.items():
        _print_metrics(console, path, whole, fresh)


def _print_metrics(console: Console, title: str, whole: Metrics, fresh: Metrics) -> None:
    console.print(f"[bold]{title}[/bold]")
    overall = Table("", "PublicTest", "without repeats", box=SIMPLE)
    for name in ("images", "accuracy", "loss", "macro_f1", "calibration_error"):
        values = (getattr(whole, name), getattr(fresh, name))
        overall.add_row(name.replace("_", " "), *(str(v) if isinstance(v, int) else f"{v:.4f}" for v in values))
    by_class = Table("", "images", "precision", "recall", "F1", "recall without repeats", box=SIMPLE)
    confusion = Table("label, read →", *EMOTIONS, box=SIMPLE, padding=0)
    for i, emotion in enumerate(EMOTIONS):
        shares = (whole.precision[i], whole.recall[i], whole.f1[i], fresh.recall[i])
        by_class.add_row(emotion, str(whole.support[i]), *(f"{share:.3f}" for share in shares))
        confusion.add_row(emotion, *(str(count) for count in whole.confusion[i]))
    for table in (overall, by_class, confusion):
        console.print(table)
