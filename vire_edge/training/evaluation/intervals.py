"""Counts of hits and misses → how far chance alone may move a figure: bootstrap intervals and paired differences.

Images are drawn with replacement (Efron's percentile bootstrap). What an image contributes to these figures is its
cell of the confusion matrix and nothing else, so a resample of images is a multinomial draw of cells: 2,000 of them
take milliseconds. The chance of training (seed, order of the images) is not in here; only more runs show it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS

RESAMPLES = 2000
LEVEL = 0.95
SEED = 1
"""The same counts give the same interval."""
CLASSES = len(EMOTIONS)


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of what resampled images give."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of a model's figures on one set of images; shares of 1."""

    accuracy: Interval
    macro_f1: Interval
    recall: tuple[Interval, ...]
    """In the order of `EMOTIONS`; from 0 to 0 for a class that never occurs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A model's figures minus another's on the same images; shares of 1."""

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    gained: int
    """Images that only this model reads right."""
    lost: int
    """Images that only the other one reads right."""
    p_value: float
    """Of McNemar's exact test: how often equally good models would differ by so many images or more."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the accuracies differ by more than the choice of images explains, at the 5 % level."""
        return self.p_value < 1 - LEVEL


def intervals(confusion: NDArray[np.integer[Any]]) -> Intervals:
    """Intervals of accuracy, macro-F1 and each class' recall.

    Args:
        confusion: `[7, 7]`, `confusion[label, read]`, counts; at least one image.
    """
    draws = _resample(confusion)
    support = draws.sum(axis=2)
    hits = np.diagonal(draws, axis1=1, axis2=2)
    own_support = confusion.sum(axis=1)
    own_recall = np.diag(confusion) / np.maximum(own_support, 1)
    # A resample that misses a rare class says nothing about it.
    recall = np.where(support > 0, hits / np.maximum(support, 1), own_recall)
    return Intervals(
        accuracy=_middle(_accuracy(draws)),
        macro_f1=_middle(_macro_f1(draws)),
        recall=tuple(_middle(column) for column in recall.T),
    )


def compare(
    labels: NDArray[np.integer[Any]], read: NDArray[np.integer[Any]], other: NDArray[np.integer[Any]]
) -> Difference:
    """How much better one model reads the same images than another, and whether that can be chance.

    Args:
        labels: `[N]`, 0..6; N at least 1.
        read: `[N]`, what the model reads.
        other: `[N]`, what the model reads that it is compared with.
    """
    cells = np.bincount((labels * CLASSES + read) * CLASSES + other, minlength=CLASSES**3)
    joint = cells.reshape(CLASSES, CLASSES, CLASSES)
    draws = _resample(joint)
    ours, theirs = draws.sum(axis=3), draws.sum(axis=2)
    own, others = joint.sum(axis=2)[None], joint.sum(axis=1)[None]
    gained = int(((read == labels) & (other != labels)).sum())
    lost = int(((read != labels) & (other == labels)).sum())
    return Difference(
        accuracy=float(_accuracy(own)[0] - _accuracy(others)[0]),
        accuracy_interval=_middle(_accuracy(ours) - _accuracy(theirs)),
        macro_f1=float(_macro_f1(own)[0] - _macro_f1(others)[0]),
        macro_f1_interval=_middle(_macro_f1(ours) - _macro_f1(theirs)),
        gained=gained,
        lost=lost,
        p_value=mcnemar(gained, lost),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test: heads and tails of a fair coin (McNemar 1947)."""
    total = gained + lost
    tail: int = sum(math.comb(total, heads) for heads in range(min(gained, lost) + 1))
    return min(1.0, float(2 * tail / 2**total))


def _resample(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Draw as many images again, 2,000 times: `[2000, *counts.shape]`."""
    flat = counts.ravel()
    filled = np.flatnonzero(flat)
    rng = np.random.default_rng(SEED)
    draws = np.zeros((RESAMPLES, flat.size), np.int64)
    draws[:, filled] = rng.multinomial(flat.sum(), flat[filled] / flat.sum(), size=RESAMPLES)
    return draws.reshape(RESAMPLES, *counts.shape)


def _accuracy(confusions: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    hits = np.trace(confusions, axis1=1, axis2=2)
    return np.asarray(hits / confusions.sum(axis=(1, 2)))


def _macro_f1(confusions: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """As `measure` counts it: a class that never occurs is left out."""
    support, answers = confusions.sum(axis=2), confusions.sum(axis=1)
    f1 = 2 * np.diagonal(confusions, axis1=1, axis2=2) / np.maximum(support + answers, 1)
    occurs = support > 0
    return np.asarray((f1 * occurs).sum(axis=1) / occurs.sum(axis=1))


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
