"""`vire-edge evaluate`: how well models read faces, side by side."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vire_edge.cli.tables import print_tables
from vire_edge.cli.training.options import DATA

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.evaluation.comparison import Comparison
    from vire_edge.training.evaluation.measured import Measured

PUBLIC_TEST = "PublicTest"


def evaluate(
    *,
    data: Annotated[Path | None, typer.Option(help=DATA)] = None,
    faces: Annotated[
        Path | None,
        typer.Option(
            help="Your own faces instead: a folder or zip with test/<class>/, or with <class>/, then all "
            "but those that a --run learnt from."
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "--run",
            help="An .onnx or .keras file or a run directory, in the order to show; may be repeated. "
            "Without any, the shipped model.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Which images of --data to measure on: PublicTest (when omitted), PrivateTest or Training."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write a report with plots: one .html file, or .md with a folder beside it."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help="A search that the report shall tell of: tune's folder or storage URL; may be repeated."),
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
    from vire_edge.training.backend import load_matplotlib
    from vire_edge.training.evaluation.comparison import compared
    from vire_edge.training.evaluation.reading import read_faces
    from vire_edge.training.export import prepare_place
    from vire_edge.training.report.content import compose
    from vire_edge.training.report.searches import read_searches
    from vire_edge.training.report.write import write_confusion, write_report

    if search and report is None and not as_json:
        raise typer.BadParameter("it is told of in a report; name one with --report", param_hint="--search")
    source = _check(data, faces, split, report)
    files = model or [shipped_model_path()]
    # Measuring takes long: what is missing, or cannot be written or drawn, is to be known before.
    for place in (report, confusion and confusion / "1.csv"):
        if place is not None:
            prepare_place(place)
            load_matplotlib()
    _check_sources(source, files)
    searches = [found for place in search or [] for found in read_searches(place)]
    measured = _load(source, split, files, own=faces is not None)
    for note in measured.notes:
        print(note, file=sys.stderr)
    readings = [read_faces(path, measured.faces.images, timed=time) for path in files]
    comparison = compared(readings, measured)
    if confusion is not None:
        write_confusion(comparison, confusion)
    if report is not None:
        told = {
            "--data": data and data.name,
            "--faces": faces and faces.name,
            "--split": split or (data and PUBLIC_TEST),
        }
        command = _command(told, {"--model": files, "--search": search or []}, report, timed=time)
        write_report(compose(comparison, command=command, searches=searches), report)
    if as_json:
        told_too = {"searches": [found.as_dict() for found in searches]}
        print(json.dumps(comparison.as_dict() | told_too, indent=2, allow_nan=False))
        return
    _print(comparison)
    for written in (confusion, report):
        if written is not None:
            print(f"{written}: written")


def _check(data: Path | None, faces: Path | None, split: str | None, report: Path | None) -> Path:
    """Refuse what is no choice, and options that contradict each other; the faces to measure on."""
    from vire_edge.training.data.dataset import Split
    from vire_edge.training.report.write import HTML, MARKDOWN

    if report is not None and report.suffix.lower() not in (*HTML, *MARKDOWN):
        raise typer.BadParameter(f"{report} must end in .html or .md", param_hint="--report")
    if split is not None and split not in list(Split):
        raise typer.BadParameter(f'"{split}" is none of {", ".join(Split)}', param_hint="--split")
    source = data or faces
    if source is None:
        raise typer.BadParameter("name FER2013's file with it, or your own faces with --faces", param_hint="--data")
    if faces is not None and data is not None:
        raise typer.BadParameter("it stands instead of --data; measure on one after the other", param_hint="--faces")
    if faces is not None and split is not None:
        raise typer.BadParameter(
            "own faces are measured by their test folder, or all; leave it out", param_hint="--split"
        )
    return source


def _check_sources(faces: Path, models: Sequence[Path]) -> None:
    """Refuse what is not there, and what cannot be read without a package."""
    from vire_edge.training.backend import check_packages
    from vire_edge.training.data.dataset import check_place
    from vire_edge.training.evaluation.reading import KERAS_SUFFIX, model_file

    check_packages("onnx")
    check_place(faces)
    if any(model_file(model).suffix == KERAS_SUFFIX for model in models):
        check_packages("keras")


def _load(source: Path, split: str | None, models: Sequence[Path], *, own: bool) -> Measured:
    from vire_edge.training.data.dataset import Split, load
    from vire_edge.training.evaluation.measured import from_dataset, from_own_faces

    if own:
        return from_own_faces(source, models)
    return from_dataset(load(source), Split(split or PUBLIC_TEST))


def _command(
    options: Mapping[str, object], repeated: Mapping[str, Sequence[object]], report: Path, *, timed: bool
) -> str:
    """The command that makes the report again, without the folders that data is in and without passwords."""
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    words += [word for name, values in repeated.items() for value in values for word in (name, _shown(str(value)))]
    words += ["--time"] * timed
    return shlex.join(["vire-edge", "evaluate", *words, "--report", report.name])


def _shown(place: str) -> str:
    from vire_edge.training.search.storage import shown

    return shown(place) if "://" in place else place


def _print(comparison: Comparison) -> None:
    from vire_edge.training.report import tables

    several = [tables.models(comparison), *tables.figures(comparison)]
    leads = tables.leads(comparison)
    several += [] if leads is None else [leads]
    for name, evaluation in zip(tables.names(comparison), comparison.evaluations, strict=True):
        several.append(tables.by_class(evaluation, f"Model {name}, by class"))
        several.append(tables.confusion(evaluation, f"Model {name}, images by label and reading"))
    print_tables(several)
