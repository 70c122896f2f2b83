"""Probabilities and labels → figures: accuracy, loss, per class, confusion, calibration. Pure numpy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS

CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Keeps the logarithm finite; far under anything a float32 softmax means."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose highest probability lies in one of 15 equal parts of 0..1."""

    images: int
    """At least 1."""
    confidence: float
    """Their mean highest probability."""
    accuracy: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well probabilities match labels. Per-class values stand in the order of `EMOTIONS`; shares are 0..1."""

    images: int
    accuracy: float
    loss: float
    """Mean cross-entropy in nats, without smoothing or class weights."""
    macro_f1: float
    """Mean of the classes' F1 scores, a class that never occurs left out."""
    precision: tuple[float, ...]
    """0 for a class that was never read."""
    recall: tuple[float, ...]
    """0 for a class that never occurs."""
    f1: tuple[float, ...]
    support: tuple[int, ...]
    """Images of each class."""
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[label][read]`, counts."""
    calibration_error: float
    """Expected calibration error over 15 equal bins of the highest probability."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Metrics:
    """Compare probabilities with labels.

    Args:
        probabilities: `[N, 7]`, rows sum to 1.
        labels: `[N]`, 0..6. Of no images at all every figure is 0, as `images` is.
    """
    classes = len(EMOTIONS)
    read = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + read, minlength=classes**2).reshape(classes, classes)
    hits = np.diag(confusion).astype(float)
    support, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(answers, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + answers, 1)
    return Metrics(
        images=len(labels),
        accuracy=float(hits.sum() / max(len(labels), 1)),
        loss=cross_entropy(probabilities, labels),
        macro_f1=float(f1.sum() / max((support > 0).sum(), 1)),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        support=tuple(support.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration_error=calibration_error(probabilities, labels),
    )


def cross_entropy(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Mean negative log-probability of the labels, nats."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_label, SMALLEST_PROBABILITY)).sum() / max(len(labels), 1))


def reliability(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> tuple[Bin, ...]:
    """How sure and how right, by how sure: what a reliability diagram shows (Guo et al. 2017); empty bins left out.

    Args:
        probabilities: `[N, 7]`, rows sum to 1.
        labels: `[N]`, 0..6.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(places, minlength=CALIBRATION_BINS)
    sums = (np.bincount(places, weights=values, minlength=CALIBRATION_BINS) for values in (confidence, correct))
    rows = zip(counts.tolist(), *(values.tolist() for values in sums), strict=True)
    return tuple(Bin(count, sure / count, right / count) for count, sure, right in rows if count)


def calibration_error(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Expected calibration error (Guo et al. 2017): |confidence - accuracy|, averaged over the images' bins."""
    bins = reliability(probabilities, labels)
    return sum(place.images * abs(place.confidence - place.accuracy) for place in bins) / max(len(labels), 1)


def fit_temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The temperature that makes probabilities honest (Guo et al. 2017).

    Args:
        probabilities: `[N, 7]` of images that were not learnt from.
        labels: `[N]`.

    Returns:
        What to divide the logits by, 0.2..5, so that the cross-entropy is least; above 1
        where the network is too sure. The softmax of log-probabilities is the same as of logits.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))

    def loss(log_temperature: float) -> float:
        return cross_entropy(temper(logits, float(np.exp(log_temperature))), labels)

    # Golden section: the cross-entropy is convex in 1/temperature, so it has one minimum.
    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(0.2), np.log(5.0)
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def temper(logits: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """Softmax of `logits` `[N, 7]` divided by the temperature."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def tempered(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """Probabilities `[N, 7]` as they are with their logits divided by the temperature."""
    return temper(np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY)), temperature)
