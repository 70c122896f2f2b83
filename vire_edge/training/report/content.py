"""A comparison, its runs and searches → the page that tells of them, from what matters most to where it comes from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import vire_edge
from vire_edge.domain import EMOTIONS
from vire_edge.training.evaluation.comparison import Comparison, Evaluation
from vire_edge.training.evaluation.intervals import RESAMPLES
from vire_edge.training.report import plots, tables
from vire_edge.training.report.document import Block, Code, Document, Heading, Paragraph, Picture, slug
from vire_edge.training.report.published import SOURCE
from vire_edge.training.rundir import EpochRecord, RunDirectory

PACKAGES = ("numpy", "onnxruntime", "matplotlib")
"""Their versions are told, besides our own; a run's directory tells those that it was trained with."""


@dataclass(frozen=True, slots=True)
class Search:
    """A hyperparameter search."""

    name: str
    trials: list[plots.Trial]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which knows no number that is none."""
        trials = [asdict(trial) | {"loss": trial.loss if np.isfinite(trial.loss) else None} for trial in self.trials]
        return {"name": self.name, "trials": trials}


def compose(comparison: Comparison, *, command: str, searches: Sequence[Search] = ()) -> Document:
    """Arrange all that is known about the compared models.

    Args:
        comparison: the models and their figures.
        command: that made the report.
        searches: to tell of, too.

    Raises:
        TrainingError: a file of a run is damaged.
        DependencyError: matplotlib is not installed.
    """
    blocks: list[Block] = [*_overview(comparison), *_data(comparison)]
    for name, evaluation in zip(tables.names(comparison), comparison.evaluations, strict=True):
        blocks += _model(name, evaluation)
    for number, search in enumerate(searches, start=1):
        blocks += _search(number, search)
    return (*blocks, *_provenance(comparison, command))


def _overview(comparison: Comparison) -> list[Block]:
    measured = comparison.measured
    blocks: list[Block] = [
        Heading("Emotion models, measured", level=1),
        Paragraph(
            f"Measured on {measured.name}, {len(measured.faces):,} faces, one view of each. In brackets "
            f"stands the 95 % bootstrap interval: what {RESAMPLES:,} resamples of the images give, the model "
            "unchanged. What another seed of the training would change is not in it."
        ),
        *map(Paragraph, measured.notes),
        tables.models(comparison),
        *tables.figures(comparison),
    ]
    leads = tables.leads(comparison)
    if leads is not None:
        blocks += [
            leads,
            Paragraph(
                "Both models read the same images, so their difference is known better than either figure. "
                "p is McNemar's exact test on the images that only one of the two reads right; a lead counts as more "
                "than chance under 0.05. Chance here is that of the images; that of training, only more seeds show."
            ),
        ]
    if measured.published:
        blocks += [
            Heading("Beside the publication"),
            tables.published(comparison),
            Paragraph(f"Published figures are those of {SOURCE}. Figures here are of {measured.name} alone."),
        ]
    return blocks


def _data(comparison: Comparison) -> list[Block]:
    counts = comparison.class_counts
    shares = "; ".join(
        f"{name}: " + ", ".join(f"{emotion} {value:,}" for emotion, value in zip(EMOTIONS, values, strict=True))
        for name, values in counts.items()
    )
    picture = plots.svg(plots.class_distribution(counts))
    caption = "Class distribution: the share of each class in each split, with its number of images."
    return [Heading("Classes"), Picture("classes", picture, f"Bars of the classes' shares. {shares}.", caption)]


def _model(name: str, evaluation: Evaluation) -> list[Block]:
    file, metrics = slug(name), evaluation.whole.metrics
    shares = zip(EMOTIONS, metrics.recall, metrics.support, strict=True)
    right = ", ".join(f"{emotion} {recall:.0%}" for emotion, recall, images in shares if images)
    mistake = _mistake(metrics.confusion)
    blocks: list[Block] = [Heading(f"Model {name}"), Paragraph(f"{evaluation.reading.name}.")]
    run = evaluation.reading.run
    if run is not None and (run / "history.json").exists():
        blocks += _epochs(file, RunDirectory(run))
    return [
        *blocks,
        Picture(
            f"{file}-confusion",
            plots.svg(plots.confusion(metrics.confusion)),
            f"Confusion matrix of model {name}. Read right: {right}.{mistake}",
            f"Confusion matrix: per cent of the label's images, and their number.{mistake}",
        ),
        tables.by_class(evaluation, f"Model {name}, by class"),
        Picture(
            f"{file}-reliability",
            plots.svg(plots.reliability_diagram(evaluation.bins)),
            f"Reliability of model {name}: expected calibration error {metrics.calibration_error:.3f}.",
            "Reliability: how often it is right by how sure it is. Below the diagonal it is too sure. "
            f"Expected calibration error {metrics.calibration_error:.3f}.",
        ),
    ]


def _mistake(counts: Sequence[Sequence[int]]) -> str:
    """A sentence on the most frequent mistake; nothing where there is none."""
    mistakes = np.array(counts) * (1 - np.eye(len(EMOTIONS), dtype=int))
    label, read = np.unravel_index(mistakes.argmax(), mistakes.shape)
    most = mistakes[label, read]
    images = f"{most:,} image{'s' if most > 1 else ''}"
    return f" The most frequent mistake: {EMOTIONS[label]} read as {EMOTIONS[read]}, {images}." if most else ""


def _epochs(file: str, run: RunDirectory) -> list[Block]:
    history: list[EpochRecord] = run.read_history()
    kept = run.read_json(run.metrics)["epoch"] if run.metrics.exists() else None
    first, last = history[0], history[-1]
    alt = (
        f"Over {len(history)} epochs training loss goes from {first.loss:.2f} to {last.loss:.2f}, "
        f"held-out loss from {first.held_out_loss:.2f} to {last.held_out_loss:.2f}, "
        f"held-out accuracy from {first.held_out_accuracy:.0%} to {last.held_out_accuracy:.0%}."
    )
    caption = (
        "Loss, accuracy and learning rate of each epoch. Training figures are of the augmented images, with the "
        "recipe's smoothing and weights; validation is the part of Training that was held out, as it is."
    )
    return [Picture(f"{file}-epochs", plots.svg(plots.epochs(history, kept)), alt, caption)]


def _search(number: int, search: Search) -> list[Block]:
    finite = [trial.loss for trial in search.trials if np.isfinite(trial.loss)]
    lowest = f"; the lowest loss is {min(finite):.4f}" if finite else ""
    return [
        Heading(f"Search {search.name}"),
        Picture(
            f"search-{number}-{slug(search.name)}",
            plots.svg(plots.trial_losses(search.trials)),
            f"Loss of each of {len(search.trials)} trials{lowest}.",
            "Loss of each trial. A trial that was stopped early stands at the last loss that it told.",
        ),
        tables.trials(search.trials),
    ]


def _provenance(comparison: Comparison, command: str) -> list[Block]:
    versions = [f"vire-edge {vire_edge.__version__}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    lines = [command]
    for name, evaluation in zip(tables.names(comparison), comparison.evaluations, strict=True):
        lines.append(
            f"# {name}: {evaluation.reading.command or 'how it was trained is not known'}{_trained_with(evaluation)}"
        )
    return [
        Heading("Where it comes from"),
        Paragraph(f"SHA-256 of the data, all splits: {comparison.measured.digest}."),
        Code("\n".join(lines)),
        Paragraph(f"Measured with {', '.join(versions)}."),
    ]


def _trained_with(evaluation: Evaluation) -> str:
    """The versions that a run was trained with, where there is a run."""
    run = evaluation.reading.run
    if run is None or not RunDirectory(run).environment.exists():
        return ""
    versions = RunDirectory(run).read_json(RunDirectory(run).environment)
    return f" ({', '.join(f'{name} {version}' for name, version in versions.items())})"
