"""Costs of frames → mean, quantiles, and how far chance may move a ratio. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
SEED = 1
"""The same costs give the same interval."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a cost is distributed, in the unit of its values."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much one thing costs in the mean as another, with the middle 95 % of what chance gives."""

    value: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Describe costs; at least one."""
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return Spread(float(np.mean(values)), p50, p95, p99)


def ratio(dear: Sequence[float], cheap: Sequence[float], *, block: int) -> Ratio:
    """Compare two costs of the same frames.

    The interval is a percentile bootstrap over blocks of consecutive frames (Künsch 1989): neighbours resemble each
    other, and one of several frames is searched while the others are not.

    Args:
        dear: what each frame costs one way.
        cheap: what the same frames cost the other way; their sum is above 0.
        block: frames drawn together.
    """
    costs = np.array([dear, cheap], dtype=np.float64)
    frames = costs.shape[1]
    block = min(block, frames)
    rng = np.random.default_rng(SEED)
    # The sums of all blocks, also of those that go on at the beginning: so each frame is drawn equally often.
    summed = np.concatenate(
        [np.zeros((2, 1)), np.cumsum(np.concatenate([costs, costs[:, : block - 1]], axis=1), axis=1)], axis=1
    )
    blocks = summed[:, block:] - summed[:, :-block]
    draws = rng.integers(0, frames, (RESAMPLES, max(1, round(frames / block))))
    dear_sums, cheap_sums = blocks[:, draws].sum(axis=2)
    low, high = (float(value) for value in np.percentile(dear_sums / cheap_sums, (2.5, 97.5)))
    return Ratio(float(costs[0].sum() / costs[1].sum()), low, high)
