"""Results → a page: tables of text, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vire_edge.benchmark.agreement import NEAR_SECONDS
from vire_edge.benchmark.contestants import NAIVE, OURS
from vire_edge.benchmark.daemon_cost import DaemonCost
from vire_edge.benchmark.keras_call import KerasCall
from vire_edge.benchmark.results import Results, SceneResult
from vire_edge.benchmark.scaling import Point
from vire_edge.benchmark.spread import Ratio, Spread
from vire_edge.training.report.document import Block, Code, Document, Heading, Paragraph, Picture, Table

QUANTILES = ("mean", "p50", "p95", "p99")
_ABOUT = (
    "The naive pipeline searches the whole of each frame with the same cascade and the same settings, and reads every "
    "face in every frame with the float32 network. All look at the same decoded frames, in turns, second by second, on "
    "one thread; frames come by media time, and a clip that is shorter begins again after a pause. Ratios within a "
    "run are comparable; figures of two runs or two machines are not."
)


def compose(results: Results, plot: Picture | None = None) -> Document:
    """Return the whole page, as `vire-edge benchmark --markdown` writes it."""
    blocks: list[Block] = [
        Heading("Benchmark", 1),
        Paragraph("Made by the command below and not by hand."),
        Code(results.command),
        Paragraph(f"{results.machine}."),
        Paragraph(_ABOUT),
        *tables(results),
    ]
    if plot is not None:
        blocks.append(plot)
    blocks += [Paragraph(f"Not measured: {note}.") for note in results.notes]
    return tuple(blocks)


def tables(results: Results) -> Iterator[Table]:
    """Return a table for everything that was measured."""
    if results.scenes:
        yield Table("Scenes", ("scene", "what it shows", "size", "frames"), tuple(map(_scene, results.scenes)), (1, 2))
        yield _costs(results.scenes)
        yield _found(results.scenes)
        yield _minutes(results.scenes)
        yield _stages(results.scenes)
    if results.alone:
        rows = tuple(
            (name, f"{one.peak_mib:.0f}", f"{one.first_look_seconds:.2f}") for name, one in results.alone.items()
        )
        yield Table(
            "Memory in a process of its own",
            ("who", "peak resident, MiB", "seconds from Python's start to the first frame seen"),
            rows,
        )
    yield from _others(results)


def _scene(scene: SceneResult) -> tuple[str, ...]:
    return (
        scene.scene,
        scene.about,
        f"{scene.width}×{scene.height}, {scene.frames_a_second:.0f} fps",
        f"{scene.frames:,}",
    )


def _costs(scenes: Sequence[SceneResult]) -> Table:
    rows = tuple(
        (
            scene.scene,
            one.name,
            *_quantiles(one.frame),
            f"{one.cpu_milliseconds:.2f}",
            *_times(one.name, one.times_ours),
        )
        for scene in scenes
        for one in scene.standings
    )
    head = ("scene", "who", *QUANTILES, "of the processor", "of it times ours", "95 % interval")
    return Table("Milliseconds a frame", head, rows, (1,))


def _found(scenes: Sequence[SceneResult]) -> Table:
    rows = []
    for scene in scenes:
        for one in scene.standings:
            faces, truth = one.faces, one.truth
            rows.append(
                (
                    scene.scene,
                    one.name,
                    "–" if faces is None else f"{faces.others:,}",
                    "–" if faces is None or not faces.reference else f"{faces.recall:.3f}",
                    "–" if faces is None else f"{faces.unmatched:,}",
                    "–" if faces is None else f"{faces.never_near:,}",
                    "–" if truth is None or not truth.shown else f"{truth.recall:.3f}",
                    "–" if truth is None else f"{truth.false:,}",
                    *(
                        "–" if timeline is None or not timeline.seconds else f"{timeline.share:.1%}"
                        for timeline in (one.reading, one.timeline)
                    ),
                )
            )
    head = (
        "scene", "who", "boxes", "recall against naive", "not in naive's frame", f"nor within {NEAR_SECONDS:g} s",
        "recall against the script", "false by the script",
        "seconds with the emotion of each frame read", "with naive's",
    )  # fmt: skip
    return Table("Faces found, and what they show", head, tuple(rows), (1,))


def _minutes(scenes: Sequence[SceneResult]) -> Table:
    rows = []
    for scene in scenes:
        decoding = scene.decoding_cpu_seconds_a_minute
        seconds = {one.name: decoding + one.cpu_seconds_a_minute for one in scene.standings}
        rows.append(
            (
                scene.scene,
                f"{decoding:.2f}",
                f"{seconds[OURS]:.2f}",
                f"{scene.limit_cpu_seconds_a_minute:.2f}",
                f"{seconds[NAIVE]:.2f}" if NAIVE in seconds else "–",
            )
        )
    head = ("scene", "decoding", "ours", "the limit: decoding and readings alone", "naive")
    return Table("Seconds of the processor for a minute of video, decoding included", head, tuple(rows))


def _stages(scenes: Sequence[SceneResult]) -> Table:
    rows = tuple(
        (scene.scene, one.name, stage.name, f"{stage.share:.0%}", f"{stage.mean:.2f}", *_quantiles(stage.where_needed))
        for scene in scenes
        for one in scene.standings
        for stage in one.stages
    )
    head = ("scene", "who", "stage", "frames that need it", "mean over all", *(f"{name} there" for name in QUANTILES))
    return Table("Milliseconds by stage; search contains what it asks of the detector", head, rows, (1, 2))


def _others(results: Results) -> Iterator[Table]:
    if (call := results.keras) is not None:
        yield _keras(call)
    if (latency := results.latency) is not None:
        rows = (
            (f"{latency.alerts}, {latency.broker}", *_quantiles(latency.spread)),
            ("of it the disk, as a single write right afterwards", *_quantiles(latency.disk)),
        )
        caption = "Milliseconds from the capture of an alert's last frame to the broker's acknowledgement"
        yield Table(caption, ("alerts", *QUANTILES), rows)
    if results.daemons:
        yield _daemons(results.daemons)
    if results.points:
        yield _growth(results.points)


def _keras(call: KerasCall) -> Table:
    rows = (
        (f"Keras, {call.network} called directly", *_quantiles(call.keras), *_times("", call.ratio)),
        (f"ours, {call.model}", *_quantiles(call.ours), "1", ""),
    )
    return Table("Milliseconds to read one face", ("who", *QUANTILES, "times ours", "95 % interval"), rows)


def _daemons(daemons: Sequence[DaemonCost]) -> Table:
    rows = tuple(
        (
            one.what,
            str(one.cameras),
            f"{one.cpu_percent:.1f} %",
            f"{one.resident_mib:.0f}",
            f"{one.peak_mib:.0f}",
            f"{one.seconds:.0f}",
        )
        for one in daemons
    )
    head = ("scene", "cameras", "of one core", "resident, MiB", "peak, MiB", "seconds")
    return Table("The daemon with its broker, 640×480 at 10 fps in real time", head, rows)


def _growth(points: Sequence[Point]) -> Table:
    rows = tuple(
        (
            point.series,
            point.label,
            f"{point.ours.mean:.2f}",
            f"{point.naive.mean:.2f}",
            f"{point.naive.mean / point.ours.mean:.1f}",
            f"{point.cpu_seconds_a_minute:.2f}",
        )
        for point in points
    )
    head = ("varied", "to", "ours, ms", "naive, ms", "ratio", "ours, seconds of the processor a minute")
    return Table("How cost grows: of the processor, for a frame of each camera, without decoding", head, rows, (1,))


def _quantiles(values: Spread) -> tuple[str, ...]:
    return tuple(f"{getattr(values, name):.2f}" for name in QUANTILES)


def _times(name: str, value: Ratio) -> tuple[str, str]:
    if name == OURS:
        return "1", ""
    return f"{value.value:.1f}", f"{value.low:.1f}–{value.high:.1f}"
