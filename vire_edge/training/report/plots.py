"""Figures → pictures: class distribution, epochs, confusion, reliability, trials. No window, no shared state.

A picture is drawn once and written as SVG, whose ink and paper follow the reader's light or dark theme, or as PNG on
white. The two colours differ for every kind of colour blindness, and each line is told by its style, too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vire_edge.domain import EMOTIONS
from vire_edge.training.backend import load_matplotlib
from vire_edge.training.evaluation.metrics import Bin
from vire_edge.training.rundir import EpochRecord

Figure = Any
"""A `matplotlib.figure.Figure`, which belongs to no window; matplotlib ships no types that mypy could follow here."""
INK, DARK_INK = "#24292f", "#e6edf3"
BLUE, ORANGE = "#2f7fc1", "#d9731a"
SHADE = (0.07, 0.38, 0.66)
"""Red, green and blue of a full cell; an emptier one lets more of the paper through."""
WHITE_FROM = 0.7
"""The share from which a cell's figures are white."""
DOTS_PER_INCH = 150
COMPLETE = "complete"
"""The state of a trial that was neither stopped nor lost."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a hyperparameter search."""

    number: int
    """From 0."""
    state: str
    """complete, pruned, fail, running or waiting."""
    loss: float
    """Of a pruned trial the last one seen; not a number where there is none."""
    params: Mapping[str, Any]


def class_distribution(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Share of each class in each split.

    Args:
        counts: split's name → images of each class in the order of `EMOTIONS`; one split or two.
    """
    figure, axes = _figure(7.2, 3.6)
    height = 0.8 / len(counts)
    for place, ((name, values), colour) in enumerate(zip(counts.items(), (BLUE, ORANGE), strict=False)):
        shares = 100 * np.array(values) / max(sum(values), 1)
        rows = np.arange(len(EMOTIONS)) + (place - (len(counts) - 1) / 2) * height
        bars = axes.barh(rows, shares, height * 0.92, color=colour, label=f"{name}, {sum(values):,} images")
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8, color=INK)
    axes.set_yticks(range(len(EMOTIONS)), list(EMOTIONS))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("share of the split's images (%)")
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
    _legend(axes, loc="lower right")
    return figure


def epochs(history: Sequence[EpochRecord], kept: int | None = None) -> Figure:
    """Loss, accuracy and learning rate of each epoch.

    Args:
        history: one record an epoch, at least one.
        kept: the epoch whose weights were chosen, from 1; marked where given.
    """
    figure = load_matplotlib().figure.Figure(figsize=(10.4, 3.2), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    x = [record.epoch for record in history]
    marker = "o" if len(history) < 4 else None
    drawn: tuple[tuple[str, str, str, float], ...] = (
        ("loss (nats)", "loss", "held_out_loss", 1),
        ("accuracy (%)", "accuracy", "held_out_accuracy", 100),
    )
    for axes, (label, training, validation, scale) in zip(panels, drawn, strict=False):
        for name, field, colour, style in (
            ("training", training, BLUE, "--"),
            ("validation (held out)", validation, ORANGE, "-"),
        ):
            y = [scale * getattr(record, field) for record in history]
            axes.plot(x, y, style, color=colour, label=name, linewidth=1.6, marker=marker, markersize=4)
        axes.set_ylabel(label)
    rates = [record.learning_rate for record in history]
    panels[2].plot(x, rates, color=INK, linewidth=1.4, marker=marker, markersize=4)
    panels[2].set_ylabel("learning rate")
    panels[2].set_ylim(0, max(rates) * 1.08 or 1)
    panels[2].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axes in panels:
        _plain(axes)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        if kept is not None:
            axes.axvline(kept, color=INK, linewidth=0.8, linestyle=":", label=f"kept: epoch {kept}")
    _legend(panels[0])
    return figure


def confusion(counts: Sequence[Sequence[int]]) -> Figure:
    """What is read (columns) in faces of each label (rows): percent of the row, and images.

    Args:
        counts: `counts[label][read]`, 7×7.
    """
    figure, axes = _figure(6.4, 5.6)
    values = np.array(counts)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    cell = load_matplotlib().patches.Rectangle
    for (row, column), share in np.ndenumerate(shares):
        if not values[row].any():
            continue  # none of no images
        axes.add_patch(cell((column - 0.5, row - 0.5), 1, 1, facecolor=(*SHADE, 0.03 + 0.97 * share), linewidth=0))
        colour = "white" if share >= WHITE_FROM else INK
        axes.text(column, row - 0.12, f"{100 * share:.0f} %", ha="center", va="center", color=colour, fontsize=10)
        axes.text(column, row + 0.24, f"{values[row, column]:,}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.set_xlim(-0.5, len(EMOTIONS) - 0.5)
    axes.set_ylim(len(EMOTIONS) - 0.5, -0.5)
    axes.set_xticks(range(len(EMOTIONS)), list(EMOTIONS))
    axes.set_yticks(
        range(len(EMOTIONS)), [f"{name} ({count:,})" for name, count in zip(EMOTIONS, values.sum(axis=1), strict=True)]
    )
    axes.set_xlabel("read as")
    axes.set_ylabel("label (images)")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def reliability_diagram(bins: Sequence[Bin]) -> Figure:
    """How often a model is right by how sure it is; on the diagonal it is honest.

    Args:
        bins: those with images in them, at least one.
    """
    figure, axes = _figure(4.6, 4.2)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":", label="as sure as right")
    most = max(place.images for place in bins)
    axes.scatter(
        [100 * place.confidence for place in bins],
        [100 * place.accuracy for place in bins],
        s=[12 + 220 * place.images / most for place in bins],
        color=BLUE,
        alpha=0.85,
        label=f"images equally sure; the largest stands for {most:,}",
        linewidth=0,
    )
    axes.plot(
        [100 * place.confidence for place in bins], [100 * place.accuracy for place in bins], color=BLUE, linewidth=1
    )
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)
    axes.set_xlabel("highest probability, mean (%)")
    axes.set_ylabel("read right (%)")
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    _legend(axes, loc="upper left", markerscale=0.5)
    return figure


def trial_losses(trials: Sequence[Trial]) -> Figure:
    """Loss of each trial of a search, and the best one so far.

    Args:
        trials: those without a finite loss are left out.
    """
    figure, axes = _figure(7.2, 3.4)
    finite = [trial for trial in trials if np.isfinite(trial.loss)]
    shown = sorted(finite, key=lambda trial: trial.number)
    done = [trial for trial in shown if trial.state == COMPLETE]
    for name, chosen, colour, marker in (
        ("complete", done, BLUE, "o"),
        ("stopped early", [trial for trial in shown if trial.state != COMPLETE], ORANGE, "x"),
    ):
        if chosen:
            axes.scatter(
                [trial.number for trial in chosen],
                [trial.loss for trial in chosen],
                color=colour,
                marker=marker,
                s=34,
                label=name,
                zorder=3,
            )
    if done:
        best = np.minimum.accumulate([trial.loss for trial in done])
        axes.step([trial.number for trial in done], best, where="post", color=INK, linewidth=1, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("loss on held-out images (nats)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    if shown:
        _legend(axes)
    return figure


def png(figure: Figure) -> bytes:
    """The picture on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white")
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """The picture without paper, its ink dark on light pages and light on dark ones."""
    buffer = io.StringIO()
    # Words stay words, and nothing in the file depends on chance or on the day.
    with load_matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": "vire-edge"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    head, tag, rest = text[text.index("<svg") :].partition(">")
    theme = f"<style>svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}}}</style>"
    return head + tag + theme + rest.replace(INK, "currentColor")


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of that many inches, and its only axes."""
    figure = load_matplotlib().figure.Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Any) -> None:
    """Two axes instead of a frame, all in the ink's colour."""
    axes.tick_params(colors=INK, labelsize=9)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_size(10)
    axes.set_axisbelow(True)


def _legend(axes: Any, **places: Any) -> None:
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, **places)
