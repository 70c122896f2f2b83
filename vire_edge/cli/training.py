"""The offline commands: train, evaluate, export, make-faces. Printing and options only; the work is in `training`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from vire_edge.domain import EMOTIONS
from vire_edge.errors import StorageError, TrainingError

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.evaluate import Metrics
    from vire_edge.training.progress import BatchDone, Event
    from vire_edge.training.settings import TrainSettings

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells give it."""

Data = Annotated[Path, typer.Option(help="FER2013 as the challenge gave it: fer2013.csv or fer2013.csv.gz.")]
Model = Annotated[Path, typer.Option(help="A model file that vire-edge exported.")]


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
    else:
        if data is None:
            raise TrainingError("there is nothing to learn from; name FER2013's file with --data fer2013.csv.gz")
        folder = run or Path("runs") / f"{arch}-{preset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        settings = TrainSettings(data=data, run=folder, architecture=arch, preset=preset, seed=seed, fer_plus=fer_plus)
        given = dict(zip(OVERRIDES, (epochs, batch_size, learning_rate), strict=True))
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        settings = replace(settings, recipe=replace(settings.effective_recipe, **changes))
    _train(settings, resume=resume)


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


def export(
    *,
    run: Annotated[Path, typer.Option(help="The directory of a finished training run.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    card: Annotated[Path | None, typer.Option(help="Also write the model card, Markdown.")] = None,
) -> None:
    """Write a run's network as the ONNX file that the edge runs, and on request its card."""
    from vire_edge.training.card import model_card
    from vire_edge.training.finish import export_run

    export_run(run, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    if card is not None:
        try:
            card.write_text(model_card(run, out.name), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{card} cannot be written ({error.strerror})") from error
        print(f"{card}: written")


def make_faces(
    *,
    data: Data,
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for seven PNG files.")] = Path("expressions"),
    count: Annotated[int, typer.Option(min=100, help="How many faces to average for each expression.")] = 160,
) -> None:
    """Average training faces into seven expressions that no person has, for the synthetic camera."""
    from vire_edge.training import cleaning
    from vire_edge.training.dataset import Split, load
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
    with _Reporter(console) as report:
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


class _Reporter:
    """Shows progress: bars on a terminal, one line an epoch elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stdout.isatty(),
            transient=True,
        )
        self._task: TaskID | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        from vire_edge.training import progress

        if isinstance(event, progress.DataReady):
            found = event.findings
            self._console.print(
                f"{found.images} training images: {found.repeats} repeats, {found.conflicting} with conflicting "
                f"labels, {found.blank} blank, {found.leaks} also in PublicTest"
            )
            if event.with_votes:
                self._console.print(f"with the votes of FER+; {event.faceless} images left out that show no face")
            self._console.print(
                f"learning from {event.learnt}, {event.held_out} held out, PublicTest {event.evaluated}"
            )
        elif isinstance(event, progress.BatchDone):
            self._batch(event)
        else:
            record = event.record
            self._console.print(
                f"epoch {record.epoch}/{event.epochs}: loss {record.loss:.4f} accuracy {record.accuracy:.4f} · "
                f"held out: loss {record.held_out_loss:.4f} accuracy {record.held_out_accuracy:.4f} · "
                f"{record.seconds:.1f} s"
                f"{' · kept' if event.kept else ''}"
            )

    def _batch(self, event: BatchDone) -> None:
        now = time.monotonic()
        # Small batches come a hundred times a second; a terminal needs ten.
        if now - self._shown < 0.1 and event.batch < event.batches:
            return
        self._shown = now
        total, done = event.epochs * event.batches, (event.epoch - 1) * event.batches + event.batch
        figures = f"{event.images_per_second:.0f} images/s · loss {event.loss:.3f} · accuracy {event.accuracy:.3f}"
        if self._task is None:
            # Begun where a resumed run goes on, so that the time left is right.
            self._task = self._progress.add_task("", total=total, completed=done, figures=figures)
        description = f"epoch {event.epoch}/{event.epochs}"
        self._progress.update(self._task, completed=done, description=description, figures=figures)


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
