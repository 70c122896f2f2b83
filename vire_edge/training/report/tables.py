"""Compared models → tables of text, the same for a terminal, HTML and Markdown. Figures are rounded here, once."""

from __future__ import annotations

import math
from typing import Any

from vire_edge.domain import EMOTIONS
from vire_edge.training.evaluation.comparison import Comparison, Evaluation, Figures
from vire_edge.training.evaluation.intervals import Interval
from vire_edge.training.report.document import Table
from vire_edge.training.report.plots import COMPLETE, Trial
from vire_edge.training.report.published import PUBLISHED

RARE = EMOTIONS.index("disgust")
"""The class that accuracy hides: 1.5 % of FER2013."""
UNKNOWN = "–"


def names(comparison: Comparison) -> list[str]:
    """A short name for each model: its number and its architecture."""
    return [
        f"{number} {evaluation.reading.architecture}"
        for number, evaluation in enumerate(comparison.evaluations, start=1)
    ]


def models(comparison: Comparison) -> Table:
    """Which model has which number, and what it costs."""
    rows = []
    for name, evaluation in zip(names(comparison), comparison.evaluations, strict=True):
        reading = evaluation.reading
        rows.append(
            (
                name,
                count(reading.parameters),
                count(reading.multiply_adds),
                UNKNOWN if reading.milliseconds is None else f"{reading.milliseconds:.2f}",
                reading.calibration,
                reading.name,
            )
        )
    head = ("model", "parameters", "multiply-adds", "ms a face", "calibration", "file or run")
    return Table("Models, and what they cost for one face", head, tuple(rows), words=(4, 5))


def figures(comparison: Comparison) -> list[Table]:
    """The figures of all models: on all images, and without the repeats where that can be told."""
    name, named = comparison.measured.name, list(zip(names(comparison), comparison.evaluations, strict=True))
    tables = [_figures(f"{name}, all", [(model, some.whole) for model, some in named])]
    fresh = [(model, some.fresh) for model, some in named if some.fresh is not None]
    if fresh:
        tables.append(_figures(f"{name} without images that repeat a training image,", fresh))
    return tables


def leads(comparison: Comparison) -> Table | None:
    """How far each model leads the first one, and whether the images alone explain it; None for a single model."""
    rows = []
    for name, evaluation in zip(names(comparison), comparison.evaluations, strict=True):
        lead = evaluation.lead
        if lead is None:
            continue
        verdict = "may be chance"
        if lead.beyond_chance:
            verdict = "better" if lead.accuracy > 0 else "worse"
        accuracy = points(lead.accuracy, lead.accuracy_interval)
        macro_f1 = points(lead.macro_f1, lead.macro_f1_interval)
        rows.append((name, accuracy, macro_f1, str(lead.gained), str(lead.lost), p_value(lead.p_value), verdict))
    if not rows:
        return None
    head = ("model", "accuracy, points", "macro-F1, points", "only it right", "only 1 right", "p", "verdict")
    return Table(f"Lead over model 1 on the same images of {comparison.measured.name}", head, tuple(rows), words=(6,))


def by_class(evaluation: Evaluation, caption: str) -> Table:
    """Precision, recall and F1 of each class; of a class without images only what may be known."""
    metrics, fresh = evaluation.whole.metrics, evaluation.fresh
    rows = tuple(
        (
            emotion,
            count(metrics.support[i]),
            share(metrics.precision[i], of=sum(row[i] for row in metrics.confusion)),
            _recall(evaluation.whole, i, 3),
            share(metrics.f1[i], of=metrics.support[i]),
            share(fresh.metrics.recall[i], of=fresh.metrics.support[i]) if fresh else UNKNOWN,
        )
        for i, emotion in enumerate(EMOTIONS)
    )
    return Table(caption, ("class", "images", "precision", "recall", "F1", "recall without repeats"), rows)


def confusion(evaluation: Evaluation, caption: str) -> Table:
    """Counts: a row for each label, a column for each reading."""
    rows = zip(EMOTIONS, evaluation.whole.metrics.confusion, strict=True)
    return Table(caption, ("label, read →", *EMOTIONS), tuple((name, *map(str, row)) for name, row in rows))


def published(comparison: Comparison) -> Table:
    """The publication's own results, and those of the models here that have the same network."""
    rows = []
    for line in PUBLISHED:
        here = [
            f"{percent(some.whole.metrics.accuracy)} ({name})"
            for name, some in zip(names(comparison), comparison.evaluations, strict=True)
            if some.reading.architecture == line.architecture
        ]
        rows.append(
            (
                line.architecture,
                line.scenario,
                str(line.epochs),
                percent(line.training_accuracy),
                percent(line.validation_accuracy),
                f"{line.validation_loss:.3f}",
                ", ".join(here) or UNKNOWN,
            )
        )
    head = (
        "architecture",
        "scenario",
        "epochs",
        "published training accuracy",
        "published validation accuracy",
        "published validation loss",
        f"here, {comparison.measured.name}",
    )
    return Table("Published results; scenario I without augmentation, II with it", head, tuple(rows), words=(6,))


def trials(found: list[Trial]) -> Table:
    """The trials of a search, best first."""
    parameters = list(dict.fromkeys(name for trial in found for name in trial.params))
    # A trial that lost its loss is not a number, which compares with nothing: such trials go last.
    ordered = sorted(found, key=lambda trial: (math.isnan(trial.loss), trial.state != COMPLETE, trial.loss))
    rows = tuple(
        (
            str(trial.number),
            trial.state,
            UNKNOWN if math.isnan(trial.loss) else f"{trial.loss:.4f}",
            *(_value(trial.params.get(name)) for name in parameters),
        )
        for trial in ordered
    )
    head = ("trial", "state", "loss", *(name.replace("_", " ") for name in parameters))
    return Table("Trials, best first", head, rows, words=(1,))


def percent(share: float, interval: Interval | None = None) -> str:
    """`58.9 %`, or `58.9 % (57.3–60.5)` with its interval."""
    text = f"{100 * share:.1f} %"
    return text if interval is None else f"{text} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def share(value: float, *, of: int, digits: int = 3) -> str:
    """A share of that many images; a share of none is not known."""
    return f"{value:.{digits}f}" if of else UNKNOWN


def points(difference: float, interval: Interval) -> str:
    """A difference of shares in percentage points, `+1.2 (-0.3 to +2.6)`."""
    return f"{100 * difference:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


def p_value(value: float) -> str:
    """Three digits, or that it is less."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def count(number: int) -> str:
    """A number as people read it: `3,589`, `846 k`, `59.6 M`."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f} k" if number < 1_000_000 else f"{number / 1e6:.2f} M"


def _figures(caption: str, rows: list[tuple[str, Figures]]) -> Table:
    head = ("model", "accuracy", "macro-F1", "recall of disgust", "calibration error", "loss")
    images = count(rows[0][1].metrics.images)
    return Table(f"{caption} {images} images", head, tuple((name, *_row(some)) for name, some in rows))


def _row(some: Figures) -> tuple[str, ...]:
    metrics, around = some.metrics, some.intervals
    return (
        percent(metrics.accuracy, around.accuracy),
        _with_interval(metrics.macro_f1, around.macro_f1, 3),
        _recall(some, RARE, 2),
        f"{metrics.calibration_error:.3f}",
        f"{metrics.loss:.3f}",
    )


def _recall(some: Figures, label: int, digits: int) -> str:
    if not some.metrics.support[label]:
        return UNKNOWN
    return _with_interval(some.metrics.recall[label], some.intervals.recall[label], digits)


def _with_interval(value: float, interval: Interval, digits: int) -> str:
    return f"{value:.{digits}f} ({interval.low:.{digits}f}–{interval.high:.{digits}f})"


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(UNKNOWN if value is None else value)
