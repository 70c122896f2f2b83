"""`vire-edge benchmark`: what watching costs and what it finds, beside the naive way and other packages."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vire_edge.cli.options import ConfigOption
from vire_edge.cli.tables import print_tables
from vire_edge.errors import VireError

if TYPE_CHECKING:
    from vire_edge.benchmark.order import Order
    from vire_edge.benchmark.results import Results
    from vire_edge.config import MqttConfig

ALL_ALERTS, ALL_IDLE_SECONDS = 100, 30.0
EVERY_SCENE = "all"


def benchmark(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE", help="Clips or cameras to look at; without any and without --scene the actor's play."
        ),
    ] = None,
    *,
    config: ConfigOption = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(
            help="A scene that is drawn: actor, one, moving, tilting, people, empty, still, furnished, or all; "
            "may be repeated."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Media time to look at; what is shorter begins again.")
    ] = 60.0,
    fps: Annotated[float, typer.Option(min=1, max=60, help="Frames looked at for each second of it.")] = 10.0,
    peers: Annotated[bool, typer.Option("--peers", help="Also other packages that do the same: fer.")] = False,
    keras: Annotated[
        Path | None,
        typer.Option(help="A Keras network to call beside ours; models/vire.keras where it and Keras are there."),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="How cost grows with resolution, faces, cameras and frame rate.")
    ] = False,
    latency: Annotated[
        int, typer.Option(metavar="ALERTS", min=0, help="Raise so many alerts and time them, to the acknowledgement.")
    ] = 0,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="Their broker; without it the one inside the daemon."),
    ] = None,
    idle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Run the daemon before still and peopled rooms for so long.")
    ] = 0.0,
    everything: Annotated[
        bool, typer.Option("--all", help="All scenes, peers, sweep, latency and idle: a quarter of an hour.")
    ] = False,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all figures.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Also write a page, with the plot of --sweep beside it.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg", help="Draw what --sweep has found; needs matplotlib.")
    ] = None,
) -> None:
    """Measure what each frame costs and which faces are found, ours beside the naive way, in turns on one thread.

    The naive way searches each whole frame for faces and reads every one of them.
    """
    from vire_edge.benchmark.machine import this_machine
    from vire_edge.benchmark.order import Order, measure
    from vire_edge.benchmark.results import Results
    from vire_edge.cli.logs import configure_logs
    from vire_edge.config import LogConfig, load_config

    chosen = _scenes(sources or [], [EVERY_SCENE] if everything else scene or [])
    asked_for_more = sweep or latency or idle
    order = Order(
        scenes=chosen or (() if asked_for_more else ("actor",)),
        seconds=seconds,
        fps=fps,
        peers=peers or everything,
        keras=keras,
        sweep=sweep or everything,
        alerts=latency or (ALL_ALERTS if everything else 0),
        idle_seconds=idle or (ALL_IDLE_SECONDS if everything else 0.0),
        broker=_broker(broker),
    )
    _check_places(order, as_json, markdown, plot)
    settings = load_config(config)
    configure_logs(LogConfig(level="error"))
    results = Results(this_machine(), _command(order, sources or [], everything=everything))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="vire-edge-benchmark-") as folder,
            Console(stderr=True).status("begins") as status,
        ):
            measure(order, settings, Path(folder), results, progress=status.update)
    except (VireError, KeyboardInterrupt) as end:
        # A quarter of an hour is not to be lost because a broker does not answer at its end.
        if results.has_figures:
            results.notes.append(f"what was to follow ({str(end) or 'Ctrl-C'})")
            _tell(results)
            _write(results, as_json, markdown, plot)
        raise
    _tell(results)
    _write(results, as_json, markdown, plot)


def _scenes(sources: Sequence[str], scenes: Sequence[str]) -> tuple[str, ...]:
    from vire_edge.benchmark.scenes import SCENES

    if unknown := [name for name in scenes if name not in SCENES and name != EVERY_SCENE]:
        raise typer.BadParameter(f'"{unknown[0]}" is none of {", ".join(SCENES)}, all', param_hint="--scene")
    return (*sources, *(SCENES if EVERY_SCENE in scenes else dict.fromkeys(scenes)))


def _broker(text: str | None) -> MqttConfig | None:
    from pydantic import ValidationError

    from vire_edge.config import MqttConfig

    if text is None:
        return None
    host, _, port = text.partition(":")
    try:
        return MqttConfig.model_validate({"host": host, "port": port or None})
    except ValidationError:
        raise typer.BadParameter(f'"{text}" is no HOST or HOST:PORT', param_hint="--broker") from None


def _check_places(order: Order, as_json: Path | None, markdown: Path | None, plot: Path | None) -> None:
    """Refuse before the work what could not be read or written after it."""
    from vire_edge.benchmark.plot import check_matplotlib
    from vire_edge.training.backend import check_packages
    from vire_edge.training.evaluation.reading import model_file
    from vire_edge.training.export import prepare_place

    if order.broker is not None and not order.alerts:
        raise typer.BadParameter("it is where --latency sends its alerts; add that", param_hint="--broker")
    if plot is not None and not order.sweep:
        raise typer.BadParameter("it draws what --sweep finds; add that", param_hint="--plot")
    if plot is not None and plot.suffix.lower() not in {".png", ".svg"}:
        raise typer.BadParameter(f"{plot} must end in .png or .svg", param_hint="--plot")
    if markdown is not None and markdown.suffix.lower() not in {".md", ".markdown"}:
        raise typer.BadParameter(f"{markdown} must end in .md", param_hint="--markdown")
    for place in (as_json, markdown, plot):
        if place is not None:
            prepare_place(place)
    if plot is not None or (markdown is not None and order.sweep):
        check_matplotlib()
    if order.keras is not None:
        check_packages("keras")
        model_file(order.keras)


def _tell(results: Results) -> None:
    from vire_edge.benchmark.report import tables

    print(f"{results.machine}.")
    print("One thread each, in turns on the same frames; figures of different runs or machines are not comparable.\n")
    print_tables(tables(results))
    for note in results.notes:
        print(f"Not measured: {note}")


def _write(results: Results, as_json: Path | None, markdown: Path | None, plot: Path | None) -> None:
    from vire_edge.benchmark.plot import draw
    from vire_edge.benchmark.report import compose
    from vire_edge.training.report import plots
    from vire_edge.training.report.document import Picture
    from vire_edge.training.report.write import write_report, write_whole

    if not results.points:
        plot = None  # the sweep was to follow
    if as_json is not None:
        write_whole(as_json, json.dumps(results.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if plot is not None:
        figure = draw(results.points)
        write_whole(plot, plots.png(figure) if plot.suffix.lower() == ".png" else plots.svg(figure))
    if markdown is not None:
        words = (
            "Four plots of milliseconds over resolution, faces, cameras and frame rate, ours and the naive pipeline's.",
            "How cost grows; below the dotted line it grows less than in proportion. All axes are logarithmic.",
        )
        picture = Picture("growth", plots.svg(draw(results.points)), *words) if results.points else None
        write_report(compose(results, picture), markdown)
    for written in (as_json, plot, markdown):
        if written is not None:
            print(f"{written}: written")


def _command(order: Order, sources: Sequence[str], *, everything: bool) -> str:
    """The command that measures this again, without the folders that clips are in and without passwords."""
    from vire_edge.config import redact_source

    words = [shown if "://" in (shown := redact_source(source)) else Path(shown).name for source in sources]
    words += [word for name in order.scenes[len(sources) :] if not everything for word in ("--scene", name)]
    words += ["--seconds", f"{order.seconds:g}", "--fps", f"{order.fps:g}"] if order.scenes else []
    if everything:
        words.append("--all")
    else:
        words += ["--peers"] * order.peers + ["--sweep"] * order.sweep
        words += ["--latency", str(order.alerts)] if order.alerts else []
        words += ["--idle", f"{order.idle_seconds:g}"] if order.idle_seconds else []
    return shlex.join(["vire-edge", "benchmark", *words])
