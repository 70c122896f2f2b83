"""Points of a sweep → a picture of how the cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vire_edge.benchmark.scaling import Point
from vire_edge.errors import DependencyError

INK, BLUE, ORANGE = "#24292f", "#2f7fc1", "#d9731a"
_AXES = {
    "resolution": "megapixels",
    "faces": "faces in view",
    "cameras": "cameras",
    "frame rate": "frames a second",
}


def check_matplotlib() -> Any:
    """Return the module `matplotlib` with its figures.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import matplotlib.figure  # noqa: PLC0415 - an optional extra, and a second of imports
    except ImportError as error:
        raise DependencyError(
            f"a plot needs matplotlib, which cannot be imported ({error}); run: pip install 'vire-edge[benchmark]'"
        ) from error
    return matplotlib


def draw(points: Sequence[Point]) -> Any:
    """Draw a panel for each series: the processor's milliseconds for a frame of each camera, ours and naive.

    Returns:
        A `matplotlib.figure.Figure`, which belongs to no window.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    figure = check_matplotlib().figure.Figure(figsize=(10.4, 6.4), layout="constrained")
    for axes, series in zip(figure.subplots(2, 2).flat, _AXES, strict=True):
        shown = [point for point in points if point.series == series]
        x = [point.value for point in shown]
        for name, colour, style, y in (
            ("naive", ORANGE, "--", [point.naive.mean for point in shown]),
            ("VIRE Edge", BLUE, "-", [point.ours.mean for point in shown]),
        ):
            axes.plot(x, y, style, color=colour, marker="o", markersize=4, linewidth=1.6, label=name)
        first = shown[0]
        linear = [first.ours.mean * value / first.value for value in x]
        axes.plot(x, linear, ":", color=INK, linewidth=0.8, label="in proportion")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(x, [f"{value:.3g}" for value in x], minor=False)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_xlabel(_AXES[series], color=INK)
        axes.set_ylabel("ms of one core, each camera once", color=INK)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        for name, side in axes.spines.items():
            side.set_visible(name in ("left", "bottom"))
            side.set_color(INK)
    figure.axes[0].legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure
