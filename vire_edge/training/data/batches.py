"""Faces → batches, shuffled and augmented.

A function of seed, epoch and position only, so that a resumed run sees the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.augment import augment
from vire_edge.training.data.dataset import Faces
from vire_edge.training.export import Reader
from vire_edge.training.recipes import Recipe

Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""Faces uint8 `[B, 48, 48, 1]`, targets `[B, 7]` whose rows sum to 1, weights `[B]`."""


class Batches:
    """One epoch of batches; `epoch` says which."""

    def __init__(self, faces: Faces, recipe: Recipe, *, seed: int, teacher: Reader | None = None) -> None:
        self._faces = faces
        self._recipe = recipe
        self._teacher = teacher
        self._weights = class_weights(faces.labels, recipe.class_weight_power)
        self._one_hot = np.eye(len(EMOTIONS), dtype=np.float32)
        self._seed = seed
        self._epoch = -1
        self._order = np.arange(len(faces))
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches are given, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._faces))

    def __len__(self) -> int:
        return (len(self._faces) + self._recipe.batch_size - 1) // self._recipe.batch_size

    def __getitem__(self, index: int) -> Batch:
        recipe, calm = self._recipe, self._epoch >= self._recipe.calm_from
        chosen = self._order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
        rng = np.random.default_rng((self._seed, self._epoch, index))
        labels = self._faces.labels[chosen]
        targets, weights = self._one_hot[labels], self._weights[labels]
        images = augment(self._faces.images[chosen], recipe.augmentation.halved() if calm else recipe.augmentation, rng)
        if self._faces.votes is not None and (not calm or recipe.votes == 1):
            targets = (1 - recipe.votes) * targets + recipe.votes * self._faces.votes[chosen]
        if self._teacher is not None:
            # Of the faces as they are shown: what was done to them may have changed what can be read.
            targets = (1 - recipe.distillation) * targets + recipe.distillation * self._teacher(images)
        # Every other batch, not all: the network also has to see faces that are whole.
        if recipe.mixup and not calm and rng.random() < 0.5:
            images, targets, weights = mix(images, targets, weights, recipe.mixup, rng)
        return images[..., None], np.asarray(targets, np.float32), weights


def mix(
    images: NDArray[np.uint8],
    targets: NDArray[np.float32],
    weights: NDArray[np.float32],
    alpha: float,
    rng: np.random.Generator,
) -> Batch:
    """Lay each face over another one of the batch (mixup, Zhang et al. 2018), with one share for all.

    Args:
        images: uint8 `[B, height, width]`.
        targets: `[B, 7]`.
        weights: `[B]`.
        alpha: of the beta distribution that the share comes from; the smaller, the less is mixed.
        rng: the same state gives the same result.
    """
    share = float(rng.beta(alpha, alpha))
    other = rng.permutation(len(images))
    mixed = np.rint(share * images + (1 - share) * images[other].astype(np.float32)).astype(np.uint8)
    # Each face brings its target with its own weight: of a rare class' face as much is learnt mixed as alone.
    weighted = weights[:, None] * targets
    weighted = share * weighted + (1 - share) * weighted[other]
    total = weighted.sum(axis=1)
    return mixed, np.asarray(weighted / total[:, None], np.float32), np.asarray(total, np.float32)


def class_weights(labels: NDArray[np.int64], power: float) -> NDArray[np.float32]:
    """Weight of each class, float32 `[7]`: its frequency to minus `power`, scaled so that the images' mean is 1."""
    counts = np.bincount(labels, minlength=len(EMOTIONS)).astype(np.float64)
    weights = np.maximum(counts, 1.0) ** -power
    return np.asarray(weights * (counts.sum() / (counts * weights).sum()), np.float32)
