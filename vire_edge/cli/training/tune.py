"""`vire-edge tune`: which learning rate, batch size, epochs and initializer learn best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.training.options import INTERRUPTED, Data, answering_ctrl_c

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.search.events import TuneEvent
    from vire_edge.training.search.tune import TuneSettings

ALL = "all"
SCENARIOS = {"1": ("1",), "2": ("2",), ALL: ("1", "2")}


def tune(
    *,
    data: Data,
    arch: Annotated[list[str] | None, typer.Option(help="The network; may be repeated, or all.")] = None,
    scenario: Annotated[str, typer.Option(help="1 without, 2 with the published augmentation, or all.")] = "2",
    trials: Annotated[int, typer.Option(min=1, help="How many each search shall have, earlier ones included.")] = 10,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that learn at the same time; they share the cores.")
    ] = 1,
    run: Annotated[Path, typer.Option(help="Folder for trials, tables and plots.")] = Path("runs/tune"),
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="VIRE_TUNE_STORAGE",
            help="Database that machines share: postgresql+psycopg://user@host/database; RUN/study.db when omitted.",
        ),
    ] = None,
    study: Annotated[str, typer.Option(help="What the searches are called in the storage.")] = "vire",
    images: Annotated[
        int | None, typer.Option(min=200, help="Learn from so many images only, for a quick look.")
    ] = None,
    epochs_limit: Annotated[int | None, typer.Option(min=1, help="Let no trial learn longer.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights and search.")] = 1,
) -> None:
    """Search hyperparameters over the published space with TPE, Optuna's, and give up what is hopeless.

    Trials are compared on a held-out tenth of Training. Whatever stops it, Ctrl-C or a power cut: the same command goes
    on and ends with exactly the trials asked for. Machines that name the same --storage share the work.
    """
    from vire_edge.training.architectures import ARCHITECTURES
    from vire_edge.training.search.space import Scenario
    from vire_edge.training.search.tune import STUDY_NAME, TuneSettings
    from vire_edge.training.search.tune import tune as search

    wanted = arch or ["cnn"]
    for name in wanted:
        if name not in (ALL, *ARCHITECTURES):
            raise typer.BadParameter(f'"{name}" is none of {", ".join(ARCHITECTURES)}, all', param_hint="--arch")
    if scenario not in SCENARIOS:
        raise typer.BadParameter(f'"{scenario}" is none of {", ".join(SCENARIOS)}', param_hint="--scenario")
    if not STUDY_NAME.fullmatch(study):
        raise typer.BadParameter(f'"{study}" is no name; give letters, digits, "-", "_" and "."', param_hint="--study")
    settings = TuneSettings(
        data=data,
        run=run,
        architectures=tuple(ARCHITECTURES) if ALL in wanted else tuple(dict.fromkeys(wanted)),
        scenarios=tuple(Scenario(name) for name in SCENARIOS[scenario]),
        trials=trials,
        workers=workers,
        storage=storage,
        study=study,
        seed=seed,
        images=images,
        epochs_limit=epochs_limit,
    )
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with answering_ctrl_c(lambda: "stopped before the first trial; the same command begins anew"):
        complete = search(settings, on_event=lambda event: _show(console, event))
    _results(console, settings)
    if not complete:
        console.print("stopped; the same command goes on")
        raise typer.Exit(INTERRUPTED)


def _show(console: Console, event: TuneEvent) -> None:
    from vire_edge.training.search import events as told

    if isinstance(event, told.StudyReady):
        console.print(
            f"{event.name}: {event.done} of {event.trials} trials done; learning from {event.learnt} images, "
            f"compared on {event.held_out}"
        )
    elif isinstance(event, told.TrialBegun):
        again = "" if event.begun_as is None else f" (trial {event.begun_as} again)"
        console.print(f"trial {event.number}{again}: {event.values}")
    elif isinstance(event, told.TrialEpoch):
        console.print(
            f"trial {event.number} epoch {event.epoch}/{event.epochs}: held-out loss {event.loss:.4f} · "
            f"{event.seconds:.1f} s"
        )
    elif isinstance(event, told.TrialEnded):
        value = "" if event.value is None else f", held-out loss {event.value:.4f}"
        console.print(f"trial {event.number}: {event.state}{value}")
    elif isinstance(event, told.WorkerDied):
        how = f"signal {-event.exit_code}" if event.exit_code < 0 else f"exit status {event.exit_code}"
        then = "is tried again" if event.tried_again else "is given up"
        trial = "" if event.trial is None else f"; trial {event.trial} {then}"
        console.print(f"a worker died ({how}){trial}", style="yellow")
    else:
        console.print(f"waiting for {event.running} trials of other commands")


def _results(console: Console, settings: TuneSettings) -> None:
    from vire_edge.training.search.results import COLUMNS, Found, notes, write_results
    from vire_edge.training.search.study import read_studies

    read = read_studies(settings.url, settings.study_names)
    found = [Found(name, *read[name]) for name in settings.study_names if name in read]
    # The name of the search in one column, and its counts left to the files: a terminal has eighty places.
    table = Table("search", "values", "loss", *COLUMNS[4:-2], box=SIMPLE, padding=(0, 1, 0, 0))
    for study in found:
        for row in study.rows():
            table.add_row(" ".join(row[:2]), *row[2:-2])
    console.print(table)
    for note in notes(found):
        console.print(note)
    for study in found:
        command = study.command(str(settings.data))
        if command is not None:
            console.print(f"to learn with the best: {command}")
    for path in write_results(found, settings.run, data=settings.data.name):
        console.print(str(path))
