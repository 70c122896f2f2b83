"""`vire-edge train`: a network learns."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.options import DATA, answering_ctrl_c
from vire_edge.cli.training.progress import Reporter
from vire_edge.training.backend import Precision
from vire_edge.training.data.targets import VotesAs

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.settings import TrainSettings
    from vire_edge.training.train import RunResult

_MOVABLE = {"run", "resume", "data", "faces", "fer_plus"}


def train(
    context: typer.Context,
    *,
    data: Annotated[Path | None, typer.Option(help=DATA)] = None,
    faces: Annotated[
        Path | None,
        typer.Option(
            help="Your own faces, beside --data or alone: a folder or zip with <class>/ or train/<class>/ and "
            "test/<class>/; pictures that show a face and nothing else, as square as its cut-out."
        ),
    ] = None,
    faces_repeats: Annotated[
        int | None, typer.Option(min=1, help="How often each own face is learnt from in an epoch beside --data; 10.")
    ] = None,
    drop_leaks: Annotated[
        bool,
        typer.Option("--drop-leaks", help="Leave out training images that also stand in PublicTest, in any recipe."),
    ] = False,
    arch: Annotated[str, typer.Option(help="The network; --list names them.")] = "cnn",
    preset: Annotated[
        str,
        typer.Option(
            help="The recipe: default, best (hours), paper-1 or paper-2 (published, without and with augmentation), "
            "fine-tune (minutes, from a trained network)."
        ),
    ] = "default",
    fer_plus: Annotated[
        Path | None,
        typer.Option(help="FER+'s fer2013new.csv: ten people's votes on each image."),
    ] = None,
    fer_plus_as: Annotated[
        VotesAs | None,
        typer.Option(
            help="Learn from the votes mixed into the labels as the recipe says (the default), from the votes alone, "
            "or from the class that more than half of them name."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Directory for the results; runs/ARCH-PRESET-TIME when omitted.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same run.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-9, max=10.0, help="Instead of the recipe's.")] = None,
    initializer: Annotated[
        str | None, typer.Option(help="Instead of the recipe's: glorot_uniform, he_normal or lecun_normal.")
    ] = None,
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
        float | None, typer.Option(min=0.0, max=10.0, help="Focal loss: how much less sure images count; 0 for none.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A model file to imitate where the recipe distils; several answer with their mean."),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(help="A trained network of the same architecture, such as models/vire.keras, to go on from."),
    ] = None,
    start_share: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.9, help="What share of that network's weights stays in those that are kept."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run after its last epoch.")] = False,
    check_data: Annotated[
        bool, typer.Option("--check-data", help="Read and check the data, say what is in them, and stop.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the networks and recipes, and stop.")] = False,
) -> None:
    """Train a network on FER2013 and leave a run directory with the model, its figures and its history.

    Ctrl-C stops after exporting the best epoch so far; --resume goes on from the last complete one.
    """
    from vire_edge.training.settings import OVERRIDES, IgnoredOptionError, TrainSettings, stored_settings

    if list_:
        _list()
        return
    # What is not given: None where a run that is resumed, or the recipe, has its own.
    chosen: dict[str, Any] = {
        "data": data,
        "faces": faces,
        "faces_repeats": faces_repeats,
        "fer_plus": fer_plus,
        "fer_plus_as": fer_plus_as,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if resume:
        if run is None:
            raise typer.BadParameter(
                "it needs the directory of the run to go on with: --run DIR", param_hint="--resume"
            )
        _check_resumed(context)
        settings = replace(stored_settings(run), **chosen)
    else:
        _check_names(arch, preset, initializer)
        _check_data(chosen)
        if preset == "fine-tune" and start_from is None:
            raise typer.BadParameter(
                "fine-tune needs the network to go on from, such as models/vire.keras", param_hint="--start-from"
            )
        folder = run or Path("runs") / f"{arch}-{preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        settings = TrainSettings(
            **{"data": None} | chosen,
            run=folder,
            architecture=arch,
            preset=preset,
            seed=seed,
            drop_leaks=drop_leaks,
            teachers=tuple(teacher or ()),
            start_from=start_from,
            precision=precision or Precision.FLOAT32,
        )
        values = (
            epochs,
            batch_size,
            learning_rate,
            initializer,
            patience,
            class_weight_power,
            focal_gamma,
            start_share,
        )
        given = dict(zip(OVERRIDES, values, strict=True))
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        settings = replace(settings, recipe=replace(settings.effective_recipe, **changes))
        try:
            settings.check_recipe()
        except IgnoredOptionError as error:
            raise typer.BadParameter(str(error), param_hint=error.option) from error
    if check_data:
        _describe_data(settings)
    else:
        _train(settings, resume=resume)


def _check_resumed(context: typer.Context) -> None:
    """A run goes on as it was begun; only its files may lie elsewhere now."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in _MOVABLE:
            raise typer.BadParameter(
                "a run that is resumed has its own; leave it out, or start a new run, from this one's network with: "
                "--start-from RUN/model.keras",
                param_hint=f"--{name.replace('_', '-')}",
            )


def _describe_data(settings: TrainSettings) -> None:
    from vire_edge.training.data.material import gather
    from vire_edge.training.preconditions import check_sources
    from vire_edge.training.progress import Reading

    check_sources(settings)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with answering_ctrl_c(lambda: "stopped"), Reporter(console) as report:
        report(gather(settings, on_row=lambda count: report(Reading(count))).ready)


def _check_names(arch: str, preset: str, initializer: str | None) -> None:
    from vire_edge.training.architectures import ARCHITECTURES
    from vire_edge.training.recipes import PRESETS
    from vire_edge.training.search.space import INITIALIZERS

    if initializer not in (None, *INITIALIZERS):
        raise typer.BadParameter(f'"{initializer}" is none of {", ".join(INITIALIZERS)}', param_hint="--initializer")
    if arch not in ARCHITECTURES:
        raise typer.BadParameter(f'"{arch}" is none of {", ".join(ARCHITECTURES)}', param_hint="--arch")
    if preset not in PRESETS:
        raise typer.BadParameter(f'"{preset}" is none of {", ".join(PRESETS)}', param_hint="--preset")
    if arch not in PRESETS[preset]:
        fitting = ", ".join(name for name, recipes in PRESETS.items() if arch in recipes)
        raise typer.BadParameter(f'"{preset}" has no recipe for {arch}, only {fitting} have', param_hint="--preset")


def _check_data(chosen: dict[str, Any]) -> None:
    """Options that say nothing without another one are a mistake."""
    if not {"data", "faces"} & set(chosen):
        raise typer.BadParameter("name FER2013's file with it, or your own faces with --faces", param_hint="--data")
    for option, needed in (("fer_plus_as", {"fer_plus"}), ("fer_plus", {"data"}), ("faces_repeats", {"faces", "data"})):
        missing = sorted(needed - set(chosen))
        if option in chosen and missing:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
            raise typer.BadParameter(f"it needs {names} beside it", param_hint=f"--{option.replace('_', '-')}")


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

    def left() -> str:
        if not settings.run.joinpath("settings.json").exists():
            return "stopped before the run began; the same command begins it"
        return f"stopped early; go on with: vire-edge train --run {shlex.quote(str(settings.run))} --resume"

    console = Console(soft_wrap=True, markup=False, highlight=False)
    with answering_ctrl_c(left):
        with Reporter(console) as report:
            result = run_training(settings, on_event=report, resume=resume)
        if result.epochs:
            _tell(console, result)
        if result.interrupted:
            raise KeyboardInterrupt


def _tell(console: Console, result: RunResult) -> None:
    """What a run has come to."""
    from vire_edge.training.finish import SPLITS, evaluation_keys

    keys = evaluation_keys(result.metrics)
    whole, fresh = (result.metrics[key] for key in keys)
    measured_on = "PublicTest" if keys == SPLITS else "own faces"
    console.print(
        f"epoch {result.kept_epoch} of {result.epochs} kept: {measured_on} accuracy {whole['accuracy']:.4f} "
        f"({fresh['accuracy']:.4f} without repeats), macro-F1 {whole['macro_f1']:.3f}, "
        f"calibration error {whole['calibration_error']:.3f}"
    )
    own = result.metrics.get("own_faces")
    if own is not None and own is not whole:
        console.print(f"own faces set aside: accuracy {own['accuracy']:.4f} of {own['images']}")
    for key, figures in result.metrics.get("before", {}).items():
        console.print(f"before, {key.replace('_', ' ')}: accuracy {figures['accuracy']:.4f}")
    console.print(f"model, figures and history: {result.run}")
