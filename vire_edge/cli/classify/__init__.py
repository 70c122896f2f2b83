"""`vire-edge classify`: the daemon's eyes on pictures and videos of one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vire_edge.cli.options import ConfigOption
from vire_edge.errors import ConfigError, StorageError

if TYPE_CHECKING:
    # A command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.cli.classify.look import Looker, View
    from vire_edge.cli.classify.report import Report


def classify(
    files: Annotated[
        list[str],  # as typed: a Path would lose a slash of rtsp://
        typer.Argument(metavar="FILE|FOLDER", help="Pictures and videos to look at; of a folder, its pictures."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Write what was looked at with boxes, emotions and bars: a picture (.png, .jpg), a video (.mp4, .avi) "
            "or, for several, a folder.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar="", help="Print a JSON object for each picture and each frame of a video, one a line."
        ),
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", metavar="", help="Also look for faces turned to either side.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Read the emotions in pictures and videos, as the daemon would.

    Faces that are too small, too dark or too blurred are "not observed": nothing is guessed.
    In a video each person is followed and the emotion smoothed over time. Nothing leaves this machine.
    """
    from vire_edge.cli.classify.look import Looker, list_pictures
    from vire_edge.cli.classify.report import JsonLines, Lines, Tables
    from vire_edge.config import load_config, redact_source

    if stream := next((file for file in files if "://" in file), None):
        raise ConfigError(
            f"{redact_source(stream)} is a stream, and classify takes files; "
            "for a stream use: vire-edge run --source URL"
        )
    paths = [Path(file) for file in files]
    settings = load_config(config)
    if profile:
        settings = settings.model_copy(update={"faces": settings.faces.model_copy(update={"profile": True})})
    inputs = [found for path in paths for found in (list_pictures(path) if path.is_dir() else [path])]
    outputs = _outputs(out, inputs, folder=len(inputs) > 1 or any(path.is_dir() for path in paths))
    looker = Looker(settings)
    for path in inputs:
        looker.check(path)
    interactive = sys.stdout.isatty() and not as_json
    report: Report = JsonLines() if as_json else Tables() if interactive else Lines()
    for path, output in zip(inputs, outputs, strict=True):
        report.begin(path, looker.is_video(path))
        with _progress(path, show=interactive and looker.is_video(path)):
            _look(looker, path, output, report)
        report.end(path)
    if out is not None:
        print(f"written: {out}", file=sys.stderr if as_json else sys.stdout)


def _look(looker: Looker, path: Path, output: Path | None, report: Report) -> None:
    from vire_edge.cli.classify.draw import annotate, write_picture, write_video

    if not looker.is_video(path):
        view = looker.look_at_picture(path)
        report.tell(path, view)
        if output is not None:
            write_picture(output, annotate(view))
        return

    def told() -> Iterator[View]:
        for view in looker.watch_video(path):
            report.tell(path, view)
            yield view

    if output is None:
        _exhaust(told())
    else:
        write_video(output, (annotate(view) for view in told()), fps=looker.frames_per_second(path))


def _exhaust(views: Iterable[View]) -> None:
    for _ in views:
        pass


def _outputs(out: Path | None, inputs: list[Path], *, folder: bool) -> list[Path | None]:
    """Where the annotated copy of each input goes."""
    from vire_edge.cli.classify.draw import PICTURE_SUFFIXES, VIDEO_SUFFIXES
    from vire_edge.cli.classify.look import Looker

    if out is None:
        return [None] * len(inputs)
    if folder:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"--out {out} cannot be made a folder ({(error.strerror or str(error)).lower()})"
            ) from error
        outputs = [out / f"{path.stem}{'.mp4' if Looker.is_video(path) else '.png'}" for path in inputs]
        if repeated := next((path for index, path in enumerate(outputs) if path in outputs[:index]), None):
            raise ConfigError(f"two inputs would both be written to {repeated}; give them in two calls")
    else:
        outputs = [out]
    for path, output in zip(inputs, outputs, strict=True):
        suffixes = VIDEO_SUFFIXES if Looker.is_video(path) else PICTURE_SUFFIXES
        if output.suffix.lower() not in suffixes:
            kind = "a video" if Looker.is_video(path) else "a picture"
            raise ConfigError(f"--out {output}: {kind} is written as {', '.join(sorted(suffixes))}")
        if output.exists() and path.exists() and output.samefile(path):
            raise ConfigError(f"--out {output} is the input itself; name another file")
    return [*outputs]


@contextmanager
def _progress(path: Path, *, show: bool) -> Iterator[None]:
    """A sign of life while a video is watched."""
    if not show:
        yield
        return
    with Console(stderr=True).status(f"watching {path}"):
        yield
