"""Points of a sweep → a picture of how the cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vire_edge.benchmark.scaling import RATE, Point
from vire_edge.errors import DependencyError

INK, BLUE, ORANGE = "#24292f", "#2f7fc1", "#d9731a"
_PANELS = {
    "resolution": ("size of the frames", "ms of one core a frame"),
    "faces": ("faces in view", "ms of one core a frame"),
    "cameras": ("cameras", "ms of one core, a frame of each"),
    RATE: ("frames a second", "ms of one core a second"),
}
"""Series → what stands along its axes."""


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
    """Draw a panel for each series: the processor's milliseconds, ours and naive.

    Args:
        points: of every series, at least one each.

    Returns:
        A `matplotlib.figure.Figure`, which belongs to no window.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    matplotlib = check_matplotlib()
    figure = matplotlib.figure.Figure(figsize=(10.4, 6.4), layout="constrained")
    for axes, (series, (along, upward)) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
        shown = [point for point in points if point.series == series]
        x = [point.value for point in shown]
        frames = [point.fps if series == RATE else 1.0 for point in shown]
        naive = [count * point.naive.mean for count, point in zip(frames, shown, strict=True)]
        ours = [count * point.ours.mean for count, point in zip(frames, shown, strict=True)]
        for name, colour, style, y in (("naive", ORANGE, "--", naive), ("VIRE Edge", BLUE, "-", ours)):
            axes.plot(x, y, style, color=colour, marker="o", markersize=4, linewidth=1.6, label=name)
        axes.plot(x, [ours[0] * value / x[0] for value in x], ":", color=INK, linewidth=0.8, label="in proportion")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(x, [point.label for point in shown])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(along, color=INK)
        axes.set_ylabel(upward, color=INK)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        for name, side in axes.spines.items():
            side.set_visible(name in ("left", "bottom"))
            side.set_color(INK)
    figure.axes[0].legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure
