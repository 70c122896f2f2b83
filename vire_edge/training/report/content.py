"""A comparison, its runs and a search → the page that tells of them, from what matters most to where it comes from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import vire_edge
from vire_edge.domain import EMOTIONS
from vire_edge.training.evaluation.comparison import Comparison, Evaluation
from vire_edge.training.evaluation.intervals import RESAMPLES
from vire_edge.training.report import plots, tables
from vire_edge.training.report.document import Block, Code, Document, Heading, Paragraph, Picture
from vire_edge.training.report.published import SOURCE
from vire_edge.training.rundir import EpochRecord, RunDirectory

PACKAGES = ("numpy", "onnxruntime", "matplotlib")
"""Their versions are told, besides our own; a run's directory tells those that it was trained with."""


@dataclass(frozen=True, slots=True)
class Search:
    """A hyperparameter search."""

    name: str
    trials: list[plots.Trial]


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
    for search in searches:
        blocks += _search(search)
    return (*blocks, *_provenance(comparison, command))


def _overview(comparison: Comparison) -> list[Block]:
    blocks: list[Block] = [
        Heading("Emotion models, measured", level=1),
        Paragraph(
            f"Measured on {comparison.measured_on}, {len(comparison.faces):,} faces, one view of each. In brackets "
            f"stands the 95 % bootstrap interval: what {RESAMPLES:,} resamples of the images give, the model "
            "unchanged. What another seed of the training would change is not in it."
        ),
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
    return [
        *blocks,
        Heading("Beside the publication"),
        tables.published(comparison),
        Paragraph(f"Published figures are those of {SOURCE}. Figures here are of {comparison.measured_on} alone."),
    ]


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
    slug = name.replace(" ", "-")
    metrics = evaluation.whole.metrics
    confusion = np.array(metrics.confusion)
    mistakes = confusion * (1 - np.eye(len(EMOTIONS), dtype=int))
    label, read = np.unravel_index(mistakes.argmax(), mistakes.shape)
    right = ", ".join(f"{emotion} {recall:.0%}" for emotion, recall in zip(EMOTIONS, metrics.recall, strict=True))
    most = f"{EMOTIONS[label]} read as {EMOTIONS[read]}, {mistakes[label, read]:,} images"
    blocks: list[Block] = [Heading(f"Model {name}"), Paragraph(f"{evaluation.reading.name}.")]
    run = evaluation.reading.run
    if run is not None and (run / "history.json").exists():
        blocks += _epochs(slug, RunDirectory(run))
    return [
        *blocks,
        Picture(
            f"{slug}-confusion",
            plots.svg(plots.confusion(metrics.confusion)),
            f"Confusion matrix of model {name}. Read right: {right}. The most frequent mistake: {most}.",
            f"Confusion matrix: per cent of the label's images, and their number. The most frequent mistake: {most}.",
        ),
        tables.by_class(evaluation, f"Model {name}, by class"),
        Picture(
            f"{slug}-reliability",
            plots.svg(plots.reliability_diagram(evaluation.bins)),
            f"Reliability of model {name}: expected calibration error {metrics.calibration_error:.3f}.",
            "Reliability: how often it is right by how sure it is. Below the diagonal it is too sure. "
            f"Expected calibration error {metrics.calibration_error:.3f}.",
        ),
    ]


def _epochs(slug: str, run: RunDirectory) -> list[Block]:
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
    return [Picture(f"{slug}-epochs", plots.svg(plots.epochs(history, kept)), alt, caption)]


def _search(search: Search) -> list[Block]:
    finite = [trial.loss for trial in search.trials if np.isfinite(trial.loss)]
    lowest = f"; the lowest loss is {min(finite):.4f}" if finite else ""
    return [
        Heading(f"Search {search.name}"),
        Picture(
            f"{search.name}-trials",
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
        Paragraph(f"SHA-256 of the data, all splits: {comparison.dataset_digest}."),
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
