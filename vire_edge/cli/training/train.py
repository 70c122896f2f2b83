"""`vire-edge train`: a network learns."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.progress import Reporter
from vire_edge.errors import TrainingError
from vire_edge.training.backend import Precision

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.settings import TrainSettings

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells give it."""


def train(
    *,
    data: Annotated[
        Path | None, typer.Option(help="FER2013 as the challenge gave it: fer2013.csv or fer2013.csv.gz.")
    ] = None,
    arch: Annotated[str, typer.Option(help="The network; --list names them.")] = "cnn",
    preset: Annotated[
        str,
        typer.Option(
            help="The recipe: default, best (hours), paper-1 or paper-2 (published, without and with augmentation)."
        ),
    ] = "default",
    fer_plus: Annotated[
        Path | None,
        typer.Option(help="FER+'s fer2013new.csv: ten people's votes on each image, where the recipe takes them in."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Directory for the results; runs/ARCH-PRESET-TIME when omitted.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same run.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="Instead of the recipe's.")] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="What convolutions compute in while learning; bfloat16 where the hardware has it is faster."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Stop after so many epochs without a lower held-out loss; 0 for never.")
    ] = None,
    class_weight_power: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="How much rare classes count more: 0 not, 1 all classes alike."),
    ] = None,
    focal_gamma: Annotated[
        float | None, typer.Option(min=0.0, help="Focal loss: how much less sure images count; 0 for none.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A model file to imitate where the recipe distils; several answer with their mean."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run after its last epoch.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the networks and recipes, and stop.")] = False,
) -> None:
    """Train a network on FER2013 and leave a run directory with the model, its figures and its history.

    Ctrl-C stops after exporting the best epoch so far; --resume goes on from the last complete one.
    """
    from vire_edge.training.settings import OVERRIDES, TrainSettings, stored_settings

    if list_:
        _list()
        return
    if resume:
        if run is None:
            raise TrainingError("--resume needs the directory of the run to go on with: --run DIRECTORY")
        settings = stored_settings(run)
        settings = settings if data is None else replace(settings, data=data)
        settings = settings if fer_plus is None else replace(settings, fer_plus=fer_plus)
        settings = settings if precision is None else replace(settings, precision=precision)
    else:
        if data is None:
            raise TrainingError("there is nothing to learn from; name FER2013's file with --data fer2013.csv.gz")
        folder = run or Path("runs") / f"{arch}-{preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        settings = TrainSettings(
            data=data,
            run=folder,
            architecture=arch,
            preset=preset,
            seed=seed,
            fer_plus=fer_plus,
            precision=precision or Precision.FLOAT32,
            teachers=tuple(teacher or ()),
        )
        values = (epochs, batch_size, learning_rate, patience, class_weight_power, focal_gamma)
        given = dict(zip(OVERRIDES, values, strict=True))
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        settings = replace(settings, recipe=replace(settings.effective_recipe, **changes))
    _train(settings, resume=resume)


def _list() -> None:
    from vire_edge.training.architectures import ARCHITECTURES
    from vire_edge.training.recipes import PRESETS

    table = Table("network", "what it is", "presets", box=SIMPLE)
    for name, architecture in ARCHITECTURES.items():
        presets = ", ".join(preset for preset, recipes in PRESETS.items() if name in recipes)
        table.add_row(name, architecture.summary, presets)
    Console().print(table)


def _train(settings: TrainSettings, *, resume: bool) -> None:
    from vire_edge.training.train import train as run_training

    if not resume and settings.run.joinpath("settings.json").exists():
        raise TrainingError(f"{settings.run} holds a run already; go on with --run {settings.run} --resume")
    console = Console(soft_wrap=True)
    with Reporter(console) as report:
        result = run_training(settings, on_event=report, resume=resume)
    whole, fresh = result.metrics["public_test"], result.metrics["public_test_without_repeats"]
    console.print(
        f"epoch {result.kept_epoch} of {result.epochs} kept: PublicTest accuracy {whole['accuracy']:.4f} "
        f"({fresh['accuracy']:.4f} without repeats), macro-F1 {whole['macro_f1']:.3f}, "
        f"calibration error {whole['calibration_error']:.3f}"
    )
    console.print(f"model, figures and history: {result.run}")
    if result.interrupted:
        console.print(f"stopped early; go on with: vire-edge train --run {result.run} --resume")
        raise typer.Exit(INTERRUPTED)
